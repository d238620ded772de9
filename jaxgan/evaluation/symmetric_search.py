"""Nearest neighbours under flips, turns and small shifts: a copy stays a copy when it is turned round."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Pixels of shift to each side, by spatial rank; every side keeps three quarters of its pixels at least.
SHIFT = {2: 3, 3: 1}
_BLOCK = 128


class Symmetry(NamedTuple):
    """A turn or a reflection: axes of the result, in terms of those of the image, and which of them run backwards."""

    axes: tuple[int, ...]
    backwards: tuple[bool, ...]

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Applies it to `[N, *spatial, C]`."""
        turned = np.transpose(images, (0, *(axis + 1 for axis in self.axes), images.ndim - 1))
        return turned[(slice(None), *(slice(None, None, -1 if back else 1) for back in self.backwards))]

    def __str__(self) -> str:
        return "axes " + ",".join(("-" if b else "+") + str(a) for a, b in zip(self.axes, self.backwards, strict=True))


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """What the search found for each of M images.

    Attributes:
      distance: `[M, 2]` root mean square difference to the nearest and to the second nearest other image.
      index: `[M]` of the nearest one.
      transform: `[M]` number of the transform that brought it there, see `describe`.
    """

    distance: np.ndarray
    index: np.ndarray
    transform: np.ndarray


def symmetries(spatial: tuple[int, ...]) -> list[Symmetry]:
    """All that map the shape to itself, the identity first: 8 of a square, 48 of a cube (24 turns, mirrored or not)."""
    rank = len(spatial)
    return [
        Symmetry(axes, backwards)
        for axes in itertools.permutations(range(rank))
        if tuple(spatial[axis] for axis in axes) == tuple(spatial)
        for backwards in itertools.product((False, True), repeat=rank)
    ]


def shift_of(spatial: tuple[int, ...]) -> int:
    """How many pixels of shift are searched for images of this size."""
    return min(SHIFT[len(spatial)], min(spatial) // 8)


def describe(transform: int, spatial: tuple[int, ...], shift: int) -> str:
    """A transform's number in words: which axes, which run backwards, and the shift along each."""
    offsets = list(itertools.product(range(-shift, shift + 1), repeat=len(spatial)))
    symmetry, offset = divmod(int(transform), len(offsets))
    return f"{symmetries(spatial)[symmetry]}, shift {','.join(map(str, offsets[offset]))}"


@functools.partial(jax.jit, static_argnames="shift", donate_argnums=(0, 1))
def _closer(best: jax.Array, which: jax.Array, x: jax.Array, y: jax.Array, first: jax.Array, *, shift: int):
    """Least squared distances `[B, N]` so far, and by which transform, after every shift of `x` `[B, *spatial, C]`.

    `y` is `[N, D]`, the middles of the other images, which every shifted window of `x` is compared with.
    """
    rank = x.ndim - 2
    size = (len(x), *(side - 2 * shift for side in x.shape[1:-1]), x.shape[-1])
    offsets = jnp.asarray(list(itertools.product(range(2 * shift + 1), repeat=rank)), jnp.int32)
    norms = jnp.sum(y * y, axis=1)

    def try_shift(number, carry):
        best, which = carry
        window = jax.lax.dynamic_slice(x, (0, *(offsets[number, axis] for axis in range(rank)), 0), size)
        rows = window.reshape(len(x), -1)
        product = jnp.matmul(rows, y.T, precision=jax.lax.Precision.HIGHEST)
        squared = jnp.sum(rows * rows, axis=1)[:, None] + norms[None] - 2.0 * product
        return jnp.minimum(best, squared), jnp.where(squared < best, first + number, which)

    return jax.lax.fori_loop(0, len(offsets), try_shift, (best, which))


def nearest_transformed(
    x: np.ndarray, y: np.ndarray, *, shift: int | None = None, own: np.ndarray | None = None
) -> Neighbours:
    """The nearest and second nearest image of `y` to each image of `x`, whichever way `x` is turned and shifted.

    Exact: every symmetry of the shape with every shift is compared with every image, in blocks of bounded memory. The
    middle of an image (without `shift` pixels at each border) is compared with all windows of that size, so that what
    was shifted out of the picture, or in, does not count.

    Args:
      x: `[M, *spatial, C]` in [-1, 1].
      y: `[N, *spatial, C]`, N at least 2 (3 with `own`).
      shift: in pixels to each side; None: `shift_of` the size.
      own: `[M]` places in `y` of the images of `x`, which are not their own neighbours; None: they are none of `y`.
    """
    spatial = x.shape[1:-1]
    shift = shift_of(spatial) if shift is None else shift
    # A common offset drops out of every difference, and float32 loses no digits to it.
    mean = np.mean(y, dtype=np.float64)
    x, y = (np.asarray(images - mean, np.float32) for images in (x, y))
    middle = y[(slice(None), *(slice(shift, side - shift) for side in spatial))].reshape(len(y), -1)
    middle_device, turns = jnp.asarray(middle), symmetries(spatial)
    each = (2 * shift + 1) ** len(spatial)
    block = min(_BLOCK, len(x), max(1, 2**26 // len(y)))
    parts = []
    for start in range(0, len(x), block):
        rows = x[start : start + block]
        padded = np.concatenate([rows, np.repeat(rows[:1], block - len(rows), axis=0)])
        best = jnp.full((block, len(y)), jnp.inf, jnp.float32)
        which = jnp.zeros((block, len(y)), jnp.int32)
        for number, turn in enumerate(turns):
            best, which = _closer(best, which, turn(padded), middle_device, number * each, shift=shift)
        squared, which = np.array(best)[: len(rows)], np.asarray(which)[: len(rows)]
        if own is not None:
            squared[np.arange(len(rows)), own[start : start + block]] = np.inf
        order = np.argpartition(squared, 1, axis=1)[:, :2]
        two = np.take_along_axis(squared, order, axis=1)
        flip = np.argsort(two, axis=1)
        order, two = np.take_along_axis(order, flip, axis=1), np.take_along_axis(two, flip, axis=1)
        index = order[:, 0]
        parts.append((np.sqrt(np.maximum(two, 0.0) / middle.shape[1]), index, which[np.arange(len(rows)), index]))
    return Neighbours(*(np.concatenate(column) for column in zip(*parts, strict=True)))
