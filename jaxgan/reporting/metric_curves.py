"""Curves of a run's metrics: losses, the Wasserstein estimate, everything else that was logged.

Colours are Okabe and Ito's, which readers with any colour vision can tell apart; line style differs too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, VERMILION, GREEN, GRAY = "#0072B2", "#D55E00", "#009E73", "#777777"
_SHOWN_ELSEWHERE = ("step", "images", "epoch", "critic_loss", "generator_loss", "wasserstein")
_MARKS = 120
_FEW = 40


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that leaves pyplot's global state and the user's backend alone."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def series(records: Sequence[Mapping[str, Any]], name: str, against: str) -> tuple[np.ndarray, np.ndarray]:
    """Finite values of one metric and where they were logged.

    Args:
      records: as `read_metrics` gives them.
      name: the metric.
      against: "step" or "epoch"; records without it are left out.

    Returns:
      `[K]` places and `[K]` values, float64.
    """
    pairs = [(r[against], r[name]) for r in records if _is_number(r.get(name)) and _is_number(r.get(against))]
    places, values = np.asarray(pairs, np.float64).reshape(-1, 2).T
    return places, values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Centred moving mean of the centred moving median, so that a spike does not bend the curve.

    Args:
      values: `[K]`, finite.
      window: odd number of values; at the ends, over the part of it that exists.

    Returns:
      `[K]`.
    """
    if window == 1 or not len(values):
        return values
    for average in (np.nanmedian, np.nanmean):
        padded = np.pad(values, window // 2, constant_values=np.nan)
        values = average(np.lib.stride_tricks.sliding_window_view(padded, window), axis=-1)
    return values


def losses(records: Sequence[Mapping[str, Any]], n_critic: int | None = None) -> Figure | None:
    """Generator and critic losses against epochs, each on its own axis, with marks at logged critic updates.

    Args:
      records: as `read_metrics` gives them.
      n_critic: critic updates per iteration, told in the legend.

    Returns:
      the figure, or None when neither loss was logged.
    """
    lines = (("generator_loss", BLUE, "-", "left"), ("critic_loss", VERMILION, "--", "right"))
    if not any(len(series(records, name, "epoch")[0]) for name, *_ in lines):
        return None
    figure = new_figure(8, 4.8)
    left = figure.subplots()
    right = left.twinx()
    for axes, (name, colour, style, side) in zip((left, right), lines, strict=True):
        epochs, values = series(records, name, "epoch")
        window = _window(values)
        title = name.replace("_", " ")
        _draw(axes, epochs, smooth(values, window), colour, style, label=_label(title, window))
        if name == "critic_loss":
            kept = slice(None, None, max(1, len(epochs) // _MARKS))
            each = f" ({n_critic} critic update{'s' if n_critic > 1 else ''} per iteration)" if n_critic else ""
            marks = f"logged critic updates{each}"
            axes.plot(epochs[kept], values[kept], "x", color=colour, markersize=5, alpha=0.7, label=marks)
        else:
            axes.plot(epochs, values, color=colour, linewidth=0.6, alpha=0.35)
        beyond = _limit(axes, values)
        axes.set_ylabel(title + beyond, color=colour)
        axes.tick_params(axis="y", colors=colour)
        axes.spines["top"].set_visible(False)
        axes.spines[side].set_color(colour)
    # The right axes lie on top: their own left spine would hide the coloured one.
    right.spines["left"].set_visible(False)
    left.spines["right"].set_visible(False)
    left.set_xlabel("epoch")
    left.set_title("Losses")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize="small")
    return figure


def wasserstein(records: Sequence[Mapping[str, Any]], weight_clip: float = 0.0, loss: str = "wgan") -> Figure | None:
    """The gap between the scores of reals and fakes against iterations, raw and smoothed.

    With a Wasserstein loss it is the critic's estimate of the distance; with any other the figure says that it is not.

    Args:
      records: as `read_metrics` gives them.
      weight_clip: bound of weight clipping, marked on both sides of 0; 0 when weights are not clipped.
      loss: the adversarial loss of the run, as its config names it.

    Returns:
      the figure, or None when it was not logged.
    """
    steps, values = series(records, "wasserstein", "step")
    if not len(steps):
        return None
    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    window = _window(values)
    if window > 1:
        axes.plot(steps, values, color=BLUE, linewidth=0.6, alpha=0.35, label="each logged iteration")
    _draw(
        axes, steps, smooth(values, window), BLUE, label=_label("estimate" if loss == "wgan" else "score gap", window)
    )
    axes.axhline(0.0, color="black", linewidth=1.0, label="0")
    if weight_clip:
        for bound, label in ((weight_clip, f"weight clipping bounds, ±{weight_clip:g}"), (-weight_clip, None)):
            axes.axhline(bound, color=VERMILION, linestyle="--", linewidth=1.2, label=label)
        size = np.percentile(np.abs(values), 90)
        if not 0.1 * weight_clip < size < 10 * weight_clip:
            # Bounds and curve of very different size: linear around 0, logarithmic outside, shows both.
            smaller = max(min(size, weight_clip), 1e-3 * weight_clip)
            axes.set_yscale("symlog", linthresh=10.0 ** math.floor(math.log10(smaller)))
    beyond = _limit(axes, values, (0.0, weight_clip, -weight_clip))
    axes.set(xlabel="iteration", ylabel="mean critic(real) - mean critic(generated)" + beyond)
    estimate = "Wasserstein distance, the critic's estimate"
    axes.set_title(estimate if loss == "wgan" else f"Score gap; no Wasserstein distance, since the loss is {loss}")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize="small")
    return figure


def other_metrics(records: Sequence[Mapping[str, Any]]) -> Figure | None:
    """One panel for every other number that was logged: penalty, speed, evaluated metrics, against epochs.

    Args:
      records: as `read_metrics` gives them.

    Returns:
      the figure, or None when there is nothing else.
    """
    names = dict.fromkeys(name for record in records for name in record if name not in _SHOWN_ELSEWHERE)
    found = {name: series(records, name, "epoch") for name in names}
    found = {name: data for name, data in found.items() if len(data[0])}
    if not found:
        return None
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = new_figure(3.6 * columns, 2.6 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, (epochs, values)) in zip(panels, found.items(), strict=False):
        axes.plot(epochs, values, color=BLUE, linewidth=0.6, alpha=0.35)
        _draw(axes, epochs, smooth(values, _window(values)), BLUE)
        axes.set_ylabel(_limit(axes, values).strip())
        axes.set_title(name.replace("_", " "), fontsize="medium")
        axes.set_xlabel("epoch")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(found) :]:
        axes.set_visible(False)
    return figure


