"""Converted samples on disk between decoding and writing, so that a source is decoded once, in bounded memory."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from jaxgan.data.listing.collection import Entry
from jaxgan.data.preparing.convert import Sample
from jaxgan.errors import InputError

_CHUNK_BYTES = 32 << 20


class DiskBuffer:
    """Samples of one shape and dtype in plain files, one a split.

    Attributes:
      names: `{split: source of each sample}`.
      labels: `{split: class of each sample, or None}`.
      groups: `{split: what each sample must not be separated from, or ""}`.
      affines: of each sample, or None.
      spacings: of each sample, or None.
      rejected: `(source, reason)` of what could not be used.
      composited: how many transparent pictures were laid on white.
      masked: how many values of the images marked missing data.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._streams: dict[str, io.BufferedWriter] = {}
        self._like: tuple[str, tuple[int, ...], np.dtype] | None = None
        self.names: dict[str, list[str]] = collections.defaultdict(list)
        self.labels: dict[str, list[int | None]] = collections.defaultdict(list)
        self.groups: dict[str, list[str]] = collections.defaultdict(list)
        self.affines: list[np.ndarray | None] = []
        self.spacings: list[tuple[float, ...] | None] = []
        self.rejected: list[tuple[str, str]] = []
        self.composited = 0
        self.masked = 0

    def __enter__(self) -> DiskBuffer:
        return self

    def __exit__(self, *error) -> None:
        for stream in self._streams.values():
            stream.close()

    def add(self, split: str, entry: Entry, sample: Sample) -> None:
        """Appends one sample; raises `InputError` if its shape or dtype is not that of the first."""
        pixels = sample.pixels
        if self._like is None:
            self._like = (entry.name, pixels.shape, pixels.dtype)
        elif (pixels.shape, pixels.dtype) != self._like[1:]:
            raise InputError(_disagreement(*self._like, entry.name, pixels.shape, pixels.dtype))
        if split not in self._streams:
            self._streams[split] = (self._folder / f"{split}.buffer").open("wb")
        self._streams[split].write(np.ascontiguousarray(pixels).data)
        self.names[split].append(entry.name)
        self.labels[split].append(entry.label)
        self.groups[split].append(entry.group)
        self.masked += sample.masked
        self.affines.append(sample.affine)
        self.spacings.append(sample.spacing)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        assert self._like is not None  # asked for after `add` only
        return self._like[1]

    @property
    def dtype(self) -> np.dtype:
        """Of all samples."""
        assert self._like is not None  # asked for after `add` only
        return self._like[2]

    def images(self) -> dict[str, np.ndarray]:
        """`{split: [N, *shape]}` memory maps of what was added."""
        for stream in self._streams.values():
            stream.flush()
        return {
            split: np.memmap(stream.name, self.dtype, "r", shape=(len(self.names[split]), *self.shape))
            for split, stream in self._streams.items()
        }


def chunked(stacks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Arrays of a few MB that together are all rows of the stacks."""
    for stack in stacks:
        step = max(1, _CHUNK_BYTES // (stack[:1].nbytes or 1))
        for start in range(0, len(stack), step):
            yield np.asarray(stack[start : start + step])


@contextlib.contextmanager
def ordered_map(function: Callable, items: Iterable) -> Iterator[Iterator]:
    """`map` on a few threads, in order, never more than a few results ahead; the threads end with the block.

    A generator that held them would end them when it is collected, which may be in one of themselves: a deadlock.
    """
    workers = min(8, os.cpu_count() or 1)
    pool = concurrent.futures.ThreadPoolExecutor(workers)
    pending: collections.deque = collections.deque()

    def results() -> Iterator:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()

    try:
        yield results()
    finally:
        pool.shutdown(cancel_futures=True)


def _disagreement(first: str, shape: tuple, dtype: np.dtype, name: str, other: tuple, other_dtype: np.dtype) -> str:
    """One line on two samples that cannot be in one dataset."""
    if shape[-1] != other[-1]:
        what, way = f"{shape[-1]} and {other[-1]} channels", "--channels 1 or 3"
    elif shape != other:
        what, way = f"shapes {shape[:-1]} and {other[:-1]}", "--size N"
    else:
        what, way = f"dtypes {dtype} and {other_dtype}", "--dtype float32 if their values compare"
    return f"{first} and {name} have {what}; give {way}, or separate them"
