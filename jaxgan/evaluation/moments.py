"""Mean and covariance of features, gathered in a stream on the device."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class MomentSums(NamedTuple):
    """Running sums over features shifted by `origin`: each total is a float32 pair `high + low`.

    float32 alone would lose the small differences that the distance lives on, and float64 is slow or absent on
    accelerators; a compensated pair keeps about 48 bits at the cost of a few additions.
    """

    origin: jax.Array
    rows: jax.Array
    first_high: jax.Array
    first_low: jax.Array
    second_high: jax.Array
    second_low: jax.Array


@dataclasses.dataclass(frozen=True)
class Moments:
    """Mean `[D]` and unbiased covariance `[D, D]`, float64, of `count` feature vectors."""

    count: int
    mean: np.ndarray
    cov: np.ndarray


def start_moments(origin: jax.Array) -> MomentSums:
    """Empty sums around `origin` `[D]`, any point near the data (the first batch's mean is a good one)."""
    first = jnp.zeros_like(origin)
    second = jnp.zeros((origin.shape[0],) * 2, jnp.float32)
    return MomentSums(origin, jnp.zeros((), jnp.int32), first, first, second, second)


def _add(high: jax.Array, low: jax.Array, term: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Knuth's two-sum: the rounding error of `high + term` goes to `low` instead of being lost."""
    total = high + term
    seen = total - high
    return total, low + ((high - (total - seen)) + (term - seen))


def add_moments(sums: MomentSums, features: jax.Array, weights: jax.Array) -> MomentSums:
    """Adds a batch; pure, meant to be called inside `jit`.

    Args:
      sums: what was gathered so far.
      features: `[N, D]` float32.
      weights: `[N]` of 0 (padding, left out) or 1.
    """
    shifted = (features - sums.origin[None]) * weights[:, None]
    second = jnp.matmul(shifted.T, shifted, precision=jax.lax.Precision.HIGHEST)
    return MomentSums(
        sums.origin,
        sums.rows + jnp.sum(weights).astype(jnp.int32),
        *_add(sums.first_high, sums.first_low, jnp.sum(shifted, axis=0)),
        *_add(sums.second_high, sums.second_low, second),
    )


def finish_moments(parts: list[MomentSums]) -> Moments:
    """Joins the sums of all devices into float64 moments. The parts must share one origin."""
    count = sum(int(part.rows) for part in parts)

    def total(high: str, low: str) -> np.ndarray:
        each = (np.asarray(getattr(p, high), np.float64) + np.asarray(getattr(p, low), np.float64) for p in parts)
        return sum(each, start=np.zeros(()))

    first, second = total("first_high", "first_low"), total("second_high", "second_low")
    cov = (second - np.outer(first, first) / count) / max(count - 1, 1)
    return Moments(count, np.asarray(parts[0].origin, np.float64) + first / count, (cov + cov.T) / 2)


def moments_of(features: np.ndarray) -> Moments:
    """Moments of features `[N, D]` that are already in memory."""
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    centred = features - mean
    return Moments(len(features), mean, centred.T @ centred / max(len(features) - 1, 1))
