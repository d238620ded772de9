"""Does a sample give a training image away, turned or shifted? Can membership be told from the samples?"""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.classification import auroc, hits_at
from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.metrics.memorisation import RATIO, SIDE, TOLERANCE, Memorisation
from jaxgan.evaluation.summary import Summary
from jaxgan.evaluation.symmetric_search import Neighbours, describe, nearest_transformed, shift_of, symmetries

# Images of each set that are looked up; the training set is searched whole.
MOST_SEARCHED = 1000
LISTED = 20
ALARMS = 0.01
# Root mean square differences up to this share of the range are no differences.
EXACT = 2e-3


def _images(summary: Summary) -> np.ndarray:
    """The kept images `[n, *spatial, C]`, at most 32 a side."""
    sides = (min(SIDE, side) for side in summary.shape[:-1])
    return summary.arrays["pixels"].reshape(-1, *sides, summary.shape[-1])


def _some(count: int, most: int = MOST_SEARCHED) -> np.ndarray:
    """At most `most` places of so many, at random but always the same, in rising order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def copied(found: Neighbours) -> np.ndarray:
    """`[M]` bool: at most a third as far from the nearest training image as from the second nearest, or the same."""
    first, second = found.distance.T
    return (first <= EXACT) | (first <= RATIO * second)


def _measure_copies(report: Report, train: np.ndarray, generated: np.ndarray) -> None:
    chosen = _some(len(generated))
    found = nearest_transformed(generated[chosen], train)
    if report.heldout is not None:
        fresh = _images(report.heldout)
        reference, against = nearest_transformed(fresh[_some(len(fresh))], train), "held-out real images"
    else:
        own = _some(len(train))
        reference, against = nearest_transformed(train[own], train, own=own), "training images against the others"
    copies, baseline = copied(found), float(copied(reference).mean())
    score, spatial = float(copies.mean()), train.shape[1:-1]
    flagged = score > baseline + TOLERANCE
    positions = [s.arrays["positions"] for s in (report.generated, report.real)]
    listed = np.argsort(found.distance[:, 0] / np.maximum(found.distance[:, 1], 1e-12), kind="stable")[:LISTED]
    pairs = [
        {
            "sample": int(positions[0][chosen[place]]),
            "training": int(positions[1][found.index[place]]),
            "distance": float(found.distance[place, 0]),
            "second": float(found.distance[place, 1]),
            "transform": describe(found.transform[place], spatial, shift_of(spatial)),
            "copy": bool(copies[place]),
        }
        for place in listed
    ]
    report.add(
        "privacy_copies",
        score,
        {"baseline": baseline, "against": against, "flagged": flagged, "closest": pairs},
        report.bootstrap(lambda rows: copies[rows].mean(), len(copies)),
        searched=len(train),
        looked_up=len(chosen),
        transforms=f"{len(symmetries(spatial))} symmetries, shifts of {shift_of(spatial)} pixels at sides {spatial}",
        rule="nearest <= second nearest / 3",
    )
    nearest, distance, everywhere = (np.full(len(generated), fill) for fill in (0, np.inf, False))
    nearest[chosen], distance[chosen], everywhere[chosen] = found.index, found.distance[:, 0], copies
    report.copies["symmetries"] = Memorisation(
        score, baseline, float("nan"), flagged, nearest.astype(int), distance, everywhere.astype(bool)
    )
    if flagged:
        report.warnings.append(
            f"privacy_copies: {score:.0%} of the samples are training images, perhaps turned, mirrored or shifted"
            f" ({baseline:.0%} among {against})"
        )


def _measure_membership(report: Report, train: np.ndarray, generated: np.ndarray, heldout: Summary) -> None:
    fresh = _images(heldout)
    size = min(len(fresh), len(train), MOST_SEARCHED)
    if size < 2 or len(generated) < 2:
        raise CannotMeasure("membership needs two held-out and two generated images or more")
    sets = [images[_some(len(images), size)] for images in (train, fresh)]
    near = [-nearest_transformed(images, generated).distance[:, 0] for images in sets]
    members = np.repeat([True, False], size)

    def interval(statistic):
        return report.bootstrap(lambda a, b: statistic(members, np.append(near[0][a], near[1][b])), size, size)

    def hits(members, scores):
        return hits_at(members, scores, ALARMS)

    for name, statistic in (("membership_auroc", auroc), ("membership_tpr", hits)):
        number = statistic(members, np.concatenate(near))
        rule = "distance to the nearest sample, under the same transforms"
        report.add(name, number, {}, interval(statistic), members=size, others=size, rule=rule)


def _measure(report: Report) -> None:
    train, generated = _images(report.real), _images(report.generated)
    if len(train) < 3:
        raise CannotMeasure("the search for copies needs three training images or more")
    _measure_copies(report, train, generated)
    if report.heldout is not None:
        _measure_membership(report, train, generated, report.heldout)


PRIVACY = Metric(
    "privacy",
    "share of samples that are training images, flipped, turned or shifted or not, by the rule of `nearest`; with"
    " `--heldout`, whether membership in the training set can be told by the distance to the nearest sample (AUROC, and"
    " hits at 1% false alarms; Chen et al. 2020)",
    (
        Value("privacy_copies", "lower", "share of copies; {against}: {baseline:.1%}", same=1.0, bounds=(0.0, 1.0)),
        Value("membership_auroc", "lower", "0.5: not to be told", bounds=(0.0, 1.0), heldout=True),
        Value("membership_tpr", "lower", "at 1% false alarms; 0.01: not to be told", bounds=(0.0, 1.0), heldout=True),
    ),
    needs=("pixels",),
    measure=_measure,
    default=False,
    of_training=True,
)
