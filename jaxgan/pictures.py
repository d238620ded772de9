"""Arrays to pictures: 8 bits, grids, labelled grids, volumes as slices, PNG; one way to draw, for everybody.

Samples come in as the library holds them: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`. What is made for
eye (`grid`, `write_grid`) is enlarged by whole numbers and shown in a window of the values. Files keep their values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import InputError
from jaxgan.files import atomic_files

_SEPARATOR = 128
# Grids for the eye are enlarged up to about so many pixels a side.
_SIDE = 1024
# One bright nucleus in 16 images is less than the last half per cent of their pixels.
_PERCENTILES = (0.5, 99.5)
# Left, right, top and bottom of the three slices of `flatten_volumes`.
_LETTERS = ("LRAP", "LRSI", "PASI")

SHAPES = "give [N, H, W, C] images or [N, D, H, W, C] volumes"


def to_uint8(samples: np.ndarray) -> np.ndarray:
    """[-1, 1] to [0, 255], rounded and clipped; NaN becomes 0, so that a diverged run can be looked at."""
    scaled = np.nan_to_num((np.asarray(samples, np.float32) + 1.0) * 127.5, nan=0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def window_of(samples: np.ndarray) -> tuple[float, float]:
    """The range of values to show gray samples in: so that a few extremes do not make the rest black.

    Args:
      samples: `[N, H, W, C]` or `[N, D, H, W, C]`.

    Returns:
      the percentiles 0.5 and 99.5; (-1, 1) for colours, for what is all one value, and where nothing is finite.
    """
    values = np.asarray(samples)[np.isfinite(samples)]
    if samples.shape[-1] == 3 or not values.size:
        return -1.0, 1.0
    low, high = np.percentile(values, _PERCENTILES)
    # Of samples that are nearly constant the window is what they are constant at, and noise stays noise.
    return (float(low), float(high)) if high - low > 0.02 else (-1.0, 1.0)


def windowed(samples: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """Samples with `window` stretched to [-1, 1], float32; what lies outside is clipped."""
    low, high = window
    return np.clip((np.asarray(samples, np.float32) - low) * np.float32(2 / (high - low)) - 1, -1, 1)


def anatomical(volumes: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Volumes with their axes turned to the nearest of left-right, back-front, down-up, each rising (RAS+).

    Args:
      volumes: `[N, D, H, W, C]`.
      affine: 4x4, from array indices to RAS+ world coordinates.

    Returns:
      `[N, X, Y, Z, C]`, a view.
    """
    import nibabel

    # Row i: the world axis that array axis i runs along, and its direction.
    axes = nibabel.orientations.io_orientation(np.asarray(affine, np.float64))
    flipped = volumes[(slice(None), *(slice(None, None, int(direction)) for _, direction in axes))]
    order = np.argsort(axes[:, 0])
    return flipped.transpose(0, *(1 + order), 4)


