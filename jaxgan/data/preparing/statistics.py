"""Exact statistics of a whole dataset in bounded memory: two streaming passes, whatever the dtype and the range."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

Chunks = Callable[[], Iterable[np.ndarray]]
_BINS = 1 << 16
_BLOCK = 1 << 18


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Of all stored values of a dataset.

    Attributes:
      count: number of values.
      nonfinite: NaN and infinities among them; they are left out of everything else.
      low: smallest value.
      high: largest value.
      mean: average.
      std: standard deviation.
      quantiles: `{share: value}`, exact: each is a value that occurs.
    """

    count: int
    nonfinite: int
    low: float
    high: float
    mean: float
    std: float
    quantiles: dict[float, float]


def summarise(chunks: Chunks, probabilities: Sequence[float] = (0.001, 0.01, 0.5, 0.99, 0.999)) -> Statistics:
    """Reads the chunks twice (once for dtypes up to 16 bits).

    The values are selected by radix: a key that sorts like the value is counted by its upper 16 bits, then, inside the
    bins that hold a wanted rank, by its lower 16. So outliers of any size cost no precision.

    Args:
      chunks: `chunks()` iterates over arrays of one dtype (8 to 32-bit integers, float32), any shape.
      probabilities: wanted quantiles, 0 to 1.
    """
    counts = np.zeros(_BINS, np.int64)
    total, nonfinite, mean, square = 0, 0, 0.0, 0.0
    narrow = True
    for block in _blocks(chunks):
        values = _finite(block)
        nonfinite += block.size - values.size
        if values.size == 0:
            continue
        keys = _keys(values)
        narrow = keys.dtype != np.uint32
        counts += np.bincount(keys if narrow else keys >> 16, minlength=_BINS)
        # Chan's update: sums of squares of large offsets would lose the variance.
        block_mean = float(values.mean(dtype=np.float64))
        block_square = float(np.square(values - np.float64(block_mean)).sum())
        delta = block_mean - mean
        merged = total + values.size
        mean += delta * values.size / merged
        square += block_square + delta * delta * total * values.size / merged
        total = merged
        dtype = values.dtype
    if total == 0:
        nan = float("nan")
        return Statistics(0, nonfinite, nan, nan, nan, nan, dict.fromkeys(probabilities, nan))
    ranks = {p: int(p * (total - 1)) for p in (0.0, *probabilities, 1.0)}
    cumulated = counts.cumsum()
    bins = {p: int(np.searchsorted(cumulated, rank, "right")) for p, rank in ranks.items()}
    if narrow:
        found = bins
    else:
        inner = {b: np.zeros(_BINS, np.int64) for b in bins.values()}
        for block in _blocks(chunks):
            keys = _keys(_finite(block))
            upper = keys >> 16
            for b, histogram in inner.items():
                histogram += np.bincount(keys[upper == b] & 0xFFFF, minlength=_BINS)
        found = {}
        for p, b in bins.items():
            before = cumulated[b - 1] if b else 0
            found[p] = b << 16 | int(np.searchsorted(inner[b].cumsum(), ranks[p] - before, "right"))
    values = {p: float(_value(key, dtype)) for p, key in found.items()}
    quantiles = {p: values[p] for p in probabilities}
    return Statistics(total, nonfinite, values[0.0], values[1.0], mean, float(np.sqrt(square / total)), quantiles)


def count_outside(chunks: Chunks, low: float, high: float) -> int:
    """How many values lie below `low` or above `high`."""
    return sum(int(np.count_nonzero((block < low) | (block > high))) for block in _blocks(chunks))


def _blocks(chunks: Chunks) -> Iterator[np.ndarray]:
    """The values in flat blocks that stay in a processor's cache, float64 temporaries included."""
    for chunk in chunks():
        values = chunk.reshape(-1)
        for start in range(0, values.size, _BLOCK):
            yield values[start : start + _BLOCK]


def _finite(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind != "f":
        return values
    finite = np.isfinite(values)
    return values if finite.all() else values[finite]


def _keys(values: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of the values: uint32 for 32-bit dtypes, else below 2^16."""
    if values.dtype.kind == "u":
        return values
    if values.dtype.itemsize == 4:
        bits = values.view(np.uint32)
        if values.dtype.kind == "f":
            # Positive floats sort like their bits; negative ones in reverse.
            return np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
        return bits ^ np.uint32(1 << 31)
    return (values.astype(np.int32) + (1 << 8 * values.dtype.itemsize - 1)).astype(np.uint16)


def _value(key: int, dtype: np.dtype) -> np.generic:
    """The inverse of `_keys` for one key."""
    if dtype.kind == "u":
        return dtype.type(key)
    if dtype.itemsize == 4:
        bits = key ^ (1 << 31) if dtype.kind == "i" or key >> 31 else ~key & 0xFFFFFFFF
        return np.uint32(bits).view(dtype)
    return dtype.type(key - (1 << 8 * dtype.itemsize - 1))
