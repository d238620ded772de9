"""One number a sample, two sets: how far apart their distributions lie, in the number's own unit."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.metric import Distributions, Report


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """1-D Wasserstein distance of two samples `[N]` and `[M]`: by how much a value is off on average."""
    a, b = np.sort(np.asarray(a, np.float64)), np.sort(np.asarray(b, np.float64))
    values = np.sort(np.concatenate([a, b]))
    shares = [np.searchsorted(part, values[:-1], side="right") / len(part) for part in (a, b)]
    return float(np.sum(np.abs(shares[0] - shares[1]) * np.diff(values)))


def add_distance(
    report: Report,
    name: str,
    parts: tuple[list[np.ndarray], list[np.ndarray]],
    label: str,
    details: dict | None = None,
    **protocol,
) -> None:
    """Enters the distance between what was measured of real and of generated samples, and keeps both for a figure.

    Args:
      report: what to enter it into.
      name: of the value.
      parts: of the reals and of the generated ones, the numbers that each sample gave: one or, of its objects, several.
      label: what it is, with its unit in square brackets.
      details: of the measurement.
      protocol: how it was made.
    """
    real, generated = (np.concatenate([*sample, np.zeros(0)]) for sample in parts)
    # A set without any object: objects of no size.
    real, generated = (values if len(values) else np.zeros(1) for values in (real, generated))

    def of(a: np.ndarray, b: np.ndarray) -> float:
        ours, theirs = (
            np.concatenate([*(part[place] for place in places), np.zeros(0)])
            for part, places in zip(parts, (a, b), strict=True)
        )
        return distance(ours if len(ours) else np.zeros(1), theirs if len(theirs) else np.zeros(1))

    value = distance(real, generated)
    interval = report.halves(value, of, len(parts[0]), len(parts[1]))
    if interval is not None:
        interval = max(0.0, interval[0]), interval[1]
        protocol["interval_by"] = f"95%, {report.resamples} random halves of both sets"
    unit = label.partition("[")[2].rstrip("]") or "1"
    moments = {
        f"{which}_{what}": float(function(values))
        for which, values in (("real", real), ("generated", generated))
        for what, function in (("mean", np.mean), ("median", np.median), ("std", np.std))
    }
    report.add(name, value, moments | (details or {}), interval, units=unit, n=[len(real), len(generated)], **protocol)
    report.distributions[name] = Distributions(real, generated, label)


READING = "lower [{units}]; mean {generated_mean:.4g} (real {real_mean:.4g})"