def flatten_volumes(samples: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
    """What a screen can show of samples: images with 1 or 3 channels.

    A volume becomes its three orthogonal middle slices side by side. Without an affine these are `[H, W]`, `[D, W]`,
    `[D, H]`; with one the axial, the coronal and the sagittal slice, front or top up, left or back on the left.
    Channels that are neither gray nor RGB become gray panels side by side.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.
      affine: 4x4, from array indices of volumes to RAS+ world coordinates, or None.

    Returns:
      `[N, H', W', 1]` or `[N, H', W', 3]`, float32 in [-1, 1].
    """
    if samples.ndim not in (4, 5):
        raise InputError(f"samples have shape {samples.shape}: {SHAPES}")
    if samples.ndim == 5:
        samples = _side_by_side(_slices(samples, affine))
    if samples.shape[-1] not in (1, 3):
        samples = _side_by_side([samples[..., i : i + 1] for i in range(samples.shape[-1])])
    return samples


def _slices(volumes: np.ndarray, affine: np.ndarray | None) -> list[np.ndarray]:
    """The three middle slices of volumes, `[N, h, w, C]` each."""
    turned = volumes if affine is None else anatomical(volumes, affine)
    first, second, third = (size // 2 for size in turned.shape[1:4])
    if affine is None:
        return [turned[:, first], turned[:, :, second], turned[:, :, :, third]]
    planes = (turned[:, :, :, third], turned[:, :, second], turned[:, first])
    return [plane.swapaxes(1, 2)[:, ::-1] for plane in planes]


def _side_by_side(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Joins `[N, h, w, C]` panels along the width, centred, one pixel of the separating gray between them."""
    tallest = max(panel.shape[1] for panel in panels)
    padded = []
    for i, panel in enumerate(panels):
        extra = tallest - panel.shape[1]
        widths = ((0, 0), (extra // 2, extra - extra // 2), (int(i > 0), 0), (0, 0))
        padded.append(np.pad(panel, widths, constant_values=0.0))
    return np.concatenate(padded, axis=2)


def image_grid(
    samples: np.ndarray, columns: int | None = None, pad: int = 2, scale: int = 1, affine: np.ndarray | None = None
) -> np.ndarray:
    """One picture of many samples, row by row on a gray ground.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]` (volumes show their middle slices).
      columns: samples per row; by default the grid is about square.
      pad: pixels between samples and around the grid.
      scale: how many pixels wide and high each value is drawn.
      affine: of volumes, for slices as anatomists see them, with the letters of their sides on the first.

    Returns:
      uint8 `[H', W', 1]` or `[H', W', 3]`.
    """
    samples = np.asarray(samples)
    tiles = to_uint8(flatten_volumes(samples, affine)).repeat(scale, axis=1).repeat(scale, axis=2)
    count, height, width, channels = tiles.shape
    if count == 0:
        raise InputError("a grid needs at least one sample: give --num_samples 1 or more")
    if affine is not None and samples.ndim == 5 and samples.shape[-1] in (1, 3):
        widths = [plane.shape[2] * scale for plane in _slices(samples[:1], affine)]
        tiles = np.concatenate([_lettered(tiles[0], widths, scale)[None], tiles[1:]])
    if columns is None:
        columns = max(1, round(math.sqrt(count * height / width)))
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    grid = np.full((rows * (height + pad) + pad, columns * (width + pad) + pad, channels), _SEPARATOR, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top = pad + index // columns * (height + pad)
        left = pad + index % columns * (width + pad)
        grid[top : top + height, left : left + width] = tile
    return grid


def _lettered(tile: np.ndarray, widths: Sequence[int], gap: int) -> np.ndarray:
    """Three anatomical slices of given widths with the letters of their sides, unless these would hide them."""
    size = min(18, tile.shape[0] // 6)
    if size < 8:
        return tile
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(tile[..., 0] if tile.shape[-1] == 1 else tile)
    draw, font, left = ImageDraw.Draw(picture), ImageFont.load_default(size=size), 0
    for letters, width in zip(_LETTERS, widths, strict=True):
        middle, centre = tile.shape[0] / 2, left + width / 2
        places = ((left + 2, middle, "lm"), (left + width - 2, middle, "rm"))
        places += ((centre, 1, "ma"), (centre, tile.shape[0] - 1, "md"))
        for letter, (x, y, anchor) in zip(letters, places, strict=True):
            # White with a dark edge is seen on any tissue.
            white, black = (255, 0) if picture.mode == "L" else ("white", "black")
            draw.text((x, y), letter, fill=white, font=font, anchor=anchor, stroke_width=1, stroke_fill=black)
        left += width + gap
    return np.asarray(picture).reshape(tile.shape)


def labelled_grid(
    samples: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    columns: int | None = None,
    pad: int = 2,
    scale: int = 1,
    names: Sequence[str] = (),
    affine: np.ndarray | None = None,
) -> np.ndarray:
    """A grid with one block of rows per class, in rising order, and the class in the left margin.

    Args:
      samples: as for `image_grid`.
      labels: `[N]` class numbers.
      columns: samples per row; by default the grid is about square.
      pad: pixels between samples.
      scale: how many pixels wide and high each value is drawn.
      names: of the classes; without them their numbers stand in the margin.
      affine: as for `image_grid`.

    Returns:
      uint8 `[H', W', 1]` or `[H', W', 3]`. Where a class has fewer samples than its rows have places, the ground is the
      white of the margin.
    """
    from PIL import Image, ImageDraw, ImageFont

    samples, labels = np.asarray(samples), np.asarray(labels)
    if labels.shape != (len(samples),):
        raise InputError(f"labels have shape {labels.shape} for {len(samples)} samples: give one a sample")
    classes, counts = np.unique(labels, return_counts=True)
    columns = columns or _columns(counts, flatten_volumes(samples[:1], affine).shape[1:3])
    blocks = []
    for label, count in zip(classes, counts, strict=True):
        block = image_grid(samples[labels == label], columns, pad, scale, affine)
        if count > columns and count % columns:
            height, width = (block.shape[0] - pad) // -(-count // columns), (block.shape[1] - pad) // columns
            block[block.shape[0] - height :, pad + count % columns * width :] = 255
        blocks.append(block)
    texts = [_shortened(str(names[label]) if len(names) else str(label)) for label in classes]
    width = max(block.shape[1] for block in blocks)
    font = ImageFont.load_default(size=max(11, min(24, blocks[0].shape[0] // 4)))
    margin = 12 + math.ceil(max(font.getlength(text) for text in texts))
    rows = []
    for text, block in zip(texts, blocks, strict=True):
        block = np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0)), constant_values=255)
        caption = Image.new("L", (margin, block.shape[0]), 255)
        centre = (margin / 2, block.shape[0] / 2)
        ImageDraw.Draw(caption).text(centre, text, fill=0, font=font, anchor="mm")
        caption = np.repeat(np.asarray(caption)[..., None], block.shape[-1], axis=-1)
        rows.append(np.concatenate([caption, block], axis=1))
    return np.concatenate(rows)


def _columns(counts: np.ndarray, tile: tuple[int, ...]) -> int:
    """Samples per row that make a grid of classes with so many samples about square.

    Of so many that the largest class's last row is about as long as the others: 6 are drawn as 3 and 3, not as 5 and 1.
    """

    def elongation(columns: int) -> float:
        height = sum(math.ceil(count / columns) for count in counts) * tile[0]
        return abs(math.log(height / (columns * tile[1])))

    most = int(counts.max(initial=1))
    return min((math.ceil(most / rows) for rows in range(most, 0, -1)), key=elongation)


def _shortened(text: str, most: int = 20) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def write_png(path: str | os.PathLike, image: np.ndarray, overwrite: bool = False) -> Path:
    """Writes a uint8 image `[H, W]`, `[H, W, 1]` or `[H, W, 3]` as PNG; raises as `atomic_files` does."""
    with atomic_files([path], overwrite) as (temporary,):
        save_png(temporary, image)
    return Path(path)


def write_grid(
    path: str | os.PathLike,
    samples: np.ndarray,
    columns: int | None = None,
    overwrite: bool = False,
    labels: Sequence[int] | np.ndarray | None = None,
    **options: Any,
) -> Path:
    """Writes samples as one PNG, as `grid` draws them with these `options`."""
    return write_png(path, grid(samples, columns, labels, **options), overwrite)


def grid(
    samples: np.ndarray,
    columns: int | None = None,
    labels: Sequence[int] | np.ndarray | None = None,
    *,
    names: Sequence[str] = (),
    affine: np.ndarray | None = None,
    window: tuple[float, float] | None = None,
    side: int = _SIDE,
) -> np.ndarray:
    """Samples as people look at them: `image_grid`, or with labels `labelled_grid`, windowed and enlarged.

    Args:
      samples: `[N, H, W, C]` or `[N, D, H, W, C]`.
      columns: samples per row.
      labels: `[N]` class numbers, or None.
      names: of the classes.
      affine: of volumes.
      window: range of values shown from black to white; by default `window_of` the samples.
      side: small samples are drawn enlarged, by a whole number, as long as the grid is no larger than this.

    Returns:
      uint8 `[H', W', 1]` or `[H', W', 3]`.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim not in (4, 5):
        raise InputError(f"samples have shape {samples.shape}: {SHAPES}")
    samples = windowed(samples, window or window_of(samples))

    def draw(scale: int, shown: np.ndarray) -> np.ndarray:
        if labels is None:
            return image_grid(shown, columns, scale=scale, affine=affine)
        return labelled_grid(shown, labels, columns, scale=scale, names=names, affine=affine)

    drawn = draw(1, samples)
    scale = max(1, min(side // max(drawn.shape[:2]), 16))
    return drawn if scale == 1 else draw(scale, samples)


def save_png(path: Path, image: np.ndarray) -> None:
    """As `write_png`, straight to a path that the caller moves into place."""
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
        raise InputError(f"a PNG needs uint8 [H, W], [H, W, 1] or [H, W, 3], got {image.dtype} {image.shape}")
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(path, format="png")
