"""What every reader returns, and the limits that every reader keeps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import InputError

# A file whose header claims more than this once decoded is refused before a byte of it is decoded: a few hundred
# bytes of damaged or hostile TIFF can claim terabytes. The largest medical volumes stay well below.
MAX_DECODED_BYTES = 2 << 30
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class Decoded:
    """One image or volume as its file stores it.

    Attributes:
      pixels: `[H, W, C]` or `[D, H, W, C]` in the stored dtype; an alpha channel is already taken out.
      affine: 4x4 matrix from array indices to RAS+ world coordinates in mm of a volume, or None.
      spacing: size of a pixel along each spatial axis in mm, or None where the file does not say.
      composited: whether a transparent picture was laid on white.
      stain: for a patch of a slide, a function that estimates the stain of the whole slide.
    """

    pixels: np.ndarray
    affine: np.ndarray | None = None
    spacing: tuple[float, ...] | None = None
    composited: bool = False
    stain: Callable[[], Any] | None = None


def check_claim(path: Path | str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Raises `InputError` if a header claims more pixels than one image can have, or none at all."""
    size = float(np.prod([float(n) for n in shape])) * np.dtype(dtype).itemsize
    claim = "x".join(str(n) for n in shape)
    if size == 0:
        raise InputError(f"{path}: holds no pixels (its shape is {claim}); remove the file")
    if size > MAX_DECODED_BYTES:
        raise InputError(
            f"{path}: claims {claim} {np.dtype(dtype).name} pixels ({size / 2**30:.3g} GiB), above the limit of "
            f"{MAX_DECODED_BYTES / 2**30:.0f} GiB; a whole slide goes through 'jaxgan prepare slides'"
        )


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The picture as it is to be seen.

    Args:
      pixels: `[..., H, W, C]`.
      orientation: as EXIF and TIFF number it: 1 upright, 2 to 8 the other turns and mirror images.
    """
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(-3, -2)
    if orientation in (3, 4, 7, 8):
        pixels = np.flip(pixels, -3)
    if orientation in (2, 3, 6, 7):
        pixels = np.flip(pixels, -2)
    return np.ascontiguousarray(pixels)


def opaque(pixels: np.ndarray) -> bool:
    """Whether the last channel, read as alpha, hides nothing."""
    return bool((pixels[..., -1] == _white(pixels.dtype)).all())


def _white(dtype: np.dtype) -> float:
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


def take_alpha(pixels: np.ndarray, multiplied: bool = False) -> tuple[np.ndarray, bool]:
    """Removes the last channel, an alpha channel: dropped when opaque, else the picture is laid on white.

    Args:
      pixels: `[..., C + 1]`, alpha last; integers have their dtype's range, floats [0, 1].
      multiplied: whether the colours are already multiplied by alpha ("associated" in TIFF).

    Returns:
      `[..., C]` in the same dtype, and whether anything was transparent.
    """
    colour, alpha = pixels[..., :-1], pixels[..., -1:]
    integer, white = np.issubdtype(pixels.dtype, np.integer), _white(pixels.dtype)
    if opaque(pixels):
        return np.ascontiguousarray(colour), False
    result = np.empty(colour.shape, pixels.dtype)
    # In float64, so a few rows at a time: all at once would take eight times what the picture claims.
    rows = max(1, _BLOCK // max(colour[:1].size, 1))
    for start in range(0, len(colour), rows):
        block = slice(start, start + rows)
        share = alpha[block].astype(np.float64) / white
        mixed = (colour[block] if multiplied else colour[block] * share) + white * (1.0 - share)
        result[block] = np.rint(mixed).clip(0, white) if integer else mixed
    return result, True
