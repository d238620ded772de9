"""Pictures of a run's samples: over the epochs, along a path between latents, and beside real samples."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxgan.data.distribution import count_values, wasserstein
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.pictures import image_grid
from jaxgan.reporting.metric_curves import BLUE, VERMILION, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[np.ndarray], np.ndarray]

_FRAMES = 60
_CELLS = 16


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Samples from the run's fixed latents at one moment of the training.

    Attributes:
      step: iterations done.
      epoch: epochs done; NaN where no log line tells.
      path: the npy file, float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.
    """

    step: int
    epoch: float
    path: Path

    @property
    def title(self) -> str:
        """The epoch, as a person writes it; the iteration where the epoch is not known."""
        if math.isnan(self.epoch):
            return f"iteration {self.step:,}"
        return f"epoch {self.epoch:.0f}" if abs(self.epoch - round(self.epoch)) < 0.05 else f"epoch {self.epoch:.1f}"

    @property
    def moment(self) -> str:
        """Iteration and epoch, where that is known."""
        return self.title if math.isnan(self.epoch) else f"iteration {self.step:,}, {self.title}"

    def load(self, count: int) -> np.ndarray:
        """The first `count` samples; fewer when the file has fewer."""
        return load_samples(self.path, count)


def load_samples(path: Path, count: int | None = None) -> np.ndarray:
    """Reads samples `[N, ..., C]` that a run has left; raises `InputError` when the file is damaged."""
    try:
        return np.load(path, allow_pickle=False)[:count]
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is damaged ({error}): delete it") from None


def evenly(items: Sequence, count: int) -> list:
    """At most `count` of the items, evenly spaced, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def epoch_comparison(snapshots: Sequence[Snapshot], draw: Draw = image_grid) -> Figure:
    """Up to 4x4 cells, one a moment of the training, each with the same few latents and its epoch above.

    Args:
      snapshots: at least one, oldest first.
      draw: samples `[N, ..., C]` to a uint8 picture.

    Returns:
      the figure.
    """
    shown = evenly(snapshots, _CELLS)
    columns = min(4, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(2.3 * columns, 2.5 * rows)
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    for axes, snapshot in zip(cells, shown, strict=False):
        show(axes, draw(snapshot.load(4)))
        axes.set_title(snapshot.title, fontsize="medium")
    return figure


def captioned(picture: np.ndarray, title: str) -> Figure:
    """A picture, uint8 `[H, W, 1|3]`, under a title."""
    figure = new_figure(6, 0.4 + 6 * picture.shape[0] / picture.shape[1])
    axes = figure.subplots()
    axes.set_axis_off()
    show(axes, picture)
    axes.set_title(title)
    return figure


def strip(samples: np.ndarray, title: str, affine: np.ndarray | None = None) -> Figure:
    """Samples along a path between two latents, left to right, with their place on it from 0 to 1.

    Args:
      samples: float32 in [-1, 1], `[K, H, W, C]` or `[K, D, H, W, C]`.
      title: stands above.
      affine: of volumes, see `pictures.image_grid`.

    Returns:
      the figure; what does not fit into one row goes on in the next.
    """
    height, width, _ = image_grid(samples[:1], pad=0, affine=affine).shape
    inches = 1.1 if width == height else 2.6
    columns = min(len(samples), int(13.2 / inches))
    rows = math.ceil(len(samples) / columns)
    figure = new_figure(inches * columns, 0.4 + rows * (inches * height / width + 0.25))
    cells = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in cells:
        axes.set_axis_off()
    places = np.linspace(0.0, 1.0, len(samples))
    for axes, place, sample in zip(cells, places, samples, strict=False):
        show(axes, image_grid(sample[None], pad=0, affine=affine))
        axes.set_title(f"{place:.2f}", fontsize="small")
    figure.suptitle(title)
    return figure


def real_and_generated(
    real: np.ndarray,
    generated: np.ndarray,
    scaling: Scaling | None,
    pictures: tuple[np.ndarray, np.ndarray] | None = None,
    window: tuple[float, float] = (-1.0, 1.0),
) -> Figure:
    """Real beside generated samples, and the distributions of their values, one panel a channel.

    The 1-D Wasserstein distance between the values, in the same units, stands above each panel: how far, on
    average, a generated value would have to move.

    Args:
      real: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.
      generated: the same, any N.
      scaling: the data's record, for the original units; None leaves [-1, 1].
      pictures: of both, uint8; by default grids of the first 16 images or 12 volumes.
      window: the range of values that these go from black to white in.

    Returns:
      the figure.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    low, high = (scaling.low, scaling.high) if scaling else (-1.0, 1.0)
    unit = (scaling.units or f"stored value ({scaling.dtype})") if scaling else "scaled value"
    names, channels = ("real", "generated"), real.shape[-1]
    if pictures is None:
        shown = 16 if real.ndim == 4 else 12
        pictures = (image_grid(real[:shown]), image_grid(generated[:shown]))
    figure = new_figure(12, 4.6)
    layout = figure.add_gridspec(channels, 3, width_ratios=(1, 1, 1))
    pair = [figure.add_subplot(layout[:, column]) for column in range(2)]
    for axes, picture, title in zip(pair, pictures, names, strict=True):
        axes.set_axis_off()
        show(axes, picture)
        axes.set_title(title)
    if channels == 1:
        darkest, brightest = scaling.restore(np.array(window)) if scaling else window
        bar = ScalarMappable(Normalize(darkest, brightest), cmap="gray")
        figure.colorbar(bar, ax=pair, location="bottom", label=unit, shrink=0.5, aspect=40, pad=0.02)
    edges = np.linspace(low, high, 65)
    for channel in range(channels):
        axes = figure.add_subplot(layout[channel, 2])
        values = [_in_units(samples[..., channel], scaling) for samples in (real, generated)]
        for data, colour, style, name in zip(values, (BLUE, VERMILION), "-:", names, strict=True):
            share = np.histogram(data.clip(low, high), edges)[0] / max(1, data.size)
            axes.stairs(share, edges, color=colour, linestyle=style, linewidth=1.6, label=name)
        axes.set_yscale("log")
        # Room for the legend, above everything that can be drawn.
        axes.set_ylim(top=30)
        if channel == 0:
            axes.legend(loc="upper right", ncols=2, frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_ylabel("share of values")
        axes.tick_params(labelbottom=channel == channels - 1)
        distance = _distance(real[..., channel], generated[..., channel], high - low)
        title = f"1-D Wasserstein distance {distance:.3g}"
        colours = ("red: ", "green: ", "blue: ") if channels == 3 else [f"channel {i}: " for i in range(channels)]
        axes.set_title(title if channels == 1 else colours[channel] + title, fontsize="medium")
    axes.set_xlabel(unit)
    return figure


def _in_units(samples: np.ndarray, scaling: Scaling | None) -> np.ndarray:
    values = np.asarray(samples, np.float64)
    values = values[np.isfinite(values)]
    return scaling.restore(values) if scaling else values


def _distance(real: np.ndarray, generated: np.ndarray, span: float) -> float:
    """1-D Wasserstein distance of values in [-1, 1], for a range of width `span`; what is not finite is left out."""
    finite = [values[np.isfinite(values)].reshape(1, -1, 1) for values in (real, generated)]
    if not all(values.size for values in finite):
        return math.nan
    of_real, of_generated = (np.asarray(count_values(values, np.ones(1, np.int32))) for values in finite)
    return wasserstein(of_real, of_generated, span)


def show(axes, image: np.ndarray) -> None:
    """Draws a uint8 image `[H, W, 1|3]` with its values as they are."""
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)


