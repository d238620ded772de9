"""Columns folded into channels, for images of few channels on a TPU.

A TPU lays channels out over 128 lanes, so an image of one channel fills one lane in 128: it takes 128 times its
memory, and a convolution over it leaves the matrix unit idle. `f = 8` neighbouring columns of the input, and the
`f / stride` columns of the output that belong to them, become channels. Both are reshapes. What is left is a
convolution of stride one along the folded axis, whose kernel holds the weights at the places where an input column
meets an output column (a block of a Toeplitz matrix), and zeros.

The kernel is a linear image of the weights, `T w`, so the three maps stay three maps:

    C(x, w) = C'(x, T w),    Cx(g, w) = Cx'(g, T w),    Cw(x, g) = T* Cw'(x, g).
"""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.ops.geometry import Geometry

# Input columns that become channels; `docs/performance.md` has what it gains.
FOLD = 8
# More channels than these fill the lanes well enough by themselves, and smaller images cost little.
MOST_CHANNELS, LEAST_PIXELS = 4, 64 * 64


def folds(geometry: Geometry, channels: int) -> bool:
    """Whether a convolution of images with so many channels is worth folding, and can be."""
    size, stride, output = geometry.size[-1], geometry.stride[-1], geometry.output[-1]
    divides = size % FOLD == 0 and FOLD % stride == 0 and output * stride == size
    return divides and channels <= MOST_CHANNELS and prod(geometry.size) >= LEAST_PIXELS


class Folded:
    """A convolution with its last axis folded: the geometry of what is left, and the way there and back.

    Args:
      geometry: of the convolution; `folds` must hold.
    """

    def __init__(self, geometry: Geometry):
        columns = FOLD // geometry.stride[-1]
        taps, stride, (low, _) = geometry.kernel[-1], geometry.stride[-1], geometry.padding[-1]
        # The input column that a tap of an output column reads, counted from the first column of its block.
        reads = np.arange(columns)[:, None] * stride + np.arange(taps) - low
        blocks, places = np.divmod(reads, FOLD)
        first, last = min(int(blocks.min()), 0), max(int(blocks.max()), 0)
        self.toeplitz = np.zeros((last - first + 1, FOLD, columns, taps))
        for column, tap in np.ndindex(reads.shape):
            self.toeplitz[blocks[column, tap] - first, places[column, tap], column, tap] = 1
        self.original = geometry
        self.geometry = geometry._replace(
            size=(*geometry.size[:-1], geometry.size[-1] // FOLD),
            kernel=(*geometry.kernel[:-1], last - first + 1),
            stride=(*geometry.stride[:-1], 1),
            padding=(*geometry.padding[:-1], (-first, last)),
        )

    def images(self, x: jax.Array) -> jax.Array:
        """Images in or out: `[N, *S, W, C]` to `[N, *S, W / f, f C]`, whatever share of the columns a block has."""
        blocks = self.geometry.size[-1]
        return x.reshape(*x.shape[:-2], blocks, -1)

    def unfold(self, x: jax.Array, columns: int) -> jax.Array:
        """Back to so many columns."""
        return x.reshape(*x.shape[:-2], columns, -1)

    def kernel(self, w: jax.Array) -> jax.Array:
        """`T w`: `[*K, k, C, O]` to `[*K, blocks, f C, f / stride O]`."""
        toeplitz = jnp.asarray(self.toeplitz, w.dtype)
        folded = jnp.einsum("bprt,...tco->...bpcro", toeplitz, w)
        return folded.reshape(*folded.shape[:-4], FOLD * w.shape[-2], -1)

    def kernel_adjoint(self, w: jax.Array, channels: int) -> jax.Array:
        """`T* w`, back to `[*K, k, C, O]`."""
        columns = self.toeplitz.shape[2]
        w = w.reshape(*w.shape[:-2], FOLD, channels, columns, -1)
        return jnp.einsum("bprt,...bpcro->...tco", jnp.asarray(self.toeplitz, w.dtype), w)


def compute_folded(maps, name: str, geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the three maps by its folded twin.

    Args:
      maps: `maps[name](geometry, a, b)` computes a map that is not folded.
      name: "C", "Cx" or "Cw".
      geometry: of the convolution; `folds` must hold.
      a: first operand of the map.
      b: second operand.
    """
    folded = Folded(geometry)
    compute = maps[name]
    if name == "Cw":
        channels = a.shape[-1]
        return folded.kernel_adjoint(compute(folded.geometry, folded.images(a), folded.images(b)), channels)
    result = compute(folded.geometry, folded.images(a), folded.kernel(b))
    return folded.unfold(result, geometry.output[-1] if name == "C" else geometry.size[-1])
