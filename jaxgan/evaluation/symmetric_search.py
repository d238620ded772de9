"""Nearest neighbours under flips, turns and small shifts: a copy stays a copy when it is turned round."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxgan.evaluation.search_bounds import Bounds, Directions, Means

# Pixels of shift to each side, by spatial rank; every side keeps three quarters of its pixels at least.
SHIFT = {2: 3, 3: 1}
_BLOCK = 128
# Images that are compared in full at first; twice as many each time that these do not settle it.
_FIRST = 16
# Numbers of all windows of an image that are held at once, at most.
_WINDOWS = 2**24


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


@dataclasses.dataclass(frozen=True)
class _Others:
    """The images that are searched: their middles `[N, D]` and the squares of these `[N]`."""

    middles: np.ndarray
    squares: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> _Others:
        """Those at places `[K]`."""
        return _Others(self.middles[chosen], self.squares[chosen])

    def compare(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Least squared distances `[N]` of windows `[T, D]` to each; and which windows these are."""
        squared = np.einsum("td,td->t", rows, rows)[:, None] + self.squares - 2.0 * (rows @ self.middles.T)
        number = squared.argmin(axis=0)
        return squared[number, np.arange(len(self.squares))], number


class _Windows:
    """All windows of an image in every turn, in parts: one where they are few enough to be held, else one a turn."""

    def __init__(self, image: np.ndarray, turns: list[Symmetry], shift: int):
        self._image, self._turns, self._shift = image, turns, shift
        self._each = (2 * shift + 1) ** (image.ndim - 1)
        self._whole = self._rows(turns) if few(image.shape, len(turns), shift) else None

    def _rows(self, turns: list[Symmetry]) -> np.ndarray:
        found = [_rows(np.ascontiguousarray(turn(self._image[None])[0]), self._shift) for turn in turns]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def part(self, number: int) -> tuple[int, np.ndarray]:
        """The number of the part's first window, and its windows `[T, D]`."""
        return (0, self._whole) if self._whole is not None else (number * self._each, self._rows([self._turns[number]]))

    def __getitem__(self, number: int) -> np.ndarray:
        """One window, `[D]`."""
        return self._rows([self._turns[number // self._each]])[number % self._each]


def few(shape: tuple[int, ...], turns: int, shift: int) -> bool:
    """Whether all windows of an image of this shape may be held at once."""
    return turns * (2 * shift + 1) ** (len(shape) - 1) * math.prod(shape) <= _WINDOWS


def nearest_transformed(
    x: np.ndarray, y: np.ndarray, *, shift: int | None = None, own: np.ndarray | None = None
) -> Neighbours:
    """The nearest and second nearest image of `y` to each image of `x`, whichever way `x` is turned and shifted.

    Exact: a lower bound of the distance, over every symmetry of the shape with every shift, is computed for every
    pair (`search_bounds`), in blocks of bounded memory; pairs are then compared in full in the order of their bounds,
    until no bound is below the second nearest found (Seidl and Kriegel 1998). The middle of an image (without `shift`
    pixels at each border) is compared with all windows of that size, so that what was shifted out of the picture, or
    in, does not count.

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
    middles = np.ascontiguousarray(y[(slice(None), *(slice(shift, side - shift) for side in spatial))])
    flat = middles.reshape(len(y), -1)
    others, turns = _Others(flat, np.einsum("nd,nd->n", flat, flat)), symmetries(spatial)
    kind: Callable[[np.ndarray, int], Bounds] = Directions if few(x.shape[1:], len(turns), shift) else Means
    bounds_of = kind(middles, shift)
    block = max(1, min(_BLOCK, len(x), 2**26 // len(y), 2**23 // middles[0].size))
    parts = []
    for start in range(0, len(x), block):
        rows = x[start : start + block]
        padded = np.concatenate([rows, np.repeat(rows[:1], block - len(rows), axis=0)])
        bounds = bounds_of(padded, turns)[:, : len(rows)]
        if own is not None:
            bounds[:, np.arange(len(rows)), own[start : start + block]] = np.inf
        for place, image in enumerate(rows):
            parts.append(_two_nearest(_Windows(image, turns, shift), others, bounds[:, place]))
    distance, index, transform = zip(*parts, strict=True)
    return Neighbours(np.array(distance), np.array(index), np.array(transform))


def _two_nearest(windows: _Windows, others: _Others, bounds: np.ndarray) -> tuple[list[float], int, int]:
    """Distances to the two nearest others, the nearest one's place and the transform that brings it there.

    Args:
      windows: of the image.
      others: what is searched.
      bounds: `[P, N]` lower bounds of the squared distances of each part of the windows; infinity for those that do
        not count.
    """
    bound = bounds.min(axis=0)
    order = np.argsort(bound, kind="stable")
    order = order[np.isfinite(bound[order])]
    found, which = np.full(len(order), np.inf, np.float32), np.zeros(len(order), np.int64)
    second, start, count = np.inf, 0, _FIRST
    while start < len(order) and bound[order[start]] <= second:
        rows = slice(start, start + count)
        chosen = order[rows]
        picked = others[chosen]
        # The most promising part first: the others may then be beyond what it found.
        least = bounds[:, chosen].min(axis=1)
        for part in np.argsort(least, kind="stable"):
            if least[part] > second:
                break
            first, windowed = windows.part(part)
            squared, number = picked.compare(windowed)
            which[rows] = np.where(squared < found[rows], first + number, which[rows])
            found[rows] = np.minimum(found[rows], squared)
            second = np.partition(found, 1)[1]
        start, count = start + count, 2 * count
    best = np.argsort(found, kind="stable")[:2]
    distances = []
    for place in best:
        # Once more by the difference itself: of near copies, the product form keeps few digits.
        difference = windows[int(which[place])].astype(np.float64) - others.middles[order[place]]
        distances.append(float(np.sqrt(np.mean(difference**2))))
    return distances, int(order[best[0]]), int(which[best[0]])
