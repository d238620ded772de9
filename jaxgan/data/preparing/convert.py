"""One decoded image to the samples that are stored: channels, stain, normalisation, geometry, dtype."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np

from jaxgan.data.preparing.geometry import CUTS, FITS, INTERPOLATIONS, fit
from jaxgan.data.readers import Decoded
from jaxgan.errors import InputError

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32")


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How a decoded image becomes samples; part of the identity of a prepared dataset.

    Attributes:
      size: every spatial axis of the result, or None to keep shapes (which must then agree).
      channels: 1 (colour to ITU-R 601 luma), 3 (gray repeated) or None to keep them (which must then agree).
      fit: how images that are not of `size` come to it; None: "cover" for images, "crop" for volumes resampled to one
        spacing, "contain" for others.
      spacing: of volumes with a `size`, in mm: a number: all are resampled to it; "auto": to the one that lets the
        largest fit into `size` cubed; "none": each is fitted by its voxels, and the result claims no mm. None: "auto",
        unless `fit` is given. Files that state no voxel size are fitted by their voxels.
      interpolation: "linear", "cubic" or "nearest".
      pad_value: value of padding, None for the image's own background.
      normalise: None, or "percentile", which maps each volume's own 0.5 and 99.5 percentile to 0 and 1, for MRI, whose
        intensities have no unit. It destroys absolute values, so it is never the default.
      stain_normalise: brings H&E images to one common stain appearance (Macenko).
      dtype: stored dtype, or None for that of the files (which must then agree).
      nodata: value that marks missing data, which becomes the smallest other value of its image; NaN is one too.
      seed: of random crops.
    """

    size: int | None = None
    channels: int | None = None
    fit: str | None = None
    spacing: float | str | None = None
    interpolation: str = "linear"
    pad_value: float | None = None
    normalise: str | None = None
    stain_normalise: bool = False
    dtype: str | None = None
    nodata: float | None = None
    seed: int = 0

    def __post_init__(self):
        for field, allowed in (
            ("fit", (None, *FITS)),
            ("interpolation", INTERPOLATIONS),
            ("normalise", (None, *NORMALISATIONS)),
            ("channels", (None, 1, 3)),
            ("dtype", (None, *DTYPES)),
        ):
            if getattr(self, field) not in allowed:
                names = ", ".join(str(a) for a in allowed if a is not None)
                raise InputError(f"{field}={getattr(self, field)!r}: must be one of {names}")
        if self.size is not None and self.size < 1:
            raise InputError(f"size={self.size}: must be at least 1")
        object.__setattr__(self, "spacing", _parse_spacing(self.spacing))
        if self.spacing not in (None, "none"):
            if self.size is None:
                raise InputError(f"spacing={self.spacing}: needs a --size, into which the volumes are to come")
            if self.fit not in (None, *CUTS):
                raise InputError(
                    f"spacing={self.spacing} and fit={self.fit!r} both scale a volume: choose a fit of"
                    f" {', '.join(CUTS)}, or spacing none"
                )

    def identity(self, spatial_rank: int) -> dict[str, Any]:
        """All choices that decide what is stored."""
        choices = dataclasses.asdict(self)
        # Images keep the identity that they had before there were these fields.
        if spatial_rank == 2:
            del choices["spacing"]
        if self.nodata is None:
            del choices["nodata"]
        return choices


class Sample(NamedTuple):
    """What is stored of an image: `[*spatial, C]`, its affine and pixel size in mm, where they are known.

    `masked` counts the values of the image that marked missing data.
    """

    pixels: np.ndarray
    affine: np.ndarray | None = None
    spacing: tuple[float, ...] | None = None
    masked: int = 0


def convert(decoded: Decoded, conversion: Conversion, index: int = 0) -> list[Sample]:
    """The samples of one decoded image.

    Args:
      decoded: what a reader returned.
      conversion: how; its spacing is a number of mm, or else means fitting by voxels.
      index: of the image in its source; with `conversion.seed` it fixes a random crop.

    Returns:
      Several only with `fit="tile"`.

    Raises:
      InputError: values that cannot be stored (NaN, infinities, a 64-bit range), colours that have no gray value, a
        padding that the stored dtype cannot hold.
    """
    pixels, masked = decoded.pixels, 0
    if conversion.nodata is not None:
        pixels, masked = mask_nodata(pixels, conversion.nodata)
    pixels = to_storable(pixels)
    if conversion.channels is not None:
        pixels = to_channels(pixels, conversion.channels)
    if conversion.stain_normalise:
        from jaxgan.data.preparing.stain import normalise_stain

        pixels = normalise_stain(pixels, decoded.stain() if decoded.stain else None)
    if conversion.normalise is not None:
        pixels = NORMALISATIONS[conversion.normalise](pixels)
    if conversion.dtype is not None:
        pixels = cast_exactly(pixels, np.dtype(conversion.dtype))
    spatial = pixels.shape[:-1]
    step = None
    target = conversion.spacing if isinstance(conversion.spacing, float) else None
    if target is not None:
        # NIfTI keeps its voxel sizes in float32: differences below its digits are none.
        step = np.round(target / np.array(decoded.spacing), 6)
    unscaled = step is None or (step == 1).all()
    if conversion.size is None or (unscaled and spatial == (conversion.size,) * len(spatial)):
        return [Sample(pixels, decoded.affine, decoded.spacing, masked)]
    how = conversion.fit or ("cover" if len(spatial) == 2 else "contain" if step is None else "crop")
    if conversion.pad_value is not None:
        _check_padding(conversion.pad_value, pixels.dtype)
    rng = np.random.default_rng([conversion.seed, index])
    results = fit(pixels, conversion.size, how, conversion.interpolation, conversion.pad_value, rng, step)
    samples = []
    for result, where in results:
        spacing = None if decoded.spacing is None else tuple(float(s) for s in where.scale * decoded.spacing)
        if target is not None:
            spacing = (target,) * len(spatial)
        samples.append(
            Sample(result, None if decoded.affine is None else where.affine(decoded.affine), spacing, masked)
        )
    return samples


