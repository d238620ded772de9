"""How far a number can be trusted: intervals from resampling the samples that it was made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEVEL = 0.95
# A set of fewer samples gets no interval: drawn anew, or halved, it gives the same few values again and again.
FEWEST = 4


def bootstrap(
    statistic: Callable[..., float], counts: tuple[int, ...], resamples: int, *, level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap (Efron 1979): each set is drawn anew from itself, with replacement.

    For statistics that repeated samples leave as they are (means, accuracies, AUROC).

    Args:
      statistic: `statistic(*rows) -> float` of one `[n]` array of places a set.
      counts: samples of each set, `FEWEST` at least.
      resamples: draws.
      level: probability that the interval covers.
      seed: of the draws, which are those of `sklearn.utils.resample`.
    """
    random = np.random.RandomState(seed)
    values = [statistic(*(random.randint(0, n, n) for n in counts)) for _ in range(resamples)]
    return interval(values, level)


def interval(values: list[float] | np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The central interval that holds `level` of the values."""
    low, high = np.nanpercentile(values, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def half(count: int, seed: int) -> np.ndarray:
    """Places of a random half of a set, without replacement, in rising order.

    A mean over a random half strays from the mean over the whole as far as the whole strays from the truth, and no
    sample occurs twice: what is made of distances between samples (neighbours, kernels, covariances of few samples)
    does not survive the repetitions of the bootstrap (Politis, Romano and Wolf 1999, Subsampling).
    """
    return np.sort(np.random.default_rng(seed).permutation(count)[: max(1, count // 2)])


def centred_interval(value: float, values: list[float] | np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The interval of `values` moved to lie about `value`: halves of a set have its spread, but not its bias."""
    low, high = interval(values, level)
    middle = float(np.nanmedian(values))
    return value + low - middle, value + high - middle
