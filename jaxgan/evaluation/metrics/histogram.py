"""Intensity distribution: are the values themselves right, in the units of the data?"""

from __future__ import annotations

import numpy as np

from jaxgan.data.distribution import value_moments, wasserstein
from jaxgan.evaluation.metric import Metric, Report, Value


def _measure(report: Report) -> None:
    scaling = report.scaling
    low, high, units = (scaling.low, scaling.high, scaling.units) if scaling else (-1.0, 1.0, "")
    real, generated = (s.arrays["histogram"] for s in (report.real, report.generated))
    details = {}
    for name, counts in (("real", real), ("generated", generated)):
        mean, deviation = value_moments(counts)
        details[f"{name}_mean"] = (mean + 1) / 2 * (high - low) + low
        details[f"{name}_std"] = deviation * (high - low) / 2
    value = wasserstein(real, generated, high - low)
    report.add("histogram", value, details, units=units or "original values", range=[low, high])


READING = "lower [{units}]; mean {generated_mean:.4g} (real {real_mean:.4g})"

HISTOGRAM = Metric(
    "histogram",
    "1-D Wasserstein distance of the values, in original units",
    (Value("histogram", "lower", READING, same=0.0, bounds=(0.0, np.inf)),),
    needs=("statistics",),
    measure=_measure,
    halved=True,
)
