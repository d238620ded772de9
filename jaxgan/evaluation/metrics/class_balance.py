"""Class balance: do samples show the classes in the real images' shares, whether they were asked for or not?"""

from __future__ import annotations

import numpy as np
import scipy.stats

from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.metrics.class_agreement import judge
from jaxgan.evaluation.networks.classifier import UPDATES


def chi_square(counts: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Pearson's test that two rows of counts come from the same shares: (statistic per degree of freedom, p-value).

    Args:
      counts: int `[K]`, of the samples.
      reference: int `[K]`, of the real images; a class that neither has is left out.
    """
    table = np.stack([counts, reference])
    table = table[:, table.any(axis=0)]
    found = scipy.stats.chi2_contingency(table, correction=False)
    return float(found.statistic / found.dof), float(found.pvalue)


def _measure(report: Report) -> None:
    judged = judge(report.real)
    # Of the reals those that the judge was not trained on: what it knows by heart it would count without the errors
    # that it makes on samples, and perfect samples would seem to have other shares.
    seen = {
        "generated": judged.classify(report.generated.arrays["samples"]).argmax(axis=1),
        "real": judged.unseen,
    }
    classes = int(max(found.max() for found in seen.values())) + 1
    counts = {name: np.bincount(found, minlength=classes) for name, found in seen.items()}
    if (counts["real"] > 0).sum() < 2:
        raise CannotMeasure("the classifier sees one class alone in the real images")
    value, p_value = chi_square(counts["generated"], counts["real"])
    report.add(
        "class_chi2",
        value,
        {"p_value": p_value, "counts": counts["generated"].tolist(), "real_counts": counts["real"].tolist()},
        interval=report.bootstrap(
            lambda rows: chi_square(np.bincount(seen["generated"][rows], minlength=classes), counts["real"])[0],
            len(seen["generated"]),
        ),
        judge="a small convolutional network, trained on 80% of the real images, counts the classes of the samples and"
        " of the other 20%",
        updates=UPDATES,
    )


CLASS_BALANCE = Metric(
    "class_balance",
    "chi-square, per degree of freedom, of the classes that a small classifier, trained on the real images, sees in the"
    " samples against those that it sees in the reals (Pearson 1900)",
    (
        Value(
            "class_chi2",
            "lower",
            "p-value {p_value:.2g}; about 1: the same shares of classes",
            bounds=(0.0, np.inf),
            aspect="diversity",
        ),
    ),
    needs=("samples",),
    measure=_measure,
    default=False,
    labelled=True,
)
