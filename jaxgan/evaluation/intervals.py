"""An interval for every number that is made of two whole sets: measured again on random halves of both."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from functools import partial

import numpy as np

from jaxgan.evaluation.bootstrap import FEWEST, centred_interval, half
from jaxgan.evaluation.metric import Metric, Report
from jaxgan.evaluation.registry import value_of


def add_intervals(report: Report, metrics: list[Metric]) -> None:
    """Gives the numbers of `metrics` in a report their 95% intervals.

    Each number is measured on `report.resamples` random halves of the samples kept of each set; the interval has the
    spread of these values and lies about the number itself, since with half as many samples a biased number (the
    Fréchet distance) is more biased. None gets one when either set has fewer than `FEWEST` samples.
    """
    if min(report.real.count, report.generated.count) < FEWEST:
        return
    found: dict[str, list[float]] = defaultdict(list)
    for draw in range(report.resamples):
        real = report.real.subset(partial(half, seed=2 * draw))
        generated = report.generated.subset(partial(half, seed=2 * draw + 1))
        part = Report(real, generated, report.extractor, "", report.scaling, quick=True)
        for metric in metrics:
            part.measure(metric)
        for name, measurement in part.metrics.items():
            found[name].append(measurement.value)
    for name, values in found.items():
        measurement = report.metrics[name]
        if not np.isfinite(measurement.value) or not np.isfinite(values).any():
            continue
        value = value_of(name)
        assert value is not None  # the metric that measured it is registered
        low, high = np.clip(centred_interval(measurement.value, values), *value.bounds)
        protocol = measurement.protocol | {"interval_by": f"95%, {report.resamples} random halves of both sets"}
        interval = float(low), float(high)
        report.metrics[name] = dataclasses.replace(measurement, interval=interval, protocol=protocol)
