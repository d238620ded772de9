"""The image resizer that FID was defined with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np


def tf1_bilinear_matrix(size_in: int, size_out: int) -> np.ndarray:
    """Bilinear interpolation of TensorFlow 1 (no half-pixel centres, no antialiasing) as `[size_out, size_in]`.

    FID's published values hang on this resizer: others change the distance by whole points (Parmar et al. 2022).
    """
    # float32 throughout, as TensorFlow computed the positions.
    position = np.arange(size_out, dtype=np.float32) * np.float32(size_in / size_out)
    low = position.astype(np.int64)
    high = np.minimum(low + 1, size_in - 1)
    fraction = position - low.astype(np.float32)
    matrix = np.zeros((size_out, size_in), np.float32)
    rows = np.arange(size_out)
    np.add.at(matrix, (rows, low), 1 - fraction)
    np.add.at(matrix, (rows, high), fraction)
    return matrix


def resize_tf1(images: jax.Array, size: int) -> jax.Array:
    """Resizes `[N, H, W, C]` to `[N, size, size, C]` like TensorFlow 1's `resize_bilinear`."""
    rows, columns = (jnp.asarray(tf1_bilinear_matrix(n, size)) for n in images.shape[1:3])
    return jnp.einsum("yh,nhwc,xw->nyxc", rows, images, columns, precision=jax.lax.Precision.HIGHEST)
