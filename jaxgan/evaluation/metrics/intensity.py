"""Intensity statistics, class by class: is a sample as bright, and as rich in contrast, as real ones of its class?"""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.metric import Metric, Report, Value
from jaxgan.evaluation.metrics.distances import READING, add_distance, distance


def _measure(report: Report) -> None:
    scaling = report.scaling
    low, high, units = (scaling.low, scaling.high, scaling.units) if scaling else (-1.0, 1.0, "")
    sets = []
    for summary in (report.real, report.generated):
        pixels = summary.arrays["samples"].reshape(len(summary.arrays["samples"]), -1)
        mean = (pixels.mean(axis=1, dtype=np.float64) + 1) / 2 * (high - low) + low
        deviation = pixels.std(axis=1, dtype=np.float64) * (high - low) / 2
        sets.append((mean, deviation, summary.arrays["sample_labels"]))
    classes = [label for label in np.unique(sets[0][2]) if label >= 0 and label in sets[1][2]]
    for place, name in enumerate(("intensity_mean", "intensity_std")):
        ours, theirs = ([np.array([value]) for value in values[place]] for values in sets)
        per_class = {}
        for label in classes:
            real, generated = (values[place][values[2] == label] for values in sets)
            per_class[str(label)] = {
                "distance": distance(real, generated),
                "real_mean": float(real.mean()),
                "generated_mean": float(generated.mean()),
                "n": [len(real), len(generated)],
            }
        what = "mean of a sample" if place == 0 else "standard deviation within a sample"
        label = f"{what} [{units or 'original values'}]"
        add_distance(report, name, (ours, theirs), label, {"per_class": per_class})


INTENSITY = Metric(
    "intensity",
    "mean and standard deviation of each sample's values: 1-D Wasserstein distances of their distributions, in original"
    " units, over all and within each class",
    tuple(
        Value(name, "lower", READING, same=0.0, bounds=(0.0, np.inf)) for name in ("intensity_mean", "intensity_std")
    ),
    needs=("samples",),
    measure=_measure,
    default=False,
)
