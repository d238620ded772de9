"""Does a sample give a training image away, turned or shifted? Can membership be told from the samples?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxgan.evaluation.classification import auroc, hits_at
from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.metrics.memorisation import RATIO, SIDE, THRESHOLD, TOLERANCE, Memorisation, warn_of_unsearched
from jaxgan.evaluation.summary import Summary
from jaxgan.evaluation.symmetric_search import Neighbours, describe, nearest_transformed, shift_of, symmetries
from jaxgan.evaluation.turned_features import nearest_turned, passes, turned_features

# Images of each set that are looked up, in all training images that are kept.
MOST_SEARCHED = 1000
# The same in feature space, and planes that go through the network for it, a set.
MOST_TURNED = 250
PLANES = 2000
FEWEST_TURNED = 20
LISTED = 20
ALARMS = 0.01
# Membership that can be told better than this is a leak: a tenth above guessing.
TOLD = 0.6
# Root mean square differences up to this share of the range are no differences; the same of features, of their length.
EXACT = 2e-3
EXACT_FEATURES = 1e-3


def small_images(summary: Summary) -> np.ndarray:
    """The kept images `[n, *spatial, C]`, at most 32 a side."""
    sides = (min(SIDE, side) for side in summary.shape[:-1])
    return summary.arrays["pixels"].reshape(-1, *sides, summary.shape[-1])


def some(count: int, most: int = MOST_SEARCHED) -> np.ndarray:
    """At most `most` places of so many, at random but always the same, in rising order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:most])


def copied(found: Neighbours, exact: float = EXACT) -> np.ndarray:
    """`[M]` bool: at most a third as far from the nearest training image as from the second nearest, or the same."""
    first, second = found.distance.T
    return (first <= exact) | (first <= RATIO * second)


@dataclasses.dataclass(frozen=True)
class _Search:
    """One way to look for copies.

    Attributes:
      value: the number that it gives.
      space: its name among `Report.copies`.
      what: the space in words, for the warning.
      chosen: places of the generated samples that were looked up, in the space's array.
      positions: `[M]` places of all samples of that array in the stream.
      found: neighbours of the chosen ones.
      reference: neighbours of real images.
      against: what these are.
      describe: a transform's number in words.
      exact: distance that is none.
      protocol: how it was done.
    """

    value: str
    space: str
    chosen: np.ndarray
    positions: np.ndarray
    found: Neighbours
    reference: Neighbours
    against: str
    describe: Callable[[int], str]
    exact: float
    protocol: dict


def _in_pixels(report: Report) -> _Search:
    train, generated = small_images(report.training), small_images(report.generated)
    chosen, spatial = some(len(generated)), train.shape[1:-1]
    if report.heldout is not None:
        fresh = small_images(report.heldout)
        reference, against = nearest_transformed(fresh[some(len(fresh))], train), "held-out real images"
    else:
        own = some(len(train))
        reference, against = nearest_transformed(train[own], train, own=own), "training images against the others"
    return _Search(
        "privacy_copies",
        "symmetries",
        chosen,
        report.generated.arrays["positions"],
        nearest_transformed(generated[chosen], train),
        reference,
        against,
        lambda transform: describe(transform, spatial, shift_of(spatial)),
        EXACT,
        {"transforms": f"{len(symmetries(spatial))} symmetries, {shift_of(spatial)} pixels of shift at {spatial}"},
    )


