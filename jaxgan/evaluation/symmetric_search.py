"""Nearest neighbours under flips, turns and small shifts: a copy stays a copy when it is turned round."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Pixels of shift to each side, by spatial rank; every side keeps three quarters of its pixels at least.
SHIFT = {2: 3, 3: 1}
_BLOCK = 128
# Directions that bounds are made of, at most, and images that these are chosen by.
_DIRECTIONS = 125
_SAMPLED = 512
# Images that are compared in full at first; twice as many each time that these do not settle it.
_FIRST = 16
# Numbers of all windows of an image that are held at once, at most.
_WINDOWS = 2**24
# What float32 sums of squares may be off by, as a share; generous for a quarter of a million terms.
_ROUNDING = 1e-5


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


def _rows(image: np.ndarray, shift: int) -> np.ndarray:
    """Every window of an image `[*spatial, C]` with `shift` pixels less at each border, `[(2 shift + 1)^rank, D]`."""
    rank = image.ndim - 1
    size = tuple(side - 2 * shift for side in image.shape[:-1])
    windows = np.lib.stride_tricks.sliding_window_view(image, size, axis=tuple(range(rank)))
    return np.moveaxis(windows, rank, -1).reshape((2 * shift + 1) ** rank, -1)


def _basis(rows: np.ndarray) -> np.ndarray:
    """Orthonormal directions `[D, d]` along which rows `[N, D]` vary most, by a sample of them."""
    some = rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:_SAMPLED])].astype(np.float64)
    _, vectors = np.linalg.eigh(some @ some.T)
    # As many as save more work than they make: each costs what a full comparison with one image does.
    count = min(_DIRECTIONS, max(1, len(rows) // 8))
    return np.linalg.qr(some.T @ vectors[:, ::-1][:, :count])[0].astype(np.float32)


def _rest(rows: jax.Array, near: jax.Array, largest: jax.Array | float) -> tuple[jax.Array, jax.Array]:
    """Length of what directions leave of rows, `[B]`, and the square of the whole less what rounding may have added.

    Args:
      rows: `[B, D]`.
      near: `[B, d]`, their places along the directions.
      largest: of all lengths that this one will be compared with.
    """
    norm = jnp.sum(rows * rows, axis=1)
    rest = jnp.sqrt(jnp.maximum(norm - jnp.sum(near * near, axis=1), 0.0))
    error = _ROUNDING * norm
    moved = jnp.sqrt(rest * rest + error) - rest
    return rest, norm - error - 2.0 * (rest + largest) * moved


@jax.jit
def _points(y: jax.Array, basis: jax.Array) -> jax.Array:
    """What `_bounds` needs to know of the middles of the others, `[N, d + 3]`."""
    near = jnp.matmul(y, basis, precision=jax.lax.Precision.HIGHEST)
    rest, _ = _rest(y, near, 0.0)
    rest, norm = _rest(y, near, jnp.max(rest))
    return jnp.concatenate([near, rest[:, None], norm[:, None], jnp.ones_like(norm)[:, None]], axis=1)


@functools.partial(jax.jit, static_argnames="shift", donate_argnums=0)
def _bounds(best: jax.Array, x: jax.Array, basis: jax.Array, points: jax.Array, *, shift: int) -> jax.Array:
    """Lower bounds of the squared distances `[B, N]` after every shift of `x` `[B, *spatial, C]`, or `best` if lower.

    A window and a middle are as far apart as they are along some directions, and as the lengths of what is left of
    each: |w - m|^2 >= |Pw - Pm|^2 + (|w - Pw| - |m - Pm|)^2.
    """
    rank = x.ndim - 2
    size = (len(x), *(side - 2 * shift for side in x.shape[1:-1]), x.shape[-1])
    offsets = jnp.asarray(list(itertools.product(range(2 * shift + 1), repeat=rank)), jnp.int32)
    largest = jnp.max(points[:, -3])

    def try_shift(number, best):
        window = jax.lax.dynamic_slice(x, (0, *(offsets[number, axis] for axis in range(rank)), 0), size)
        rows = window.reshape(len(x), -1)
        near = jnp.matmul(rows, basis, precision=jax.lax.Precision.HIGHEST)
        rest, norm = _rest(rows, near, largest)
        ours = [-2.0 * near, -2.0 * rest[:, None], jnp.ones_like(norm)[:, None], norm[:, None]]
        bound = jnp.matmul(jnp.concatenate(ours, axis=1), points.T, precision=jax.lax.Precision.HIGHEST)
        return jnp.minimum(best, bound)

    return jax.lax.fori_loop(0, len(offsets), try_shift, best)


class _Others(NamedTuple):
    """The images that are searched: their middles `[N, D]` and the squares of these `[N]`."""

    middles: np.ndarray
    squares: np.ndarray

    def compare(self, windows: Iterable[np.ndarray], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least squared distances `[K]` of windows, given in parts, to chosen images; and which windows these are."""
        middles, squares = self.middles[chosen], self.squares[chosen]
        best, which, first = np.full(len(chosen), np.inf, np.float32), np.zeros(len(chosen), np.int64), 0
        for rows in windows:
            squared = np.einsum("td,td->t", rows, rows)[:, None] + squares - 2.0 * (rows @ middles.T)
            number = squared.argmin(axis=0)
            least = squared[number, np.arange(len(chosen))]
            which = np.where(least < best, first + number, which)
            best, first = np.minimum(best, least), first + len(rows)
        return best, which


