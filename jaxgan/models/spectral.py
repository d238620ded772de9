"""Spectral normalisation: a property of a layer's weights, beside any norm of its activations."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array

# One collection holds everything that a network remembers beside its parameters: running means and variances,
# and the singular vectors of spectral normalisation.
STATS = "batch_stats"


def spectral_normalise(module: nn.Module, kernel: Array, train: bool) -> Array:
    """`kernel / sigma`, with sigma the largest singular value of the kernel as a matrix [inputs * taps, outputs].

    This bounds the matrix, as in the paper, not the convolution as a map of images, whose norm is at most the square
    root of the number of taps times as large (and for most kernels somewhat above 1): a critic of such layers has a
    bounded slope, but not the bound 1.

    One power iteration a training pass, its right vector kept in `batch_stats`; the vectors are constants of the
    derivative, sigma is not (Miyato et al. 2018, arXiv:1802.05957, appendix A). The kernel itself is never changed.

    Args:
      module: the layer that owns the kernel; gets the variable `singular_vector`, `[outputs]`.
      kernel: `[..., outputs]`.
      train: whether to iterate; otherwise the stored vector is used as it is.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def start() -> Array:
        vector = jax.random.normal(module.make_rng("params"), (kernel.shape[-1],))
        return vector / jnp.linalg.norm(vector)

    stored = module.variable(STATS, "singular_vector", start)
    fixed = jax.lax.stop_gradient(matrix)
    left = fixed @ stored.value
    left = left * jax.lax.rsqrt(jnp.sum(left**2) + 1e-12)
    right = left @ fixed
    right = right * jax.lax.rsqrt(jnp.sum(right**2) + 1e-12)
    if train and not module.is_initializing():
        stored.value = right
    return kernel / (left @ matrix @ right)
