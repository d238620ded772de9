"""Nearest neighbours by blocks of a distance matrix, so that memory stays bounded whatever the set sizes."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 1024


@jax.jit
def _distances(x: jax.Array, y: jax.Array) -> jax.Array:
    """Euclidean distances `[M, N]` between rows of `[M, D]` and `[N, D]`."""
    product = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST)
    squared = jnp.sum(x * x, axis=1)[:, None] + jnp.sum(y * y, axis=1)[None] - 2.0 * product
    return jnp.sqrt(jnp.maximum(squared, 0.0))


@functools.partial(jax.jit, static_argnames=("k", "skip_self"))
def _nearest(x: jax.Array, y: jax.Array, start: jax.Array, *, k: int, skip_self: bool):
    distances = _distances(x, y)
    if skip_self:
        rows = start + jnp.arange(x.shape[0])
        distances = jnp.where(rows[:, None] == jnp.arange(y.shape[0])[None], jnp.inf, distances)
    negative, indices = jax.lax.top_k(-distances, k)
    return -negative, indices


def _rows(x: np.ndarray) -> Iterator[tuple[int, int, jax.Array]]:
    """Blocks of equal shape (the last padded with its own first row): start, rows that count, block."""
    size = min(BLOCK, len(x))
    for start in range(0, len(x), size):
        block = x[start : start + size]
        count = len(block)
        if count < size:
            block = np.concatenate([block, np.repeat(block[:1], size - count, axis=0)])
        yield start, count, jnp.asarray(block)


def centred(*sets: np.ndarray) -> tuple[np.ndarray, ...]:
    """The sets as float32 about the first one's mean: distances stay, and float32 loses no digits to an offset."""
    mean = np.mean(sets[0], axis=0, dtype=np.float64)
    return tuple((np.asarray(s, np.float64) - mean).astype(np.float32) for s in sets)


def distance_blocks(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields `(rows, [len(rows), N])` blocks of the distances from `x` `[M, D]` to `y` `[N, D]`."""
    y_device = jnp.asarray(y)
    for start, count, block in _rows(x):
        yield slice(start, start + count), np.asarray(_distances(block, y_device))[:count]


def nearest(x: np.ndarray, y: np.ndarray, k: int, *, skip_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of `y` for every row of `x`.

    Args:
      x: `[M, D]`.
      y: `[N, D]`, N at least k (k + 1 with `skip_self`).
      k: neighbours a row.
      skip_self: `x` is `y`; a row is not its own neighbour.

    Returns:
      Distances `[M, k]`, rising, and indices `[M, k]` into `y`.
    """
    y_device = jnp.asarray(y)
    found = [
        tuple(np.asarray(part)[:count] for part in _nearest(block, y_device, start, k=k, skip_self=skip_self))
        for start, count, block in _rows(x)
    ]
    distances, places = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return distances, places
