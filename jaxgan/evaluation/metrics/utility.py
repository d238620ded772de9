"""Utility: does training on the samples help on real data? (Esteban, Hyland and Rätsch 2017: TSTR)"""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxgan.evaluation.classification import balanced_accuracy, multiclass_auroc, stratified_split
from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.networks.classifier import UPDATES, train_classifier
from jaxgan.evaluation.summary import Summary

SEEDS = 3
HELD_OUT = 0.2
FEWEST = 5
# As useful as reals: no more than this below them.
TOLERANCE = 0.05


@dataclasses.dataclass(frozen=True)
class Task:
    """What a classifier may learn from, and what it is examined on.

    Attributes:
      images: real ones, `[N, *spatial, C]`, and their `labels` `[N]`.
      fake: at most as many samples, and the classes `asked` for.
      test: real images set aside, and the `answers`.
      tested_on: what these are.
      classes: number of classes.
    """

    images: np.ndarray
    labels: np.ndarray
    fake: np.ndarray
    asked: np.ndarray
    test: np.ndarray
    answers: np.ndarray
    tested_on: str
    classes: int


def labelled(summary: Summary) -> tuple[np.ndarray, np.ndarray]:
    """The kept images that have a class, and their classes."""
    known = summary.arrays["sample_labels"] >= 0
    return summary.arrays["samples"][known], summary.arrays["sample_labels"][known]


def task_of(report: Report) -> Task:
    """What can be learnt from the images of a report; raises `CannotMeasure` without classes."""
    images, labels = labelled(report.training)
    fake, asked = labelled(report.generated)
    present, counts = np.unique(labels, return_counts=True)
    if len(present) < 2 or counts.min() < FEWEST:
        raise CannotMeasure(f"the real images need two classes or more, of {FEWEST} samples or more each")
    if len(fake) < FEWEST:
        raise CannotMeasure("the classes of the generated images are not known")
    test, answers = labelled(report.heldout) if report.heldout else (images[:0], labels[:0])
    tested_on = "held-out images"
    if not len(test):
        train, rest = stratified_split(labels, HELD_OUT)
        test, answers = images[rest], labels[rest]
        images, labels, tested_on = images[train], labels[train], "a fifth of the real images"
    classes = int(max(labels.max(), asked.max(), answers.max())) + 1
    chosen = np.random.default_rng(0).permutation(len(fake))[: len(images)]
    return Task(images, labels, fake[chosen], asked[chosen], test, answers, tested_on, classes)


def add_utility(
    report: Report, task: Task, name: str, images: np.ndarray, labels: np.ndarray, limit: dict | None = None
) -> float:
    """Trains on images, examines on the reals set aside and enters the balanced accuracy, which is returned.

    Args:
      report: what to enter it into.
      task: what is examined on.
      name: of the value.
      images: `[N, *spatial, C]`.
      labels: `[N]`.
      limit: further details.
    """
    answers, test = task.answers, task.test
    found = [train_classifier(images, labels, task.classes, updates=UPDATES, seed=s)(test) for s in range(SEEDS)]

    def accuracy(rows):
        return float(np.mean([balanced_accuracy(answers[rows], p[rows].argmax(axis=1)) for p in found]))

    def auroc(rows):
        return float(np.mean([multiclass_auroc(answers[rows], p[rows]) for p in found]))

    whole = np.arange(len(test))
    present = np.unique(answers)
    recalled = [np.mean([np.mean(p[answers == label].argmax(axis=1) == label) for p in found]) for label in present]
    hardest = int(np.argmin(recalled))
    details = {
        "auroc": auroc(whole),
        "per_class": {str(label): float(share) for label, share in zip(present, recalled, strict=True)},
        "hardest": str(present[hardest]),
        "hardest_accuracy": float(recalled[hardest]),
        "auroc_interval": report.bootstrap(auroc, len(test)),
        "per_seed": [balanced_accuracy(answers, p.argmax(axis=1)) for p in found],
    }
    protocol = {"trained_on": len(images), "tested": len(test), "tested_on": task.tested_on, "updates": UPDATES}
    interval = report.bootstrap(accuracy, len(test))
    report.add(name, accuracy(whole), details | (limit or {}), interval, seeds=SEEDS, **protocol)
    return accuracy(whole)


def _measure(report: Report) -> None:
    task = task_of(report)
    reals = add_utility(report, task, "utility_trtr", task.images, task.labels)
    limit = {"threshold": reals - TOLERANCE, "threshold_is": "5 percentage points below utility_trtr"}
    add_utility(report, task, "utility_tstr", task.fake, task.asked, limit)
    both = np.concatenate([task.images, task.fake]), np.concatenate([task.labels, task.asked])
    add_utility(report, task, "utility_both", *both)


READING = "AUROC {auroc:.3f}; least of class {hardest}, {hardest_accuracy:.1%}; tested on held-out reals, trained on "

UTILITY = Metric(
    "utility",
    f"balanced accuracy, on real images set aside, of a small classifier trained on reals (`trtr`), on as many samples"
    f" (`tstr`), on both; equal numbers of updates, mean of {SEEDS} trainings (Esteban et al. 2017)",
    tuple(
        Value(name, "higher", READING + source, bounds=(0.0, 1.0), aspect="utility")
        for name, source in (
            ("utility_trtr", "reals"),
            ("utility_tstr", "samples"),
            ("utility_both", "reals and samples"),
        )
    ),
    needs=("samples",),
    measure=_measure,
    default=False,
    labelled=True,
    conditional=True,
    of_training=True,
)