class _Windows:
    """All windows of an image in every turn, in parts of bounded size; made once where they are few enough."""

    def __init__(self, image: np.ndarray, turns: list[Symmetry], shift: int):
        self._image, self._turns, self._shift = image, turns, shift
        self._each = (2 * shift + 1) ** (image.ndim - 1)
        self._whole = [self._rows(turns)] if len(turns) * self._each * image.size <= _WINDOWS else None

    def _rows(self, turns: list[Symmetry]) -> np.ndarray:
        return np.concatenate([_rows(turn(self._image[None])[0], self._shift) for turn in turns])

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from self._whole or (self._rows([turn]) for turn in self._turns)

    def __getitem__(self, number: int) -> np.ndarray:
        """One window, `[D]`."""
        return self._rows([self._turns[number // self._each]])[number % self._each]


def nearest_transformed(
    x: np.ndarray, y: np.ndarray, *, shift: int | None = None, own: np.ndarray | None = None
) -> Neighbours:
    """The nearest and second nearest image of `y` to each image of `x`, whichever way `x` is turned and shifted.

    Exact: a lower bound of the distance, over every symmetry of the shape with every shift, is computed for every
    pair, in blocks of bounded memory; pairs are then compared in full in the order of their bounds, until no bound is
    below the second nearest found (Seidl and Kriegel 1998). The middle of an image (without `shift` pixels at each
    border) is compared with all windows of that size, so that what was shifted out of the picture, or in, does not
    count.

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
    middles = y[(slice(None), *(slice(shift, side - shift) for side in spatial))].reshape(len(y), -1)
    others, turns = _Others(middles, np.einsum("nd,nd->n", middles, middles)), symmetries(spatial)
    basis = jnp.asarray(_basis(middles))
    points = _points(jnp.asarray(middles), basis)
    block = max(1, min(_BLOCK, len(x), 2**26 // len(y), 2**25 // middles.shape[1]))
    parts = []
    for start in range(0, len(x), block):
        rows = x[start : start + block]
        padded = np.concatenate([rows, np.repeat(rows[:1], block - len(rows), axis=0)])
        best = jnp.full((block, len(y)), jnp.inf, jnp.float32)
        for turn in turns:
            best = _bounds(best, turn(padded), basis, points, shift=shift)
        bounds = np.array(best)[: len(rows)]
        if own is not None:
            bounds[np.arange(len(rows)), own[start : start + block]] = np.inf
        parts += [_two_nearest(image, others, bound, turns, shift) for image, bound in zip(rows, bounds, strict=True)]
    distance, index, transform = zip(*parts, strict=True)
    return Neighbours(np.array(distance), np.array(index), np.array(transform))


def _two_nearest(
    image: np.ndarray, others: _Others, bound: np.ndarray, turns: list[Symmetry], shift: int
) -> tuple[list[float], int, int]:
    """Distances to the two nearest others, the nearest one's place and the transform that brings it there.

    Args:
      image: `[*spatial, C]`.
      others: what is searched.
      bound: `[N]` lower bounds of the squared distances; infinity for those that do not count.
      turns: symmetries of the shape.
      shift: pixels to each side.
    """
    order = np.argsort(bound, kind="stable")
    order = order[np.isfinite(bound[order])]
    windows = _Windows(image, turns, shift)
    found, which, second, start, count = np.zeros(0), np.zeros(0, np.int64), np.inf, 0, _FIRST
    while start < len(order) and bound[order[start]] <= second:
        chosen = order[start : start + count]
        squared, number = others.compare(windows, chosen)
        found, which = np.append(found, squared), np.append(which, number)
        second = np.partition(found, 1)[1]
        start, count = start + count, 2 * count
    best = np.argsort(found, kind="stable")[:2]
    distances = []
    for place in best:
        # Once more by the difference itself: of near copies, the product form keeps few digits.
        difference = windows[int(which[place])].astype(np.float64) - others.middles[order[place]]
        distances.append(float(np.sqrt(np.mean(difference**2))))
    return distances, int(order[best[0]]), int(which[best[0]])
