"""Utility: does training on the samples help on real data? (Esteban, Hyland and Rätsch 2017: TSTR)"""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.classification import balanced_accuracy, multiclass_auroc, stratified_split
from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.networks.classifier import UPDATES, train_classifier
from jaxgan.evaluation.summary import Summary

SEEDS = 3
HELD_OUT = 0.2
FEWEST = 5


def labelled(summary: Summary) -> tuple[np.ndarray, np.ndarray]:
    """The kept images that have a class, and their classes."""
    known = summary.arrays["sample_labels"] >= 0
    return summary.arrays["samples"][known], summary.arrays["sample_labels"][known]


def _measure(report: Report) -> None:
    images, labels = labelled(report.real)
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
    fake, asked = fake[chosen], asked[chosen]
    sets = {
        "utility_trtr": (images, labels),
        "utility_tstr": (fake, asked),
        "utility_both": (np.concatenate([images, fake]), np.concatenate([labels, asked])),
    }
    for name, (inputs, targets) in sets.items():
        found = [train_classifier(inputs, targets, classes, updates=UPDATES, seed=s)(test) for s in range(SEEDS)]

        def accuracy(rows, found=found):
            return float(np.mean([balanced_accuracy(answers[rows], p[rows].argmax(axis=1)) for p in found]))

        def auroc(rows, found=found):
            return float(np.mean([multiclass_auroc(answers[rows], p[rows]) for p in found]))

        whole = np.arange(len(test))
        details = {
            "auroc": auroc(whole),
            "auroc_interval": report.bootstrap(auroc, len(test)),
            "per_seed": [balanced_accuracy(answers, p.argmax(axis=1)) for p in found],
        }
        protocol = {"trained_on": len(inputs), "tested": len(test), "tested_on": tested_on, "updates": UPDATES}
        report.add(name, accuracy(whole), details, report.bootstrap(accuracy, len(test)), seeds=SEEDS, **protocol)


_READING = "AUROC {auroc:.3f}; balanced accuracy on held-out reals, trained on "

UTILITY = Metric(
    "utility",
    f"balanced accuracy, on real images set aside, of a small classifier trained on reals (`trtr`), on as many samples"
    f" (`tstr`), on both; equal numbers of updates, mean of {SEEDS} trainings (Esteban et al. 2017)",
    tuple(
        Value(name, "higher", _READING + source, bounds=(0.0, 1.0))
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
)
