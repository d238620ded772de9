"""Ways to write a convolution of stride one as matrix products.

The three maps (`conv.py`) are the partial derivatives of one trilinear form, `<C(x, w), g>`. A *scheme* writes that
form as a sum of `R` ordinary matrix products between linear transforms of its three arguments,

    <C(x, w), g>  =  sum_r  < X_r(x) W_r(w),  G_r(g) >,      X_r(x): [P, I],  W_r(w): [I, O],  G_r(g): [P, O],

and each map follows by transposition: `C = G* (X W)`, `Cx = X* (G W')`, `Cw = W* (X' G)`. Two schemes
suffice:

`Columns` (R = 1) gathers the window of every output pixel into one row. It is right where transforms do not
pay: few channels, few pixels, large kernels.

`Minimal` is Winograd's minimal filtering: along each axis, `m` neighbouring outputs of a kernel with `t` taps are had
with `m + t - 1` products in place of `m t`. So a kernel 4 with stride 2 takes 9/16 of the products in 2D with tiles of
two outputs, 25/64 with tiles of four, and the transforms move less memory than columns would.
S. Winograd, Arithmetic Complexity of Computations (1980); A. Lavin and S. Gray, arXiv:1509.09308.
"""

from __future__ import annotations

from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.ops.toom_cook import matrices


class Columns:
    """One product over the gathered windows of all output pixels."""

    def __init__(self, taps, size):
        self.taps, self.size = taps, size  # of the kernel and of the output, in blocks
        self.blocks = tuple(n + t - 1 for n, t in zip(size, taps, strict=True))

    def input(self, x: jax.Array, dtype) -> jax.Array:
        """Blocks `[N, *blocks, I]` to `X`: `[R, P, I]`, of `dtype`."""
        x = x.astype(dtype)
        windows = []
        for tap in product(*map(range, self.taps)):
            stop = (i + n for i, n in zip(tap, self.size, strict=True))
            windows.append(lax.slice(x, (0, *tap, 0), (x.shape[0], *stop, x.shape[-1])))
        x = lax.concatenate(windows, x.ndim - 1)
        return x.reshape(1, -1, x.shape[-1])

    def input_adjoint(self, z: jax.Array, samples: int) -> jax.Array:
        """`[R, P, I]` to blocks `[N, *blocks, I]`."""
        parts = jnp.split(z.reshape(samples, *self.size, -1), prod(self.taps), axis=-1)
        x: jax.Array | int = 0
        for tap, part in zip(product(*map(range, self.taps)), parts, strict=True):
            margins = [(i, t - 1 - i) for i, t in zip(tap, self.taps, strict=True)]
            x = x + pad(part, [(0, 0), *margins, (0, 0)])
        return jnp.asarray(x)

    def kernel(self, w: jax.Array, dtype) -> jax.Array:
        """Kernel `[*taps, I, O]` to `W`: `[R, I, O]`."""
        return w.astype(dtype).reshape(1, -1, w.shape[-1])

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """`[R, I, O]` to a kernel whose axes, flattened, are those of `[*taps, I, O]`."""
        return w.reshape(*self.taps, -1, w.shape[-1])

    def output(self, g: jax.Array, dtype) -> jax.Array:
        """Outputs `[N, *size, O]` to `G`: `[R, P, O]`."""
        return g.astype(dtype).reshape(1, -1, g.shape[-1])

    def output_adjoint(self, y: jax.Array, samples: int) -> jax.Array:
        """`[R, P, O]` to outputs `[N, *size, O]`."""
        return y.reshape(samples, *self.size, -1)