def _window(values: np.ndarray) -> int:
    return max(1, len(values) // 25) | 1


def _label(title: str, window: int) -> str:
    return title if window == 1 else f"{title}, smoothed over {window} logged iterations"


def _draw(axes: Axes, places: np.ndarray, values: np.ndarray, colour: str, style: str = "-", **options) -> None:
    """The main curve of a panel; dots mark its points while they are few."""
    marker = "." if len(values) <= _FEW and style == "-" else None
    axes.plot(places, values, style, color=colour, linewidth=1.8, marker=marker, **options)


def _limit(axes: Axes, values: np.ndarray, keep: Sequence[float] = ()) -> str:
    """Keeps a few spikes from flattening the curve, and says for the axis label how many lie beyond it.

    Args:
      axes: whose vertical limits are set, if need be.
      values: `[K]`, what is drawn.
      keep: values that stay inside the limits.

    Returns:
      a second line for the axis label, empty when nothing lies beyond.
    """
    if len(values) <= _FEW:
        return ""
    low, high = np.percentile(values, [2, 98], method="nearest")
    if np.ptp(values) <= 4 * (high - low):
        return ""
    low, high = min(low, *keep, low), max(high, *keep, high)
    margin = 0.5 * (high - low)
    axes.set_ylim(low - margin, high + margin)
    beyond = np.count_nonzero((values < low - margin) | (values > high + margin))
    return f"\n(beyond the axis: {beyond})" if beyond else ""
