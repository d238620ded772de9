"""Figures of an evaluation: distributions, power spectrum, nearest training neighbours, learning curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxgan.data.scaling import Scaling
from jaxgan.evaluation.evaluate import Evaluation
from jaxgan.evaluation.metrics.learning_curve import SHARES
from jaxgan.evaluation.sources import Source
from jaxgan.pictures import window_of, windowed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8
# Of all figures; those of the nearest images are one a space.
NAMES = ("histogram", "spectrum", "nearest_*", "distributions", "learning_curve")


def _figure(width: float, height: float) -> Figure:
    # The object interface needs no display and leaves the caller's matplotlib state alone.
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", dpi=120)


def histogram_figure(evaluation: Evaluation, scaling: Scaling | None) -> Figure:
    """Densities of the values of both sets, in original units, over 128 bins."""
    low, high, units = (scaling.low, scaling.high, scaling.units) if scaling else (-1.0, 1.0, "")
    figure = _figure(6, 4)
    axes = figure.subplots()
    for name in ("real", "generated"):
        counts = getattr(evaluation, name).arrays["histogram"].sum(axis=0)
        coarse = counts.reshape(128, -1).sum(axis=1)
        edges = np.linspace(low, high, 129)
        axes.stairs(coarse / coarse.sum(), edges, label=name, fill=name == "real", alpha=0.5 if name == "real" else 1)
    axes.set(xlabel=f"value [{units}]" if units else "value", ylabel="share of pixels", yscale="log")
    axes.set_title(f"Wasserstein distance {evaluation.metrics['histogram'].value:.4g} {units}".strip())
    axes.legend()
    return figure


def spectrum_figure(evaluation: Evaluation) -> Figure:
    """Mean power against spatial frequency, both sets."""
    figure = _figure(6, 4)
    axes = figure.subplots()
    for name in ("real", "generated"):
        power = getattr(evaluation, name).arrays["power"].mean(axis=0)
        axes.plot(np.linspace(0, 0.5, len(power) + 1)[1:], 10 * np.log10(np.maximum(power, 1e-12)), label=name)
    axes.set(xlabel="spatial frequency [cycles a pixel]", ylabel="power [dB]")
    axes.set_title(f"difference {evaluation.metrics['spectrum'].value:.3g} dB")
    axes.legend()
    return figure


def _shown(image: np.ndarray) -> np.ndarray:
    """`[H, W]` or `[H, W, 3]` in [0, 1]: the middle slice of a volume, the first channel of odd ones."""
    if image.ndim == 4:
        image = image[image.shape[0] // 2]
    image = np.clip((image + 1) / 2, 0, 1)
    return image if image.shape[-1] == 3 else image[..., 0]


def neighbours_figure(evaluation: Evaluation, space: str, training: Source, generated: Source) -> Figure:
    """The most suspicious samples (closest to a training image; where turns were searched, the closest by far) above
    their training images, with distances and transforms.
    """
    found = evaluation.copies[space]
    samples = evaluation.generated.arrays["positions"] if found.samples is None else found.samples
    chosen = np.argsort(found.distance, kind="stable")[:SHOWN]
    if found.pairs:
        places = {int(sample): place for place, sample in enumerate(samples)}
        chosen = np.array([places[pair["sample"]] for pair in found.pairs[:SHOWN]])
    ours = generated.at(samples[chosen])
    theirs = training.at(evaluation.training.arrays["positions"][found.nearest[chosen]])
    window = window_of(theirs)  # As in all pictures: a few bright values must not make the rest black.
    pairs = {pair["sample"]: pair for pair in found.pairs or ()}
    figure = _figure(1.2 * len(chosen) + 0.6, 3.4)
    grid = figure.subplots(2, len(chosen), squeeze=False)
    for column, place in enumerate(chosen):
        for row, image in enumerate((ours[column], theirs[column])):
            grid[row, column].imshow(_shown(windowed(image, window)), cmap="gray", vmin=0, vmax=1)
            grid[row, column].set(xticks=[], yticks=[])
        title, pair = f"{found.distance[place]:.3g}", pairs.get(int(samples[place]))
        if pair is not None:
            title += f" ({pair['second']:.3g})"
            grid[1, column].set_xlabel(pair["transform"].replace(", ", "\n"), fontsize=7)
        grid[0, column].set_title(title, fontsize=8)
    grid[0, 0].set_ylabel("generated")
    grid[1, 0].set_ylabel("nearest training")
    verdict = "copies found" if found.flagged else "no sign of copying"
    where = f"{space}, as they are; distance"
    if pairs:
        network = space.partition("_")[2]
        where = f"features of {network}, turned or not" if network else "pixels, turned and shifted or not"
        where += "; distance (to the second nearest)"
    figure.suptitle(f"copies {found.score:.1%} (baseline {found.baseline:.1%}), {verdict}: {where}", fontsize=9)
    return figure


def distributions_figure(evaluation: Evaluation) -> Figure:
    """Histograms of what was measured of each sample, both sets, over the same bins."""
    found = evaluation.distributions
    columns = min(3, len(found))
    rows = -(-len(found) // columns)
    figure = _figure(4 * columns, 3 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid[len(found) :]:
        axes.set_axis_off()
    for axes, (name, values) in zip(grid, found.items(), strict=False):
        edges = np.histogram_bin_edges(np.concatenate([values.real, values.generated]), 40)
        for which, part in (("real", values.real), ("generated", values.generated)):
            share = np.histogram(part, edges)[0] / len(part)
            axes.stairs(share, edges, label=which, fill=which == "real", alpha=0.5 if which == "real" else 1)
        axes.set_xlabel(values.label, fontsize=8)
        axes.set_title(f"{name}: distance {evaluation.metrics[name].value:.4g}", fontsize=8)
        axes.tick_params(labelsize=7)
    grid[0].set_ylabel("share", fontsize=8)
    grid[0].legend(fontsize=7)
    return figure


def learning_figure(evaluation: Evaluation) -> Figure:
    """Balanced accuracy against the share of the real images, without and with samples, with intervals."""
    figure = _figure(5, 4)
    axes = figure.subplots()
    for kind, label in (("real", "reals"), ("both", "reals and samples")):
        measured = [evaluation.metrics[f"learning_{share}_{kind}"] for share in SHARES]
        (line,) = axes.plot(SHARES, [m.value for m in measured], marker="o", label=label)
        intervals = [m.interval for m in measured if m.interval is not None]
        if len(intervals) == len(SHARES):
            low, high = zip(*intervals, strict=True)
            axes.fill_between(SHARES, low, high, alpha=0.2, color=line.get_color())
    axes.set(xlabel="real images trained on [%]", ylabel="balanced accuracy", xscale="log")
    axes.set_xticks(SHARES, [str(share) for share in SHARES])
    axes.legend()
    return figure


def make_figures(evaluation: Evaluation, real: Source, generated: Source, training: Source) -> dict[str, Figure]:
    """Every figure that the evaluation has the data for, by name."""
    figures = {}
    if "histogram" in evaluation.metrics:
        figures["histogram"] = histogram_figure(evaluation, real.scaling)
    if "spectrum" in evaluation.metrics:
        figures["spectrum"] = spectrum_figure(evaluation)
    for space in evaluation.copies:
        figures[f"nearest_{space}"] = neighbours_figure(evaluation, space, training, generated)
    if evaluation.distributions:
        figures["distributions"] = distributions_figure(evaluation)
    if f"learning_{SHARES[0]}_real" in evaluation.metrics:
        figures["learning_curve"] = learning_figure(evaluation)
    return figures


def figure_paths(output: Path, figures: Mapping[str, object]) -> dict[str, Path]:
    """Where the figures of a report go: `<output's stem>_<name>.png` beside it."""
    return {name: output.with_name(f"{output.stem}_{name}.png") for name in figures}
