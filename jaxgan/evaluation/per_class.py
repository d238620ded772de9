"""Distances within each class: a set may be right as a whole and wrong in every class."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.metric import Report
from jaxgan.evaluation.metrics.frechet import FID, frechet_distance
from jaxgan.evaluation.metrics.kernel import KID, kernel_distance
from jaxgan.evaluation.moments import moments_of

FEWEST_PER_CLASS = 20


def per_class(report: Report, class_names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Fréchet and kernel distance within each class that both sets have 20 or more samples of."""
    real, generated, extractor = report.real, report.generated, report.extractor
    rows = {}
    for label in np.unique(real.arrays["labels"][real.arrays["labels"] >= 0]):
        ours, theirs = (s.arrays["features"][s.arrays["labels"] == label] for s in (real, generated))
        if min(len(ours), len(theirs)) < FEWEST_PER_CLASS:
            continue
        pairs = [[f[:, a].reshape(-1, f.shape[-1]) for f in (ours, theirs)] for a in range(ours.shape[1])]
        rows[class_names[label] if label < len(class_names) else str(label)] = {
            FID.values[0].named(extractor): float(np.mean([frechet_distance(*map(moments_of, p)) for p in pairs])),
            KID.values[0].named(extractor): float(np.mean([kernel_distance(*p, blocks=10)[0] for p in pairs])),
            "n_real": len(ours),
            "n_generated": len(theirs),
        }
    return rows
