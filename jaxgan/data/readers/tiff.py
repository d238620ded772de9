"""TIFF: any integer or float dtype, any compression, gray, colour, palette, stacks; ImageJ and OME axes."""

from __future__ import annotations

import enum
import math
from pathlib import Path

import numpy as np

from jaxgan.data.readers.decoded import Decoded, check_claim, opaque, take_alpha, upright
from jaxgan.data.readers.pixel_size import pixel_size, stack_affine
from jaxgan.errors import InputError

# tifffile names the axes of a series with letters. These may stand for depth in a volume; "T" (time) may not.
_DEPTH_AXES = "ZQI"


def read(path: Path, spatial_rank: int) -> list[Decoded]:
    """Decodes a TIFF, turned upright; smaller pictures beside the first (thumbnails, levels of a pyramid) are left out.

    A single image gives one result. A stack is one volume if `spatial_rank` is 3; for images an additional axis is
    an error that names the axes, since only the user knows whether those are slices, times or separate images.

    Raises:
      InputError: axes that have no single meaning, colour spaces without a stated conversion, impossible sizes.
    """
    import tifffile

    # OME's metadata may name other files for the pixels; a file is read as itself alone.
    with tifffile.TiffFile(path, _multifile=False) as file:
        len(file.pages)  # counts pages up to the first that comes again: iterating over a ring of them would never end
        series = file.series[0]
        if alike := sum(other.shape == series.shape for other in file.series[1:]):
            raise InputError(f"{path}: holds {alike + 1} separate images; save one image a file")
        if larger := [other for other in file.series[1:] if math.prod(other.shape) > math.prod(series.shape)]:
            first, second = ("x".join(map(str, each.shape)) for each in (series, larger[0]))
            raise InputError(f"{path}: holds a larger image ({second}) than its first ({first}); save one image a file")
        page = series.keyframe
        photometric = _name(page.photometric)
        is_palette = photometric == "PALETTE"
        check_claim(path, (*series.shape, 3) if is_palette else series.shape, series.dtype)
        if page.dtype is None:
            raise InputError(f"{path}: its values have a format that has no name; save it as integers or float32")
        check_claim(path, page.chunks, page.dtype)  # a tile may claim more than the picture
        for each in series.pages:
            if each is None:
                raise InputError(f"{path}: a page of the stack is missing; the file is damaged: replace or remove it")
            if each.dataoffsets and 0 in each.databytecounts:
                raise InputError(f"{path}: has tiles without data; the file is damaged: replace or remove it")
            check_complete(path, each, file.filehandle.size)
        pixels, axes = series.asarray(), series.axes
        extra = [_name(sample) for sample in (page.extrasamples or ())]
        colormap = page.colormap if photometric == "PALETTE" else None
        spacing = pixel_size(file, page, spatial_rank)
        orientation = int(page.tags.valueof(274, 1))
    if colormap is not None and (colormap == colormap[:1]).all():
        pixels = (colormap[0][pixels] >> 8).astype(np.uint8)
    elif colormap is not None:
        # Palettes hold 16-bit colours; those of 8-bit pictures repeat their byte.
        pixels, axes = (np.moveaxis(colormap, 0, -1)[pixels] >> 8).astype(np.uint8), axes + "S"
    elif photometric == "MINISWHITE":
        pixels = _invert(path, pixels)
    elif photometric not in ("MINISBLACK", "RGB", "YCBCR"):
        raise InputError(f"{path}: colour space {photometric} is not supported; save it as RGB or gray")
    pixels = arrange(path, pixels, axes, spatial_rank)
    composited = False
    # A fourth sample of RGB that the file calls something else may be a channel: only what hides nothing goes then.
    undeclared = photometric == "RGB" and pixels.shape[-1] == 4 and (not extra or opaque(pixels))
    if "UNASSALPHA" in extra or "ASSOCALPHA" in extra or undeclared:
        pixels, composited = take_alpha(pixels, multiplied="ASSOCALPHA" in extra)
    pixels = upright(pixels, orientation)
    if spacing is not None and orientation in (5, 6, 7, 8):
        spacing = (*spacing[:-2], spacing[-1], spacing[-2])
    affine = stack_affine(spacing) if spatial_rank == 3 else None
    return [Decoded(pixels, affine, spacing, composited)]


def _name(tag: int) -> str:
    """What a tag says: tifffile gives numbers that the standard does not know as they are."""
    return tag.name if isinstance(tag, enum.Enum) else str(tag)


def check_complete(path: Path, page, size: int) -> None:
    """Raises `InputError` if strips or tiles are missing: decoders would read them as zeros.

    Args:
      path: the file.
      page: tifffile's page.
      size: of the file in bytes.
    """
    missing = math.prod(page.chunked) - len(page.dataoffsets)
    if missing > 0:
        raise InputError(f"{path}: lacks {missing} of its strips or tiles; the file is damaged: replace or remove it")
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
        if offset + count > size:
            raise InputError(
                f"{path}: is truncated (pixels are said to end at byte {offset + count}, the file ends at {size}); "
                "replace or remove it"
            )


def _invert(path: Path, pixels: np.ndarray) -> np.ndarray:
    """WhiteIsZero to BlackIsZero."""
    if pixels.dtype == bool:
        return ~pixels
    if not np.issubdtype(pixels.dtype, np.unsignedinteger):
        raise InputError(f"{path}: {pixels.dtype} pixels stored as WhiteIsZero; save the file as BlackIsZero")
    return np.iinfo(pixels.dtype).max - pixels


def arrange(path: Path, pixels: np.ndarray, axes: str, spatial_rank: int) -> np.ndarray:
    """Orders the axes as `[(Z,) Y, X, C]`, or raises an `InputError` that names the ones it cannot place."""
    shape = " ".join(f"{a}={n}" for a, n in zip(axes, pixels.shape, strict=True))
    keep = [i for i, a in enumerate(axes) if a in "YX" or pixels.shape[i] > 1]
    pixels = pixels.reshape([pixels.shape[i] for i in keep])
    axes = "".join(axes[i] for i in keep)
    channels = [a for a in axes if a in "SC"]
    others = [a for a in axes if a not in "YXSC"]
    if "Y" not in axes or "X" not in axes or len(channels) > 1:
        raise InputError(f"{path}: axes {shape} do not form an image of Y, X and channels; save one image a file")
    if spatial_rank == 2 and others:
        raise InputError(
            f"{path}: axes {shape} hold more than one image; use 'jaxgan prepare volumes' for a stack of slices, "
            "or save one image a file"
        )
    if spatial_rank == 3 and (len(others) != 1 or others[0] not in _DEPTH_AXES):
        raise InputError(f"{path}: axes {shape} do not form one volume of Z, Y, X; save one volume a file")
    order = "".join(others) + "YX" + "".join(channels)
    pixels = pixels.transpose([axes.index(a) for a in order])
    return np.ascontiguousarray(pixels if channels else pixels[..., None])
