"""Arrays to pictures: 8 bits, grids, labelled grids, volumes as slices, PNG; one way to draw, for everybody.

Samples come in as the library holds them: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxgan.errors import InputError
from jaxgan.files import atomic_files

_SEPARATOR = 128


SHAPES = "give [N, H, W, C] images or [N, D, H, W, C] volumes"


def to_uint8(samples: np.ndarray) -> np.ndarray:
    """[-1, 1] to [0, 255], rounded and clipped; NaN becomes 0, so that a diverged run can be looked at."""
    scaled = np.nan_to_num((np.asarray(samples, np.float32) + 1.0) * 127.5, nan=0.0)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def flatten_volumes(samples: np.ndarray) -> np.ndarray:
    """What a screen can show of samples: images with 1 or 3 channels.

    A volume becomes its three orthogonal middle slices side by side (`[H, W]`, `[D, W]`, `[D, H]`); channels
    that are neither gray nor RGB become gray panels side by side.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.

    Returns:
      `[N, H', W', 1]` or `[N, H', W', 3]`, float32 in [-1, 1].
    """
    if samples.ndim not in (4, 5):
        raise InputError(f"samples have shape {samples.shape}: {SHAPES}")
    if samples.ndim == 5:
        depth, height, width = (size // 2 for size in samples.shape[1:4])
        slices = (samples[:, depth], samples[:, :, height], samples[:, :, :, width])
        samples = _side_by_side(slices)
    if samples.shape[-1] not in (1, 3):
        samples = _side_by_side([samples[..., i : i + 1] for i in range(samples.shape[-1])])
    return samples


def _side_by_side(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Joins `[N, h, w, C]` panels along the width, centred, one pixel of the separating gray between them."""
    tallest = max(panel.shape[1] for panel in panels)
    padded = []
    for i, panel in enumerate(panels):
        extra = tallest - panel.shape[1]
        widths = ((0, 0), (extra // 2, extra - extra // 2), (int(i > 0), 0), (0, 0))
        padded.append(np.pad(panel, widths, constant_values=0.0))
    return np.concatenate(padded, axis=2)


def image_grid(samples: np.ndarray, columns: int | None = None, pad: int = 2) -> np.ndarray:
    """One picture of many samples, row by row on a gray ground.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]` (volumes show their middle slices).
      columns: samples per row; by default the grid is about square.
      pad: pixels between samples and around the grid.

    Returns:
      uint8 `[H', W', 1]` or `[H', W', 3]`.
    """
    tiles = to_uint8(flatten_volumes(np.asarray(samples)))
    count, height, width, channels = tiles.shape
    if count == 0:
        raise InputError("a grid needs at least one sample: give --num_samples 1 or more")
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


def labelled_grid(
    samples: np.ndarray, labels: Sequence[int] | np.ndarray, columns: int | None = None, pad: int = 2
) -> np.ndarray:
    """A grid with one block of rows per class, in rising order, and the class in the left margin.

    Args:
      samples: as for `image_grid`.
      labels: `[N]` class numbers.
      columns: samples per row; by default the largest class fills one row, up to 16.
      pad: pixels between samples.

    Returns:
      uint8 `[H', W', 1]` or `[H', W', 3]`.
    """
    from PIL import Image, ImageDraw, ImageFont

    samples, labels = np.asarray(samples), np.asarray(labels)
    if labels.shape != (len(samples),):
        raise InputError(f"labels have shape {labels.shape} for {len(samples)} samples: give one a sample")
    classes, counts = np.unique(labels, return_counts=True)
    columns = columns or min(16, counts.max(initial=1))
    blocks = [image_grid(samples[labels == name], columns, pad) for name in classes]
    width = max(block.shape[1] for block in blocks)
    font = ImageFont.load_default(size=max(11, min(24, blocks[0].shape[0] // 4)))
    margin = 12 + math.ceil(max(font.getlength(str(name)) for name in classes))
    rows = []
    for name, block in zip(classes, blocks, strict=True):
        block = np.pad(block, ((0, 0), (0, width - block.shape[1]), (0, 0)), constant_values=_SEPARATOR)
        caption = Image.new("L", (margin, block.shape[0]), 255)
        centre = (margin / 2, block.shape[0] / 2)
        ImageDraw.Draw(caption).text(centre, str(name), fill=0, font=font, anchor="mm")
        caption = np.repeat(np.asarray(caption)[..., None], block.shape[-1], axis=-1)
        rows.append(np.concatenate([caption, block], axis=1))
    return np.concatenate(rows)


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
) -> Path:
    """Writes samples as one PNG: `image_grid`, or `labelled_grid` when there are labels."""
    return write_png(path, grid(samples, columns, labels), overwrite)


def grid(samples: np.ndarray, columns: int | None, labels: Sequence[int] | np.ndarray | None) -> np.ndarray:
    """`image_grid`, or `labelled_grid` when there are labels."""
    return image_grid(samples, columns) if labels is None else labelled_grid(samples, labels, columns)


def save_png(path: Path, image: np.ndarray) -> None:
    """As `write_png`, straight to a path that the caller moves into place."""
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (1,), (3,)):
        raise InputError(f"a PNG needs uint8 [H, W], [H, W, 1] or [H, W, 3], got {image.dtype} {image.shape}")
    Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(path, format="png")
