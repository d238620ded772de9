"""Reads whole-slide TIFFs by tiles, never a whole slide, and tells tissue from glass."""

from __future__ import annotations

import functools
import math
import re
from pathlib import Path

import numpy as np

from jaxgan.data.readers import check_regular
from jaxgan.data.readers.decoded import check_claim
from jaxgan.data.readers.pixel_size import pixel_size
from jaxgan.data.readers.tiff import check_complete
from jaxgan.errors import InputError


class Slide:
    """One whole-slide TIFF, opened; only tiles that are asked for are decoded."""

    def __init__(self, path: Path):
        import tifffile

        check_regular(path)
        self.path = path
        try:
            with tifffile.TiffFile(path, _multifile=False) as file:
                len(file.pages)  # as in readers.tiff: ends rings of pages
                # Leica's scanners put the overview of the glass first: the slide itself is the largest picture.
                series = max(file.series, key=lambda each: math.prod(each.shape))
                self.pages = [level.keyframe for level in series.levels]
                self.mpp = _microns_per_pixel(file, self.pages[0])
                # tifffile builds decoders and loads tables when first asked, from the open file. Hamamatsu's tiles are
                # pieces of one JPEG, whose header each of them needs.
                self.decoders = [
                    functools.partial(page.decode, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
                    for page in self.pages
                ]
                for page in self.pages:
                    self._check(page, file.filehandle.size)
        except InputError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            raise InputError(f"{path}: cannot be read as a TIFF slide ({reason}); replace or remove it") from None

    def _check(self, page, size: int) -> None:
        if page.dtype != np.uint8 or page.shape[2:] != (3,) or 0 in page.shape or page.planarconfig.name != "CONTIG":
            raise InputError(f"{self.path}: is {page.dtype} of shape {page.shape}, not 8-bit RGB; convert it")
        check_claim(self.path, page.chunks, page.dtype)
        check_complete(self.path, page, size)

    def shape(self, level: int) -> tuple[int, int]:
        """Height and width of a level."""
        height, width = self.pages[level].shape[:2]
        return height, width

    def downsample(self, level: int) -> float:
        """How many pixels of the finest level one of this level spans."""
        return self.shape(0)[0] / self.shape(level)[0]

    def read(self, level: int, top: int, left: int, height: int, width: int) -> np.ndarray:
        """`[height, width, 3]` uint8 of a level; the window must lie inside."""
        tile_height, tile_width = self.pages[level].chunks[:2]
        across = self.pages[level].chunked[1]
        window = np.empty((height, width, 3), np.uint8)
        for row in range(top // tile_height, (top + height - 1) // tile_height + 1):
            for column in range(left // tile_width, (left + width - 1) // tile_width + 1):
                tile = _tile(self.path, level, row * across + column)
                y, x = row * tile_height - top, column * tile_width - left
                part = tile[max(-y, 0) : height - y, max(-x, 0) : width - x]
                y, x = max(y, 0), max(x, 0)
                window[y : y + part.shape[0], x : x + part.shape[1]] = part
        return window

    def thumbnail(self, factor: float) -> tuple[np.ndarray, float]:
        """A picture of the whole slide, read window by window.

        Args:
          factor: about how many pixels of the finest level one of the picture spans along each axis.

        Returns:
          `[h, w, 3]` uint8, means of whole pixels of a level, and the exact factor.
        """
        level = max(i for i in range(len(self.pages)) if self.downsample(i) <= factor * 1.01)
        step = max(1, round(factor / self.downsample(level)))
        height, width = (n // step for n in self.shape(level))
        result = np.empty((height, width, 3), np.uint8)
        side = max(1, 1024 // step)
        for top in range(0, height, side):
            for left in range(0, width, side):
                h, w = min(side, height - top), min(side, width - left)
                window = self.read(level, top * step, left * step, h * step, w * step)
                means = window.reshape(h, step, w, step, 3).mean((1, 3), dtype=np.float32)
                result[top : top + h, left : left + w] = means.astype(np.uint8)
        return result, step * self.downsample(level)


# Thousands of slides may be listed, each with tens of thousands of tiles: only those at work stay open. Neighbouring
# patches share tiles; 128 of the usual ones are 25 to 100 MB.
@functools.lru_cache(8)
def open_slide(path: Path) -> Slide:
    """An opened slide; the last few are kept."""
    return Slide(path)


@functools.lru_cache(128)
def _tile(path: Path, level: int, index: int) -> np.ndarray:
    """One decoded tile, `[h, w, 3]` uint8."""
    slide = open_slide(path)
    page = slide.pages[level]
    try:
        with path.open("rb") as stream:
            stream.seek(page.dataoffsets[index])
            data = stream.read(page.databytecounts[index])
        if not data:
            return np.full((*page.chunks[:2], 3), 255, np.uint8)  # a sparse slide leaves background out
        tile = slide.decoders[level](data, index)[0]
        assert tile is not None  # only without data
        return tile.reshape(tile.shape[-3:])
    except Exception as error:
        raise InputError(
            f"{path}: tile {index} of level {level} is damaged ({type(error).__name__} {error}); replace the file"
        ) from None


def tissue(pixels: np.ndarray) -> np.ndarray:
    """Which pixels show stained tissue, `[..., 3]` uint8 to `[...]` bool.

    Stain is coloured; glass, ink shadows and scanner borders are gray, white or black. A pixel is tissue if its
    channels differ by at least 20 and its darkest channel lies below 220, but not all lie below 20.
    """
    low, high = pixels.min(-1).astype(np.int16), pixels.max(-1).astype(np.int16)
    return (high - low >= 20) & (low < 220) & (high > 20)


def _microns_per_pixel(file, page) -> float | None:
    """From Aperio's description, else from what tells the size of any TIFF's pixels."""
    if match := re.search(r"MPP\s*=\s*([0-9.]+)", page.description or ""):
        mpp = float(match.group(1))
    else:
        mpp = 1e3 * (pixel_size(file, page, 2) or (0.0, 0.0))[1]
    # Scanners that do not know write zeros, or 72 dots an inch: no optical microscope is finer or coarser than this.
    return mpp if 0.01 < mpp < 50 else None
