"""Batches on their way to the device: checked, brought to one size, and sampled into bounded memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from jaxgan.errors import InputError

# Decoding and resizing leave rounding noise at the ends of the range; more is a wrong scale.
SLACK = 1e-3


@dataclasses.dataclass(frozen=True)
class Batch:
    """Images `[B, *shape]` of which the first `count` are real content, the rest padding.

    `labels` `[count]` int32 or None; `positions` `[count]`: the samples' places in the stream.
    """

    images: np.ndarray
    count: int
    labels: np.ndarray | None
    positions: np.ndarray


def _checked(name: str, images: np.ndarray, shape: tuple[int, ...] | None) -> np.ndarray:
    images = np.asarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise InputError(f"{name} images are {images.dtype}: give float32 in [-1, 1] (decode them with their scaling)")
    if images.ndim not in (4, 5):
        raise InputError(f"{name} images have shape {images.shape}: give [N, H, W, C] or [N, D, H, W, C]")
    if shape is not None and images.shape[1:] != shape:
        raise InputError(f"{name} images differ in shape, {images.shape[1:]} after {shape}: make them equal")
    low, high = (float(f(images)) for f in (np.min, np.max)) if images.size else (0.0, 0.0)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(f"{name} images hold NaN or infinite values: the generator diverged, or the data are damaged")
    if low < -1 - SLACK or high > 1 + SLACK:
        raise InputError(
            f"{name} images reach from {low:g} to {high:g}, outside the declared range [-1, 1]: scale them to it"
        )
    return images.astype(np.float32, copy=False)


def peek(name: str, batches: Iterable) -> tuple[tuple[int, ...], Iterator]:
    """The shape of the first batch, and an iterator that still gives all batches; `InputError` when there is none."""
    iterator = iter(batches)
    for head in iterator:
        images = _checked(name, _split(head)[0], None)
        if len(images):
            break
    else:
        raise InputError(f"there are no {name} images: give at least two")

    def all_batches():
        yield head
        yield from iterator

    return images.shape, all_batches()


def _split(item) -> tuple[np.ndarray, np.ndarray | None]:
    return item if isinstance(item, tuple) else (item, None)


def rebatch(name: str, batches: Iterable, size: int, shape: tuple[int, ...]) -> Iterator[Batch]:
    """Checks batches of any size and gives them out as batches of `size`, the last one padded.

    Args:
      name: "real" or "generated", for messages.
      batches: of `[n, *shape]` float32 in [-1, 1], or pairs of these and labels `[n]`.
      size: of the batches that come out, so that one compiled program serves all.
      shape: of one sample.

    Raises:
      InputError: mixed shapes, values that are not finite or outside [-1, 1].
    """
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    held = start = 0

    def give(count: int) -> Batch:
        nonlocal images, labels, held, start
        joined = np.concatenate(images)
        joined_labels = np.concatenate(labels) if labels else None
        block, rest = joined[:count], joined[count:]
        block_labels = None if joined_labels is None else joined_labels[:count]
        images, held = [rest], len(rest)
        labels = [] if joined_labels is None else [joined_labels[count:]]
        positions = np.arange(start, start + count)
        start += count
        if count < size:
            block = np.concatenate([block, np.repeat(block[:1], size - count, axis=0)])
        return Batch(block, count, block_labels, positions)

    for item in batches:
        new, new_labels = _split(item)
        new = _checked(name, new, shape)
        images.append(new)
        held += len(new)
        if new_labels is not None:
            labels.append(np.asarray(new_labels, np.int32))
        while held >= size:
            yield give(size)
    if held:
        yield give(held)


class Reservoir:
    """A uniform random sample of at most `capacity` items of a stream of unknown length (Vitter 1985).

    Streams up to the capacity are kept whole and in order.
    """

    def __init__(self, capacity: int, seed: int = 0):
        self._capacity = capacity
        self._random = np.random.default_rng(seed)
        self._seen = 0
        self._kept: list[list[np.ndarray]] = []

    def add(self, *columns: np.ndarray) -> None:
        """Offers `columns`, arrays `[n, ...]` whose rows belong together."""
        for row in range(len(columns[0])):
            # Copies, so that a kept row does not hold the whole batch in memory.
            if self._seen < self._capacity:
                self._kept.append([np.array(column[row]) for column in columns])
            else:
                place = int(self._random.integers(self._seen + 1))
                if place < self._capacity:
                    self._kept[place] = [np.array(column[row]) for column in columns]
            self._seen += 1

    def columns(self) -> list[np.ndarray]:
        """The kept rows, as arrays `[at most capacity, ...]`."""
        return [np.stack(column) for column in zip(*self._kept, strict=True)]
