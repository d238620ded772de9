"""How well scores tell classes apart: balanced accuracy, AUROC, sensitivity at a small rate of false alarms."""

from __future__ import annotations

import numpy as np


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over the classes that occur of the share of their samples that is recognised; `[N]` and `[N]`."""
    return float(np.mean([np.mean(predicted[labels == label] == label) for label in np.unique(labels)]))


def roc(positive: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The receiver operating characteristic, one point a threshold, from (0, 0) to (1, 1).

    Args:
      positive: `[N]` bool, both values present.
      scores: `[N]`, higher for positive.

    Returns:
      False alarms and hits, `[K]` shares each; equal scores share one threshold.
    """
    order = np.argsort(-scores, kind="stable")
    positive, scores = np.asarray(positive, bool)[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(positive)[last]
    alarms = last + 1 - hits
    return np.append(0.0, alarms / alarms[-1]), np.append(0.0, hits / hits[-1])


def auroc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Area under the `roc`: the chance that a positive sample scores above a negative one; NaN without both kinds."""
    if np.all(positive) or not np.any(positive):
        return float("nan")
    return float(np.trapezoid(*roc(positive, scores)[::-1]))


def multiclass_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean over the classes that occur of the AUROC of each against the rest.

    Args:
      labels: `[N]`.
      probabilities: `[N, classes]`.
    """
    return float(np.mean([auroc(labels == label, probabilities[:, label]) for label in np.unique(labels)]))


def hits_at(positive: np.ndarray, scores: np.ndarray, alarms: float) -> float:
    """The largest share of positive samples found at a share of false alarms of at most `alarms`."""
    false, true = roc(positive, scores)
    return float(true[false <= alarms].max())


def stratified_split(labels: np.ndarray, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Places of a random `1 - share` and of `share` of each class, at least one sample of the latter.

    Args:
      labels: `[N]`.
      share: of each class that goes to the second part.
      seed: of the choice.
    """
    random = np.random.default_rng(seed)
    first, second = [], []
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        count = max(1, round(share * len(places)))
        second.append(places[:count])
        first.append(places[count:])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))
