"""Inception Score: how sure a classifier is of each sample, and how evenly the samples cover its classes."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.metric import Metric, Report, Value

SPLITS = 10


def inception_score(logits: np.ndarray, *, splits: int = SPLITS, seed: int = 2020) -> tuple[float, float]:
    """Inception Score `exp E KL(p(y|x) || p(y))` over splits (Salimans et al. 2016).

    The samples are shuffled and cut as `torch-fidelity` does it, and its logits carry no bias.

    Args:
      logits: `[N, K]`.
      splits: parts over which mean and deviation are taken, at most N.
      seed: of the shuffle.

    Returns:
      Mean and standard deviation over the splits.
    """
    count = len(logits)
    splits = max(1, min(splits, count))
    shuffled = np.asarray(logits, np.float64)[np.random.RandomState(seed).permutation(count)]
    shuffled -= shuffled.max(axis=1, keepdims=True)
    log_p = shuffled - np.log(np.exp(shuffled).sum(axis=1, keepdims=True))
    scores = []
    for i in range(splits):
        part = log_p[i * count // splits : (i + 1) * count // splits]
        p = np.exp(part)
        log_q = np.log(np.maximum(p.mean(axis=0), np.finfo(np.float64).tiny))
        scores.append(np.exp((p * (part - log_q)).sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def _measure(report: Report) -> None:
    (mean, deviation), (real, _) = (s.arrays["inception_score"].mean(axis=0) for s in (report.generated, report.real))
    # The splits are independent: their spread tells that of their mean.
    reach = 1.96 * deviation / np.sqrt(SPLITS - 1)
    interval = (mean - reach, mean + reach) if report.resamples else None
    protocol = {"interval_by": "95%, from the spread of the splits"} if interval else {}
    report.add("inception_score", mean, {"std": deviation, "real": real}, interval, splits=SPLITS, **protocol)


INCEPTION_SCORE = Metric(
    "is",
    f"Inception Score, {SPLITS} splits (Salimans et al. 2016); needs Inception",
    (Value("inception_score", "higher", "higher; real images: {real:.3f}", elsewhere="inception_score"),),
    needs=("logits",),
    measure=_measure,
)