def progress_gif(
    path: str | os.PathLike, snapshots: Sequence[Snapshot], draw: Draw = image_grid, count: int = 16
) -> Path:
    """Writes an animated GIF of the same latents over the training, with the epochs; replaces the file.

    Args:
      path: where to.
      snapshots: at least one, oldest first; 60 of them at most become frames.
      draw: samples `[N, ..., C]` to a uint8 picture.
      count: samples in a frame; of volumes at most 12.

    Returns:
      the path.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=18)
    frames = []
    for snapshot in evenly(snapshots, _FRAMES):
        samples = snapshot.load(count)
        grid = draw(samples if samples.ndim == 4 else samples[:12])
        picture = Image.fromarray(grid[..., 0] if grid.shape[-1] == 1 else grid)
        factor = 480 / max(picture.size)
        # Enlarged pixels stay sharp squares; shrunk ones are averaged.
        width, height = (round(side * (math.floor(factor) if factor >= 1 else factor)) for side in picture.size)
        filters = Image.Resampling
        picture = picture.resize((width, height), filters.NEAREST if factor >= 1 else filters.LANCZOS)
        frame = Image.new(picture.mode, (max(width, 260), height + 28), "white")
        frame.paste(picture, ((frame.width - width) // 2, 28))
        ImageDraw.Draw(frame).text((6, 4), snapshot.moment, fill="black", font=font)
        frames.append(frame)
    durations = [250] * (len(frames) - 1) + [2000]
    with atomic_files([path], overwrite=True) as (temporary,):
        frames[0].save(temporary, format="gif", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return Path(path)
