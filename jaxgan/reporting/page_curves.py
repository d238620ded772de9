"""The curves of a report page: which metrics share a chart, and the points of each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxgan.reporting.contents import RunContents
from jaxgan.reporting.metric_curves import series

_POINTS = 1500
# Metrics that share a chart; any other has one of its own.
_PANELS = {
    "Losses": ("generator_loss", "critic_loss"),
    "Critic's scores, real less generated": ("wasserstein",),
    "Gradient norms": ("generator_gradient_norm", "critic_gradient_norm"),
}
_NOT_DRAWN = ("step", "images", "epoch", "rolled_back_from")


def all_series(run: RunContents) -> dict[str, dict[str, list[float]]]:
    """Every logged metric: places in steps, epochs and images, and values; of long ones, which are thinned, also the
    mean of the stretch that a value stands for (`mean`), which is what may be smoothed."""
    names = dict.fromkeys(name for record in run.records for name in record if name not in _NOT_DRAWN)
    made = {}
    for name in names:
        steps, values = series(run.records, name, "step")
        if not len(steps):
            continue
        kept, means = _thinned(values)
        columns = {"step": steps[kept].tolist()}
        for against in ("epoch", "images"):
            places, _ = series(run.records, name, against)
            if len(places) == len(steps):
                columns[against] = [float(f"{place:.6g}") for place in places[kept]]
        made[name] = {**columns, "y": _short(values[kept])} | ({} if means is None else {"mean": _short(means)})
    return made


def _thinned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Indices of some `_POINTS` values, of each stretch the lowest and the highest, so that no spike is lost; and the
    mean of the stretch of each, or None where all values are kept."""
    count = len(values)
    if count <= _POINTS:
        return np.arange(count), None
    edges = np.linspace(0, count, _POINTS // 2 + 1).astype(int)
    means = {0: values[edges[0] : edges[1]].mean(), count - 1: values[edges[-2] : edges[-1]].mean()}
    for first, last in itertools.pairwise(edges):
        part = values[first:last]
        means |= dict.fromkeys((first + int(part.argmin()), first + int(part.argmax())), part.mean())
    kept = sorted(means)
    return np.array(kept), np.array([means[place] for place in kept])


def _short(values: np.ndarray) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def panels(runs: Sequence[RunContents]) -> list[dict[str, Any]]:
    """The charts: title and metrics of each; a metric that shares none has one of its own."""
    logged = dict.fromkeys(name for run in runs for record in run.records for name in record if name not in _NOT_DRAWN)
    groups = {title: [name for name in names if name in logged] for title, names in _PANELS.items()}
    grouped = {name for names in groups.values() for name in names}
    groups |= {title_of(name).capitalize(): [name] for name in logged if name not in grouped}
    return [
        {"title": title, "metrics": [{"name": name, "title": title_of(name)} for name in names]}
        for title, names in groups.items()
        if names
    ]


def title_of(name: str) -> str:
    """A metric's name as a person writes it."""
    return name.replace("_", " ")
