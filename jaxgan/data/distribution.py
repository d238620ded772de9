"""Distribution of the values of a set of images: counted exactly, compared in the units of the data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

# As many bins as uint16 has values: the histogram is exact for integer data and 1/65,536 of the range for floats.
BINS = 65536


def count_values(images: jax.Array | np.ndarray, weights: jax.Array | np.ndarray, bins: int = BINS) -> jax.Array:
    """Histogram of a batch over [-1, 1]; pure, for use inside `jit`.

    Args:
      images: `[N, *spatial, C]` in [-1, 1].
      weights: `[N]` int32 of 0 (left out) or 1.
      bins: how many.

    Returns:
      `[C, bins]` int32; bin b is centred at `-1 + 2 b / (bins - 1)`.
    """
    channels = images.shape[-1]
    index = jnp.clip(jnp.rint((images + 1.0) * ((bins - 1) / 2)), 0, bins - 1).astype(jnp.int32)
    index = index + jnp.expand_dims(bins * jnp.arange(channels, dtype=jnp.int32), range(images.ndim - 1))
    each = jnp.broadcast_to(weights.reshape(-1, *[1] * (images.ndim - 1)), images.shape)
    counts = jnp.zeros(channels * bins, jnp.int32).at[index.reshape(-1)].add(each.reshape(-1).astype(jnp.int32))
    return counts.reshape(channels, bins)


def wasserstein(real: np.ndarray, generated: np.ndarray, span: float) -> float:
    """1-D Wasserstein distance between two value distributions: by how much a value is off on average.

    Args:
      real: `[C, bins]` counts.
      generated: `[C, bins]` counts.
      span: width of the range [-1, 1] in the units of the data.

    Returns:
      The distance in these units, the mean over channels.
    """
    shares = [np.cumsum(h, axis=1) / h.sum(axis=1, keepdims=True) for h in (real, generated)]
    return float(np.abs(shares[0] - shares[1]).sum(axis=1).mean() * span / (real.shape[1] - 1))


def value_moments(counts: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of the values behind `[C, bins]` counts, on the scale [-1, 1]."""
    share = counts.sum(axis=0) / counts.sum()
    values = np.linspace(-1.0, 1.0, counts.shape[1])
    mean = float(share @ values)
    return mean, float(np.sqrt(share @ (values - mean) ** 2))