def _check_padding(value: float, dtype: np.dtype) -> None:
    """Raises `InputError` if `value` would become another one in `dtype`: NumPy wraps and cuts without a word."""
    if dtype.kind == "f":
        holds = abs(value) <= float(np.finfo(dtype).max)  # rounded to its digits as the pixels are
    else:
        info = np.iinfo(dtype)
        holds = float(value).is_integer() and info.min <= value <= info.max
    if not holds:
        raise InputError(f"pad_value={value:g}: {dtype} cannot hold it; choose another, or another --dtype")


def _parse_spacing(value: float | str | None) -> float | str | None:
    if value in (None, "auto", "none"):
        return value
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise InputError(f"spacing={value!r}: give millimetres above 0, auto or none")
    return number


def mask_nodata(pixels: np.ndarray, nodata: float) -> tuple[np.ndarray, int]:
    """Replaces what marks missing data by the smallest other value; also returns how many values that were."""
    if math.isnan(nodata):
        missing = np.isnan(pixels) if pixels.dtype.kind == "f" else np.zeros(pixels.shape, bool)
    elif pixels.dtype.kind == "f":
        # Files hold the mark in their own precision, and it is typed with fewer digits.
        missing = np.isclose(pixels, nodata, rtol=1e-6, atol=0)
    else:
        missing = pixels == nodata
    count = int(missing.sum())
    if count == pixels.size:
        raise InputError(f"holds nothing but missing data ({nodata:g}); remove it")
    return (np.where(missing, pixels[~missing].min(), pixels) if count else pixels), count


def to_storable(pixels: np.ndarray) -> np.ndarray:
    """The same values in a dtype that devices hold, native byte order.

    Booleans become 0 and 255, float16 and float64 become float32 (float64 is rounded to it), 64-bit integers become
    int32 if they fit. Other numbers are kept; complex ones are refused.
    """
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        if not finite.all():
            raise InputError(
                f"holds {int((~finite).sum())} NaN or infinite values; mend or remove it, or prepare with --nodata nan"
            )
        with np.errstate(over="ignore"):
            stored = pixels.astype(np.float32)
        if pixels.dtype.itemsize > 4 and not np.isfinite(stored).all():
            raise InputError(f"holds values up to {np.abs(pixels).max():.3g}, beyond float32; rescale the file")
        return stored
    if pixels.dtype.kind not in "ui":
        raise InputError(f"holds {pixels.dtype} values; save real numbers, such as the magnitude of complex ones")
    if pixels.dtype.itemsize == 8:
        info = np.iinfo(np.int32)
        if pixels.min() < info.min or pixels.max() > info.max:
            raise InputError("holds 64-bit integers beyond the range of int32; save it as float32 or int32")
        return pixels.astype(np.int32)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def to_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """`[..., C]` to `[..., channels]`: gray from colour is ITU-R 601 luma, 0.299 R + 0.587 G + 0.114 B."""
    have = pixels.shape[-1]
    if have == channels:
        return pixels
    if have == 1:
        return np.repeat(pixels, channels, axis=-1)
    if channels == 1 and have == 3:
        if pixels.dtype == np.uint8:
            # The integer form that Pillow's "L" uses, bit for bit.
            red, green, blue = (pixels[..., i].astype(np.uint32) for i in range(3))
            return ((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16).astype(np.uint8)[..., None]
        luma = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
        return (np.rint(luma) if pixels.dtype.kind in "ui" else luma).astype(pixels.dtype)[..., None]
    raise InputError(f"has {have} channels, which have no conversion to {channels}; save the channels you need")


def normalise_percentile(pixels: np.ndarray) -> np.ndarray:
    """One volume's 0.5 and 99.5 percentiles to 0 and 1, clipped, float32."""
    values = pixels.astype(np.float32)
    low, high = np.percentile(values, (0.5, 99.5))
    if not high > low:
        raise InputError(f"is constant between its 0.5 and 99.5 percentiles ({low:g}); remove it")
    return ((values - np.float32(low)) / np.float32(high - low)).clip(0, 1)


NORMALISATIONS = {"percentile": normalise_percentile}


def cast_exactly(pixels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`pixels` as `dtype`, refused if an integer value would change."""
    if pixels.dtype == dtype:
        return pixels
    with np.errstate(invalid="ignore"):
        cast = pixels.astype(dtype)
    if not np.array_equal(cast.astype(np.float64), pixels.astype(np.float64)):
        raise InputError(
            f"{pixels.dtype} values of {pixels.min()} to {pixels.max()} do not fit {dtype}; choose another --dtype"
        )
    return cast