class Minimal:
    """Winograd's minimal filtering: one product for each point of a tile of outputs."""

    def __init__(self, taps, size, tile):
        self.taps, self.size = taps, size  # of the kernel and of the output, in blocks
        self.tile = tile  # outputs along each axis
        self.points = prod(m + t - 1 for m, t in zip(tile, taps, strict=True))
        self.tiles = tuple(-(-n // m) for n, m in zip(size, self.tile, strict=True))
        self.blocks = tuple(m * n + t - 1 for m, n, t in zip(self.tile, self.tiles, taps, strict=True))

    def input(self, x: jax.Array, dtype) -> jax.Array:
        """Blocks `[N, *blocks, I]` to `X`: `[R, P, I]`."""
        return self._analyse("input", x, 1, self.tile, self.tiles, dtype)

    def input_adjoint(self, z: jax.Array, samples: int) -> jax.Array:
        """`[R, P, I]` to blocks `[N, *blocks, I]`."""
        return self._synthesise("input", z, (samples,), self.tile, self.tiles, self.blocks)

    def kernel(self, w: jax.Array, dtype) -> jax.Array:
        """Kernel `[*taps, I, O]` to `W`: `[R, I, O]`."""
        return self._analyse("kernel", w, 0, self.taps, (1,) * len(self.taps), dtype)

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """`[R, I, O]` to a kernel whose axes, flattened, are those of `[*taps, I, O]`."""
        w = w.reshape(w.shape[0], 1, -1)
        return self._synthesise("kernel", w, (), self.taps, (1,) * len(self.taps), self.taps)

    def output(self, g: jax.Array, dtype) -> jax.Array:
        """Outputs `[N, *size, O]` to `G`: `[R, P, O]`."""
        axes = zip(self.tile, self.tiles, self.size, strict=True)
        g = pad(g, [(0, 0), *((0, m * n - o) for m, n, o in axes), (0, 0)])
        return self._analyse("output", g, 1, self.tile, self.tiles, dtype)

    def output_adjoint(self, y: jax.Array, samples: int) -> jax.Array:
        """`[R, P, O]` to outputs `[N, *size, O]`."""
        return self._synthesise("output", y, (samples,), self.tile, self.tiles, self.size)

    def _matrices(self, which):
        return [getattr(matrices(m, t), which) for m, t in zip(self.tile, self.taps, strict=True)]

    def _analyse(self, which, a, first, step, count, dtype) -> jax.Array:
        """Cut windows that start every `step` along each axis, times a matrix: `[R, rows, columns]`."""
        rows = 1 if first else a.shape[-2]
        a = lax.optimization_barrier(a)
        for i, (matrix, s, n) in enumerate(zip(self._matrices(which), step, count, strict=True)):
            axis = first + 2 * i
            parts = [lax.slice_in_dim(a, j, j + (n - 1) * s + 1, s, axis) for j in range(matrix.shape[1])]
            # Rounded where it is computed: what is stored is half as large.
            a = jnp.stack(_combine(matrix, parts))
            a = lax.optimization_barrier(a.astype(dtype) if i == len(count) - 1 else a)
        return a.reshape(prod(a.shape[: len(count)]), -1 if first else rows, a.shape[-1])

    def _synthesise(self, which, a, lead, step, count, size) -> jax.Array:
        """Adjoint of `_analyse`."""
        axes = self._matrices(which)
        a = a.reshape(*(len(matrix) for matrix in reversed(axes)), *lead, *count, -1)
        for i, matrix in reversed(list(enumerate(axes))):
            axis, cells = i + len(lead) + i, -(-size[i] // step[i])
            places = [0] * step[i]
            for j, part in enumerate(_combine(matrix.T, list(a))):
                shift, place = divmod(j, step[i])
                margins = [(0, 0)] * part.ndim
                margins[axis] = (shift, cells - count[i] - shift)
                places[place] = places[place] + pad(part, margins)
            a = jnp.stack(places, axis + 1)
            a = a.reshape(*a.shape[:axis], -1, *a.shape[axis + 2 :])
            a = lax.optimization_barrier(lax.slice_in_dim(a, 0, size[i], axis=axis))
        return a


def _combine(matrix: np.ndarray, parts: list[jax.Array]) -> list[jax.Array]:
    """Product of a small matrix with a vector of arrays."""
    combined = []
    for row in matrix:
        pairs = zip(row, parts, strict=True)
        terms = [part if c == 1 else -part if c == -1 else float(c) * part for c, part in pairs if c]
        combined.append(sum(terms[1:], terms[0]))
    return combined


def pad(a: jax.Array, widths) -> jax.Array:
    """Pad with zeros; negative widths crop."""
    return lax.pad(a, jnp.zeros((), a.dtype), [(low, high, 0) for low, high in widths])
