"""Has the critic learnt its training images by heart? Its scores of these against those of held-out ones."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.classification import auroc
from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.metrics.privacy import MOST_SEARCHED, membership, some


def _measure(report: Report) -> None:
    if report.critic is None or report.heldout is None:
        raise CannotMeasure("needs a run's critic and held-out images: give --checkpoint, and --heldout where none are")
    sets = [summary.arrays for summary in (report.training, report.heldout)]
    size = min(MOST_SEARCHED, *(len(arrays["samples"]) for arrays in sets))
    if size < 4:
        raise CannotMeasure("membership needs four held-out and four training images or more")
    rows = [some(len(arrays["samples"]), size) for arrays in sets]
    images, labels = (
        np.concatenate([arrays[name][chosen] for arrays, chosen in zip(sets, rows, strict=True)])
        for name in ("samples", "sample_labels")
    )
    # A critic may compare the samples of a batch: both kinds come in every batch.
    order = np.random.default_rng(0).permutation(len(images))
    scores = np.empty(len(images))
    scores[order] = report.critic(images[order], labels[order])
    near = [scores[:size], scores[size:]]
    half = np.random.default_rng(1).permutation(size) < size // 2
    rule = "score by the run's critic; baseline: one half of the held-out images against the other"
    membership(report, ("critic_auroc", "critic_tpr"), near, auroc(half, near[1]), rule)


CRITIC_MEMBERSHIP = Metric(
    "critic_membership",
    "whether the run's critic scores images that it was trained on above held-out ones (AUROC, and hits at 1% false"
    " alarms; Hayes et al. 2019, LOGAN): an overfitted critic does",
    (
        Value(
            "critic_auroc",
            "lower",
            "0.5: not overfitted; halves of held-out images: {baseline:.2f}",
            bounds=(0.0, 1.0),
            heldout=True,
            aspect="privacy",
        ),
        Value("critic_tpr", "lower", "at 1% false alarms", bounds=(0.0, 1.0), heldout=True, aspect="privacy"),
    ),
    needs=("samples",),
    measure=_measure,
    default=False,
    critic=True,
    of_training=True,
)
