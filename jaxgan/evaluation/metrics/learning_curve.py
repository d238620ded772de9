"""What samples add to few reals: utility with a tenth, a third and all of the real images, with and without samples."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.classification import stratified_split
from jaxgan.evaluation.metric import Metric, Report, Value
from jaxgan.evaluation.metrics.utility import READING, SEEDS, add_utility, task_of

SHARES = (10, 30, 100)


def _measure(report: Report) -> None:
    task = task_of(report)
    for share in SHARES:
        places = np.arange(len(task.labels)) if share == 100 else stratified_split(task.labels, share / 100)[1]
        images, labels = task.images[places], task.labels[places]
        add_utility(report, task, f"learning_{share}_real", images, labels)
        both = np.concatenate([images, task.fake]), np.concatenate([labels, task.asked])
        add_utility(report, task, f"learning_{share}_both", *both)


LEARNING_CURVE = Metric(
    "learning_curve",
    f"`utility` with {', '.join(map(str, SHARES[:-1]))} and {SHARES[-1]}% of the real images, without (`real`) and with"
    f" (`both`) as many samples as there are reals in all; mean of {SEEDS} trainings",
    tuple(
        Value(
            f"learning_{share}_{kind}",
            "higher",
            f"{READING}{share}% of the reals{' and samples' if kind == 'both' else ''}",
            bounds=(0.0, 1.0),
            aspect="utility",
        )
        for share in SHARES
        for kind in ("real", "both")
    ),
    needs=("samples",),
    measure=_measure,
    default=False,
    labelled=True,
    conditional=True,
    of_training=True,
)
