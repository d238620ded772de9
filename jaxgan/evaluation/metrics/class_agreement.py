"""Class agreement: does a conditional sample show the class that it was asked for?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxgan.evaluation.classification import stratified_split
from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.networks.classifier import UPDATES, Trained, train_classifier
from jaxgan.evaluation.summary import Summary

HELD_OUT = 0.2
FEWEST = 5


class Judge(NamedTuple):
    """A classifier trained on four fifths of the reals, and what it makes of the fifth that it has not seen.

    Attributes:
      classify: images to probabilities.
      unseen: the classes that it gives the last fifth, `[n]`.
      accuracy: the share of these that are right.
    """

    classify: Trained
    unseen: np.ndarray
    accuracy: float


def judge(real: Summary) -> Judge:
    """The judge of a set; made once.

    Raises:
      CannotMeasure: no classes, or a class of fewer than 5 samples.
    """
    if "judge" not in real.memo:
        images, labels = real.arrays["samples"], real.arrays["sample_labels"]
        known = labels >= 0
        images, labels = images[known], labels[known]
        classes, counts = np.unique(labels, return_counts=True)
        if len(classes) < 2 or counts.min() < FEWEST:
            raise CannotMeasure(f"the real images need two classes or more, of {FEWEST} samples or more each")
        train, test = stratified_split(labels, HELD_OUT)
        trained = train_classifier(images[train], labels[train], int(classes.max()) + 1, updates=UPDATES)
        unseen = trained(images[test]).argmax(axis=1)
        real.memo["judge"] = Judge(trained, unseen, float(np.mean(unseen == labels[test])))
    return real.memo["judge"]


def _measure(report: Report) -> None:
    asked = report.generated.arrays["sample_labels"]
    if (asked < 0).any():
        raise CannotMeasure("the classes of the generated images are not known")
    judged = judge(report.real)
    right = judged.classify(report.generated.arrays["samples"]).argmax(axis=1) == asked
    per_class = {str(label): float(right[asked == label].mean()) for label in np.unique(asked)}
    report.add(
        "class_agreement",
        right.mean(),
        {"real": judged.accuracy, "per_class": per_class},
        interval=report.bootstrap(lambda rows: right[rows].mean(), len(right)),
        judge="a small convolutional network, trained on 80% of the real images; the real value is of the other 20%",
        updates=UPDATES,
        judged=len(right),
    )


CLASS_AGREEMENT = Metric(
    "class_agreement",
    "share of conditional samples that a small classifier, trained on the real images, assigns to the class that was"
    " asked for (Ravuri and Vinyals 2019, turned round)",
    (
        Value(
            "class_agreement", "higher", "higher; held-out real images: {real:.1%}", bounds=(0.0, 1.0), aspect="utility"
        ),
    ),
    needs=("samples",),
    measure=_measure,
    default=False,
    labelled=True,
    conditional=True,
)