def _in_features(report: Report) -> _Search:
    extractor, spatial = report.network, report.real.shape[:-1]
    vectors = report.training.arrays["vectors"]
    each = len(passes(spatial)) * (1 if len(spatial) == 2 else 24)
    most = int(np.clip(PLANES // each, FEWEST_TURNED, MOST_TURNED))

    def looked_up(summary: Summary) -> tuple[np.ndarray, np.ndarray]:
        chosen = some(len(summary.arrays["samples"]), most)
        return chosen, turned_features(extractor, summary.arrays["samples"][chosen])

    if report.heldout is not None:
        reference, against = nearest_turned(looked_up(report.heldout)[1], vectors), "held-out real images"
    else:
        own, turned = looked_up(report.training)
        # The same images among the vectors, which were kept from the stream by another draw.
        order = np.argsort(report.training.arrays["positions"])
        places = report.training.arrays["sample_positions"][own]
        at = np.searchsorted(report.training.arrays["positions"], places, sorter=order).clip(max=len(order) - 1)
        kept = report.training.arrays["positions"][order[at]] == places
        reference = nearest_turned(turned[kept], vectors, order[at][kept])
        against = "training images against the others"
    chosen, turned = looked_up(report.generated)
    turns = symmetries(spatial)
    return _Search(
        "privacy_copies_inception",
        f"symmetries_{extractor.name}",
        chosen,
        report.generated.arrays["sample_positions"],
        nearest_turned(turned, vectors),
        reference,
        against,
        lambda transform: str(turns[transform]),
        EXACT_FEATURES * float(np.sqrt(np.mean(np.sum((vectors - vectors.mean(axis=0)) ** 2, axis=1)))),
        {"transforms": f"{len(turns)} symmetries"},
    )


def _add_copies(report: Report, search: _Search) -> None:
    found, searched = search.found, len(report.training.arrays["positions"])
    copies, baseline = copied(found, search.exact), float(copied(search.reference, search.exact).mean())
    score = float(copies.mean())
    flagged = score > baseline + TOLERANCE
    transforms = [search.describe(int(transform)) for transform in found.transform]
    samples = search.positions[search.chosen]
    training = report.training.arrays["positions"][found.index]
    order = np.argsort(found.distance[:, 0] / np.maximum(found.distance[:, 1], 1e-12), kind="stable")
    pairs = [
        {
            "sample": int(samples[place]),
            "training": int(training[place]),
            "distance": float(found.distance[place, 0]),
            "second": float(found.distance[place, 1]),
            "transform": transforms[place],
            "copy": bool(copies[place]),
        }
        for place in order
    ]
    details = {"baseline": baseline, "against": search.against, "flagged": flagged, "closest": pairs[:LISTED]}
    name = report.add(
        search.value,
        score,
        details | {"threshold": baseline + TOLERANCE, "threshold_is": THRESHOLD},
        report.bootstrap(lambda rows: copies[rows].mean(), len(copies)),
        searched=searched,
        looked_up=len(search.chosen),
        rule="nearest <= second nearest / 3",
        **search.protocol,
    )
    warn_of_unsearched(report, name, searched)
    report.copies[search.space] = Memorisation(
        score, baseline, float("nan"), flagged, found.index, found.distance[:, 0], copies, samples, pairs
    )
    if flagged:
        report.warnings.append(
            f"{name}: {score:.0%} of the samples are training images, perhaps turned, mirrored or shifted"
            f" ({baseline:.0%} among {search.against})"
        )


def membership(report: Report, names: tuple[str, str], near: list[np.ndarray], baseline: float, rule: str) -> None:
    """Enters how well scores tell training images from held-out ones: the AUROC, and hits at 1% false alarms.

    Args:
      report: what to enter it into.
      names: of the two values.
      near: `[n]` scores of training images and `[m]` of held-out ones, higher for the former.
      baseline: the AUROC that the same code finds where there is nothing to find.
      rule: what the scores are.
    """
    sizes = [len(scores) for scores in near]
    members = np.repeat([True, False], sizes)

    def hits(members, scores):
        return hits_at(members, scores, ALARMS)

    for name, statistic in zip(names, (auroc, hits), strict=True):

        def drawn(a, b, statistic=statistic):
            return statistic(members, np.append(near[0][a], near[1][b]))

        details = {"baseline": baseline, "threshold": TOLD, "threshold_is": "a tenth above guessing"}
        report.add(
            name,
            statistic(members, np.concatenate(near)),
            details if statistic is auroc else {},
            report.bootstrap(drawn, *sizes),
            members=sizes[0],
            others=sizes[1],
            rule=rule,
        )


def _measure_membership(report: Report, heldout: Summary) -> None:
    train, generated, fresh = (small_images(s) for s in (report.training, report.generated, heldout))
    size = min(len(fresh), len(train), MOST_SEARCHED)
    if size < 4 or len(generated) < 2:
        raise CannotMeasure("membership needs four held-out and two generated images or more")
    train, fresh = (images[some(len(images), size)] for images in (train, fresh))

    def scores(images: np.ndarray, samples: np.ndarray) -> np.ndarray:
        return -nearest_transformed(images, samples).distance[:, 0]

    # One half of the held-out images in place of the samples: real, and of no training image.
    half = np.random.default_rng(1).permutation(size)
    instead, others = fresh[half[: size // 2]], fresh[half[size // 2 :]]
    real = [scores(images, instead) for images in (train[half[size // 2 :]], others)]
    baseline = auroc(np.repeat([True, False], [len(part) for part in real]), np.concatenate(real))
    near = [scores(images, generated) for images in (train, fresh)]
    rule = (
        "distance to the nearest sample, under the same transforms; baseline: to the nearest of other held-out images"
    )
    membership(report, ("membership_auroc", "membership_tpr"), near, baseline, rule)


def _measure(report: Report) -> None:
    if len(report.training.arrays["positions"]) < 3:
        raise CannotMeasure("the search for copies needs three training images or more")
    _add_copies(report, _in_pixels(report))
    if "vectors" in report.training.arrays:
        _add_copies(report, _in_features(report))
    if report.heldout is not None:
        _measure_membership(report, report.heldout)


_READING = "share of copies; {against}: {baseline:.1%}"

PRIVACY = Metric(
    "privacy",
    "share of samples that are training images, flipped, turned or shifted or not, by the rule of `nearest`, in pixels"
    " and in features; with held-out images, whether membership in the training set can be told by the distance to the"
    " nearest sample (AUROC, and hits at 1% false alarms; Chen et al. 2020)",
    (
        Value("privacy_copies", "lower", _READING, same=1.0, bounds=(0.0, 1.0), aspect="privacy"),
        Value(
            "privacy_copies_inception",
            "lower",
            _READING,
            "privacy_copies_{extractor}",
            1.0,
            (0.0, 1.0),
            aspect="privacy",
        ),
        Value(
            "membership_auroc",
            "lower",
            "0.5: not to be told; other real images: {baseline:.2f}",
            bounds=(0.0, 1.0),
            heldout=True,
            aspect="privacy",
        ),
        Value(
            "membership_tpr",
            "lower",
            "at 1% false alarms; 0.01: not to be told",
            bounds=(0.0, 1.0),
            heldout=True,
            aspect="privacy",
        ),
    ),
    needs=("pixels", "samples"),
    measure=_measure,
    default=False,
    of_training=True,
)
