"""Resampling, cropping, padding and tiling images and volumes of any dtype to one shape."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from jaxgan.errors import InputError

CUTS = ("crop", "random_crop", "tile")
FITS = ("cover", "contain", "stretch", *CUTS)
INTERPOLATIONS = ("linear", "cubic", "nearest")


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the samples of a result lie in the original: `original = scale * index + offset`, per spatial axis."""

    scale: np.ndarray
    offset: np.ndarray

    def affine(self, affine: np.ndarray) -> np.ndarray:
        """The voxel-to-world matrix of the result from that of the original."""
        step = np.eye(4)
        step[:3, :3], step[:3, 3] = np.diag(self.scale), self.offset
        return affine @ step


def fit(
    pixels: np.ndarray,
    size: int,
    how: str = "cover",
    interpolation: str = "linear",
    pad_value: float | None = None,
    rng: np.random.Generator | None = None,
    step: np.ndarray | None = None,
) -> list[tuple[np.ndarray, Placement]]:
    """Brings an image or volume to `size` along every spatial axis.

    Args:
      pixels: `[*spatial, C]`.
      size: of every spatial axis of the result.
      how: "cover": resample so that the shortest axis has `size`, then crop the centre. "contain": resample so that
        the longest axis has it, then pad. "stretch": resample every axis by itself. "crop": no resampling, centre
        crop, pad where too short. "random_crop": the same at a random place. "tile": no resampling, all whole
        tiles that fit, centred.
      interpolation: see `resample`.
      pad_value: what padding holds; None: the image's own minimum (dark background), or its maximum in colour
        images (white background).
      rng: for "random_crop".
      step: pixels of the original between two of the result, per axis: what brings volumes of different voxel sizes
        to one. Then `how` cuts what is so resampled, and must be one of `CUTS`.

    Returns:
      `[size, ..., C]` results in the original dtype, several only for "tile".
    """
    spatial = np.array(pixels.shape[:-1])
    if pad_value is None:
        pad_value = pixels.max() if pixels.shape[-1] >= 3 else pixels.min()
    if step is not None and how == "crop":
        # Straight onto the final grid, so that the middles of the two are one; where nothing is scaled, voxels stay as
        # they are, up to half of one away from it.
        offset = (spatial - 1) / 2 - step * (size - 1) / 2
        where = Placement(step, np.where(step == 1, np.floor(offset), offset))
        return [(resample(pixels, (size,) * len(spatial), interpolation, where, pad_value), where)]
    target = {
        "cover": np.maximum(np.rint(spatial * (size / spatial.min())).astype(int), size),
        "contain": np.minimum(np.maximum(np.rint(spatial * (size / spatial.max())).astype(int), 1), size),
        "stretch": np.full(len(spatial), size),
    }.get(how, spatial if step is None else np.maximum(np.rint(spatial / step).astype(int), 1))
    scale = spatial / target if step is None else step
    where = None if step is None else Placement(step, (spatial - 1) / 2 - step * (target - 1) / 2)
    pixels = resample(pixels, tuple(int(n) for n in target), interpolation, where, pad_value)
    if how == "tile":
        if (target < size).any():
            raise InputError(f"image of {_text(spatial)} is smaller than a tile of {size}; choose another --fit")
        counts = target // size
        first = (target - counts * size) // 2
        corners = [first + size * np.array(i) for i in itertools.product(*(range(n) for n in counts))]
    elif how == "random_crop":
        assert rng is not None  # see Args
        corners = [np.array([rng.integers(0, max(n - size, 0) + 1) - max(size - n, 0) // 2 for n in target])]
    else:
        corners = [(target - size) // 2]
    results = []
    for corner in corners:
        offset = (spatial - 1) / 2 + scale * (corner - (target - 1) / 2)
        results.append((_window(pixels, corner, size, pad_value), Placement(scale, offset)))
    return results


def resample(
    pixels: np.ndarray,
    shape: tuple[int, ...],
    interpolation: str = "linear",
    where: Placement | None = None,
    outside: float = 0.0,
) -> np.ndarray:
    """Resamples the spatial axes one after another.

    Pixel centres lie at half-integers. Where an axis shrinks, the kernel is widened by the same factor (anti-aliasing),
    as in Pillow and `jax.image.resize`; "nearest" takes values as they are and is the one for label maps. Sums are in
    float32, in float64 for 32-bit integers; integers are rounded, and nothing leaves the range of the input.

    Args:
      pixels: `[*spatial, C]`.
      shape: new `spatial`; axes that keep their length are untouched.
      interpolation: "linear", "cubic" (Keys, a = -0.5) or "nearest".
      where: the pixels of the result in the original; None: they span it.
      outside: value of what does not lie in the original; only with `where`.

    Returns:
      `[*shape, C]` in the dtype of `pixels`.
    """
    spatial = pixels.shape[:-1]
    if where is None:
        if spatial == shape:
            return pixels
        steps = [old / new for old, new in zip(spatial, shape, strict=True)]
        places = [(np.arange(new) + 0.5) * step for new, step in zip(shape, steps, strict=True)]
        return _interpolate(pixels, places, steps, interpolation)
    steps = [float(step) for step in where.scale]
    places = [np.arange(new) * step + start + 0.5 for new, step, start in zip(shape, steps, where.offset, strict=True)]
    inside = [place.clip(0, old) for place, old in zip(places, spatial, strict=True)]
    result = _interpolate(pixels, inside, steps, interpolation)
    for axis, (place, near) in enumerate(zip(places, inside, strict=True)):
        if (beyond := abs(place - near) > 1e-6).any():
            result[(slice(None),) * axis + (beyond,)] = outside
    return result


def _interpolate(pixels: np.ndarray, places: list[np.ndarray], steps: list[float], interpolation: str) -> np.ndarray:
    """Values at the grid of `places`, which count from the outer edge of the first pixel along each axis."""
    if interpolation == "nearest":
        for axis, place in enumerate(places):
            pixels = np.take(pixels, np.floor(place).astype(int).clip(0, pixels.shape[axis] - 1), axis)
        return pixels
    exact = np.dtype(np.float64 if pixels.dtype in (np.int32, np.uint32, np.float64) else np.float32)
    low, high = pixels.min(), pixels.max()
    result = pixels.astype(exact)
    for axis, (place, step) in enumerate(zip(places, steps, strict=True)):
        old = result.shape[axis]
        if len(place) != old or step != 1:
            weights = _weights(old, place - 0.5, step, interpolation).astype(exact)
            result = np.moveaxis(np.tensordot(weights, result, (1, axis)), 0, axis)
    if np.issubdtype(pixels.dtype, np.integer):
        result = np.rint(result)
    return np.ascontiguousarray(result.clip(low, high).astype(pixels.dtype))


def _weights(old: int, centres: np.ndarray, step: float, interpolation: str) -> np.ndarray:
    """`[new, old]` rows of kernel weights that sum to one."""
    width = max(step, 1.0)
    distance = np.abs(np.arange(old)[None] - centres[:, None]) / width
    if interpolation == "linear":
        weights = np.maximum(1.0 - distance, 0.0)
    else:
        near = (1.5 * distance - 2.5) * distance**2 + 1.0
        far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
        weights = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return weights / weights.sum(1, keepdims=True)


def _window(pixels: np.ndarray, corner: np.ndarray, size: int, pad_value: float) -> np.ndarray:
    """`size` elements from `corner` along every spatial axis; what lies outside is `pad_value`."""
    inside = tuple(slice(max(c, 0), c + size) for c in corner)
    cut = pixels[inside]
    before = [max(-c, 0) for c in corner]
    widths = [(b, size - b - n) for b, n in zip(before, cut.shape, strict=False)] + [(0, 0)]
    if not any(b or a for b, a in widths):
        return np.ascontiguousarray(cut)
    return np.pad(cut, widths, constant_values=pad_value)


def _text(spatial) -> str:
    return "x".join(str(n) for n in spatial)
