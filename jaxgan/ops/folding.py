"""Columns folded into channels, for images of few channels on a TPU.

A TPU lays channels out over 128 lanes, so an image of one channel fills one lane in 128: it takes 128 times its
memory, and a convolution over it leaves the matrix unit idle. `f` neighbouring columns of the input, and the
`f / stride` columns of the output that belong to them, become channels, as many as fill the lanes, 8 at most
and 4 at least. Both are reshapes. What is left is a convolution of stride one along the folded axis, whose kernel holds
the weights at the places where an input column meets an output column (a block of a Toeplitz matrix), and zeros.

The kernel is a linear image of the weights, `T w`, so the three maps stay three maps:

    C(x, w) = C'(x, T w),    Cx(g, w) = Cx'(g, T w),    Cw(x, g) = T* Cw'(x, g).
"""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.ops.geometry import Geometry

LANES = 128
# Input columns that become channels at most: more zeros in the kernel than these cost more than they gain. And at
# least: two gain nothing. `docs/performance.md` has what is expected of them.
MOST, LEAST = 8, 4
# In smaller images the way between folded and plain layers costs more than the layers: at 64x64 a whole iteration was
# expected to take longer, at 32x32x32 and 256x256 less (`docs/performance.md`).
LEAST_PIXELS = 128 * 128


def fold(geometry: Geometry, channels: int, features: int) -> int:
    """How many columns of its input a convolution folds into channels; 1 where that is not worth it, or cannot be.

    Args:
      geometry: of the convolution.
      channels: of its input.
      features: of its output.
    """
    size, stride, output = geometry.size[-1], geometry.stride[-1], geometry.output[-1]
    if prod(geometry.size) < LEAST_PIXELS or output * stride != size:
        return 1
    columns = MOST
    while columns * channels > LANES or columns // stride * features > LANES:
        columns //= 2
    return columns if columns >= LEAST and size % columns == 0 and columns % stride == 0 else 1


class Folded:
    """A convolution with its last axis folded: the geometry of what is left, and the way there and back.

    Args:
      geometry: of the convolution.
      fold: columns of its input that become channels, as `fold` says.
    """

    def __init__(self, geometry: Geometry, fold: int):
        columns = fold // geometry.stride[-1]
        taps, stride, (low, _) = geometry.kernel[-1], geometry.stride[-1], geometry.padding[-1]
        # The input column that a tap of an output column reads, counted from the first column of its block.
        reads = np.arange(columns)[:, None] * stride + np.arange(taps) - low
        blocks, places = np.divmod(reads, fold)
        first, last = min(int(blocks.min()), 0), max(int(blocks.max()), 0)
        self.toeplitz = np.zeros((last - first + 1, fold, columns, taps))
        for column, tap in np.ndindex(reads.shape):
            self.toeplitz[blocks[column, tap] - first, places[column, tap], column, tap] = 1
        self.original = geometry
        self.geometry = geometry._replace(
            size=(*geometry.size[:-1], geometry.size[-1] // fold),
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
        folded = self._sum("bprt,...tco->...bpcro", w)
        return folded.reshape(*folded.shape[:-4], folded.shape[-4] * w.shape[-2], -1)

    def kernel_adjoint(self, w: jax.Array, channels: int) -> jax.Array:
        """`T* w`, back to `[*K, k, C, O]`."""
        _, fold, columns, _ = self.toeplitz.shape
        w = w.reshape(*w.shape[:-2], fold, channels, columns, -1)
        return self._sum("bprt,...bpcro->...tco", w)

    def _sum(self, indices: str, w: jax.Array) -> jax.Array:
        # A TPU multiplies float32 rounded to bfloat16 unless it is told not to: here weights are chosen and added up.
        return jnp.einsum(indices, jnp.asarray(self.toeplitz, w.dtype), w, precision=jax.lax.Precision.HIGHEST)


def compute_folded(maps, name: str, geometry: Geometry, fold: int, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the three maps by its folded twin.

    Args:
      maps: `maps[name](geometry, a, b)` computes a map that is not folded.
      name: "C", "Cx" or "Cw".
      geometry: of the convolution.
      fold: columns of its input that become channels, as `fold` says.
      a: first operand of the map.
      b: second operand.
    """
    folded = Folded(geometry, fold)
    compute = maps[name]
    if name == "Cw":
        channels = a.shape[-1]
        return folded.kernel_adjoint(compute(folded.geometry, folded.images(a), folded.images(b)), channels)
    result = compute(folded.geometry, folded.images(a), folded.kernel(b))
    return folded.unfold(result, geometry.output[-1] if name == "C" else geometry.size[-1])
