"""Lower bounds of the distances between every window of an image and the middles of others: a search goes by them.

Two vectors are as far apart as their projections are, and as the lengths of what these leave of each:
|w - m|^2 >= |Pw - Pm|^2 + (|w - Pw| - |m - Pm|)^2, for every orthogonal projection P.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

# Directions that bounds are made of, at most, and images that these are chosen by.
_DIRECTIONS = 125
_SAMPLED = 512
# Blocks along a side, at most, whose means bounds are made of. Of smooth volumes of 64^3, blocks of 2 voxels a side
# leave few turns to be compared in full, blocks of 4 most of them.
_BLOCKS = 31
# What float32 sums of squares may be off by, as a share; generous for a quarter of a million terms.
_ROUNDING = 1e-5


class Turn(Protocol):
    """A symmetry of images `[N, *spatial, C]`."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Applies it."""


class Bounds(Protocol):
    """Made once of the middles of what is searched; called, gives lower bounds of squared distances."""

    def __call__(self, x: np.ndarray, turns: Iterable[Turn]) -> np.ndarray:
        """`[P, B, N]` of images `[B, *spatial, C]` in every shift: over all turns (P is 1), or for each of P turns."""


def _rest(norm: jax.Array, near: jax.Array, largest: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Length of what a projection leaves of vectors, `[B]`, and the square of the whole less what rounding may add.

    Args:
      norm: `[B]`, squares of their lengths.
      near: `[B, d]`, their projections.
      largest: of all lengths that this one will be compared with.
    """
    rest = jnp.sqrt(jnp.maximum(norm - jnp.sum(near * near, axis=1), 0.0))
    error = _ROUNDING * norm
    moved = jnp.sqrt(rest * rest + error) - rest
    return rest, norm - error - 2.0 * (rest + largest) * moved


@jax.jit
def _points(norm: jax.Array, near: jax.Array) -> jax.Array:
    """What `_distances` needs to know of the middles, `[N, d + 3]`."""
    rest, _ = _rest(norm, near, 0.0)
    rest, norm = _rest(norm, near, jnp.max(rest))
    return jnp.concatenate([near, rest[:, None], norm[:, None], jnp.ones_like(norm)[:, None]], axis=1)


def _distances(norm: jax.Array, near: jax.Array, points: jax.Array) -> jax.Array:
    """Lower bounds `[B, N]` for windows of these squared lengths `[B]` and projections `[B, d]`."""
    rest, norm = _rest(norm, near, jnp.max(points[:, -3]))
    ours = [-2.0 * near, -2.0 * rest[:, None], jnp.ones_like(norm)[:, None], norm[:, None]]
    return jnp.matmul(jnp.concatenate(ours, axis=1), points.T, precision=jax.lax.Precision.HIGHEST)


class Directions:
    """Projects on the directions along which the middles vary most: small images, many of them."""

    def __init__(self, middles: np.ndarray, shift: int):
        """`middles` is `[N, *size, C]`: images without `shift` pixels at each border."""
        rows = middles.reshape(len(middles), -1)
        self._basis, self._shift = jnp.asarray(_basis(rows)), shift
        near = jnp.matmul(jnp.asarray(rows), self._basis, precision=jax.lax.Precision.HIGHEST)
        self._points = _points(jnp.asarray(np.einsum("nd,nd->n", rows, rows)), near)

    def __call__(self, x: np.ndarray, turns: Iterable[Turn]) -> np.ndarray:
        """`[1, B, N]`, see `Bounds`."""
        best = jnp.full((len(x), len(self._points)), jnp.inf, jnp.float32)
        for turn in turns:
            best = _along_directions(best, turn(x), self._basis, self._points, shift=self._shift)
        return np.array(best)[None]


def _basis(rows: np.ndarray) -> np.ndarray:
    """Orthonormal directions `[D, d]` along which rows `[N, D]` vary most, by a sample of them."""
    some = rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:_SAMPLED])].astype(np.float64)
    _, vectors = np.linalg.eigh(some @ some.T)
    # As many as save more work than they make: each costs what a full comparison with one image does.
    count = min(_DIRECTIONS, max(1, len(rows) // 8))
    return np.linalg.qr(some.T @ vectors[:, ::-1][:, :count])[0].astype(np.float32)


@functools.partial(jax.jit, static_argnames="shift", donate_argnums=0)
def _along_directions(best: jax.Array, x: jax.Array, basis: jax.Array, points: jax.Array, *, shift: int) -> jax.Array:
    rank = x.ndim - 2
    size = (len(x), *(side - 2 * shift for side in x.shape[1:-1]), x.shape[-1])
    offsets = jnp.asarray(list(itertools.product(range(2 * shift + 1), repeat=rank)), jnp.int32)

    def try_shift(number, best):
        window = jax.lax.dynamic_slice(x, (0, *(offsets[number, axis] for axis in range(rank)), 0), size)
        rows = window.reshape(len(x), -1)
        near = jnp.matmul(rows, basis, precision=jax.lax.Precision.HIGHEST)
        return jnp.minimum(best, _distances(jnp.sum(rows * rows, axis=1), near, points))

    return jax.lax.fori_loop(0, len(offsets), try_shift, best)


class Means:
    """Projects on the means of blocks, which turn and shift with the image: few and large ones, volumes above all."""

    def __init__(self, middles: np.ndarray, shift: int):
        """`middles` is `[N, *size, C]`: images without `shift` pixels at each border."""
        self._size, self._shift = middles.shape[1:-1], shift
        self._side = max(2, -(-max(self._size) // _BLOCKS))
        near = np.concatenate([self._blocks(_sums(image[None], self._side)) for image in middles])
        norm = [np.sum(image.astype(np.float64) ** 2) for image in middles]
        self._points = _points(jnp.asarray(norm, jnp.float32), jnp.asarray(near))

    def _blocks(self, sums: np.ndarray) -> np.ndarray:
        cut = (slice(None), *(slice(0, s - self._side + 1, self._side) for s in self._size))
        return sums[cut].reshape(len(sums), -1)

    def __call__(self, x: np.ndarray, turns: Iterable[Turn]) -> np.ndarray:
        """`[T, B, N]`, see `Bounds`."""
        # Sums over blocks at every place, and squares of the lengths of every window: these are turned with the image.
        sums = np.concatenate([_sums(image[None], self._side) for image in x])
        norms = np.concatenate([_squares(image[None], self._size) for image in x])
        options = {"size": self._size, "side": self._side, "shift": self._shift}
        # One turn at a time: calls return at once, and each would hold a turned copy until its own turn comes.
        found = [
            np.asarray(_along_blocks(turn(sums), turn(norms[..., None]), self._points, **options)) for turn in turns
        ]
        return np.stack(found)


def _sums(images: np.ndarray, side: int) -> np.ndarray:
    """Projections of `[B, *spatial, C]` on every block of a side, wherever it lies: its sum, over the root of its size.

    Returns:
      `[B, *(spatial - side + 1), C]`, float32.
    """
    rank = images.ndim - 2
    for axis in range(1, 1 + rank):
        length = images.shape[axis] - side + 1
        parts = (images.take(range(start, start + length), axis) for start in range(side))
        images = functools.reduce(np.add, parts)
    return images / np.float32(math.sqrt(side**rank))


def _squares(images: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Squared lengths of every window of a size of `[B, *spatial, C]`, `[B, *(spatial - size + 1)]`, float32."""
    squares = np.sum(images.astype(np.float64) ** 2, axis=-1)
    for axis, side in enumerate(size, start=1):
        starts = range(squares.shape[axis] - side + 1)
        squares = np.stack([squares.take(range(s, s + side), axis).sum(axis) for s in starts], axis)
    return squares.astype(np.float32)


@functools.partial(jax.jit, static_argnames=("size", "side", "shift"))
def _along_blocks(
    sums: jax.Array, norms: jax.Array, points: jax.Array, *, size: tuple[int, ...], side: int, shift: int
) -> jax.Array:
    best = jnp.full((len(sums), len(points)), jnp.inf, jnp.float32)
    for offset in itertools.product(range(2 * shift + 1), repeat=len(size)):
        cut = tuple(slice(start, start + s - side + 1, side) for start, s in zip(offset, size, strict=True))
        near = sums[(slice(None), *cut)].reshape(len(sums), -1)
        best = jnp.minimum(best, _distances(norms[(slice(None), *offset, 0)], near, points))
    return best
