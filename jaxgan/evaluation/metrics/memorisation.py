"""Was the training set copied? Each generated sample against its nearest training neighbours."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.metrics.neighbours import centred, nearest

SIDE = 32
RATIO = 1 / 3
TOLERANCE = 0.05
THRESHOLD = "5 percentage points above the baseline"


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """What the search for copies found, in one space (pixels or features).

    Attributes:
      score: share of generated samples that are copies.
      baseline: the same share among the training samples themselves, each against all others: what the near
        duplicates in the data alone amount to.
      authenticity: share of generated samples that lie farther from their nearest training sample than that one from
        its own nearest (Alaa et al. 2022); about 0.5 for new samples of the same distribution, 0 for copies.
      flagged: the score exceeds the baseline by more than 5 percentage points.
      nearest: `[M]` index of each generated sample's nearest training sample.
      distance: `[M]` distance to it.
      copied: `[M]` whether it is a copy.
      samples: `[M]` their places in the stream of samples; None: those of the summary's pixels.
      pairs: sample, training image (places in their streams), distances, transform and whether it is a copy, of each
        sample, the most suspicious first; None: no transforms were searched.
    """

    score: float
    baseline: float
    authenticity: float
    flagged: bool
    nearest: np.ndarray
    distance: np.ndarray
    copied: np.ndarray
    samples: np.ndarray | None = None
    pairs: list[dict[str, Any]] | None = None


def pixel_descriptors(images: np.ndarray) -> np.ndarray:
    """Flattened images `[N, P]`, first averaged down to at most 32 a side so that the search fits in memory."""
    sides = [min(SIDE, side) for side in images.shape[1:-1]]
    if tuple(sides) != images.shape[1:-1]:
        images = np.asarray(jax.image.resize(images, (len(images), *sides, images.shape[-1]), "linear"))
    return np.asarray(images, np.float32).reshape(len(images), -1)


def _copies(distances: np.ndarray, exact: float) -> np.ndarray:
    return (distances[:, 0] <= RATIO * distances[:, 1]) & (distances[:, 1] > exact) | (distances[:, 0] <= exact)


def memorisation(train: np.ndarray, generated: np.ndarray) -> Memorisation:
    """Looks for copies of training samples.

    A sample counts as a copy when its nearest training sample is at most a third as far as the second nearest
    (Yoon et al. 2023), or when it coincides with a training sample.

    Args:
      train: `[N, D]` descriptors (pixels or features), N at least 3.
      generated: `[M, D]` descriptors.
    """
    train, generated = centred(train, generated)
    within, _ = nearest(train, train, 2, skip_self=True)
    across, indices = nearest(generated, train, 2)
    # float32 distances of identical vectors are not exactly 0: they are rounding noise of the vectors' norms.
    exact = 1e-3 * float(np.sqrt(np.mean(np.sum(train.astype(np.float64) ** 2, axis=1))))
    baseline = float(_copies(within, exact).mean())
    copied = _copies(across, exact)
    score = float(copied.mean())
    authentic = across[:, 0] > within[indices[:, 0], 0]
    return Memorisation(
        score, baseline, float(authentic.mean()), score > baseline + TOLERANCE, indices[:, 0], across[:, 0], copied
    )


def warn_of_unsearched(report: Report, name: str, searched: int) -> None:
    """Says so where not every training image was searched."""
    if searched < report.training_size:
        report.warnings.append(
            f"{name}: {searched:,} of {report.training_size:,} training images were searched, as many as memory is"
            " meant to hold: copies of the others go unseen"
        )


def _measure(report: Report) -> None:
    spaces = {"pixels": ("pixels", "memorisation_pixels")}
    if "vectors" in report.training.arrays:
        spaces[report.network.name] = ("vectors", "memorisation_inception")
    if len(report.training.arrays["pixels"]) < 3:
        raise CannotMeasure("copies are told by the second nearest image: three training images are needed, or more")
    for space, (array, value) in spaces.items():
        found = memorisation(report.training.arrays[array], report.generated.arrays[array])
        report.copies[space] = found
        details: dict[str, Any] = {
            "baseline": found.baseline,
            "authenticity": found.authenticity,
            "flagged": found.flagged,
        }
        details |= {"threshold": found.baseline + TOLERANCE, "threshold_is": THRESHOLD}
        searched = len(report.training.arrays[array])
        interval = report.bootstrap(lambda rows, copied=found.copied: copied[rows].mean(), len(found.copied))
        rule = "nearest <= second nearest / 3"
        name = report.add(value, found.score, details, interval, searched=searched, rule=rule)
        warn_of_unsearched(report, name, searched)
        if found.flagged:
            report.warnings.append(
                f"{name}: {found.score:.0%} of the samples are copies of training images"
                f" ({found.baseline:.0%} among the training images themselves)"
            )


_READING = "share of copies; among real ones {baseline:.1%}"

NEAREST = Metric(
    "nearest",
    "share of samples that are copies: nearest training image at most a third as far as the second nearest (Yoon et al."
    " 2023); with the same share among the training images as baseline, and the authenticity of Alaa et al. (2022)",
    (
        Value("memorisation_pixels", "lower", _READING, same=1.0, bounds=(0.0, 1.0), aspect="privacy"),
        Value(
            "memorisation_inception", "lower", _READING, "memorisation_{extractor}", 1.0, (0.0, 1.0), aspect="privacy"
        ),
    ),
    needs=("pixels",),
    measure=_measure,
    default=False,
    of_training=True,
)
