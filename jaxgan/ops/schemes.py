"""Ways to write a convolution of stride one as matrix products.

The three maps (`conv.py`) are the partial derivatives of one trilinear form, `<C(x, w), g>`. A *scheme* writes that
form as a sum of `R` ordinary matrix products between linear transforms of its three arguments,

    <C(x, w), g>  =  sum_r  < X_r(x) W_r(w),  G_r(g) >,      X_r(x): [P, I],  W_r(w): [I, O],  G_r(g): [P, O],

and each map follows by transposition: `C = G* (X W)`, `Cx = X* (G W')`, `Cw = W* (X' G)`. Three schemes
suffice:

`Columns` (R = 1) gathers the window of every output pixel, or of a few neighbours, into one row. It is right where
transforms do not pay: few channels, few pixels, large kernels. `Spread` does that with the windows of the output.

`Minimal` is Winograd's minimal filtering: along each axis, `m` neighbouring outputs of a kernel with `t` taps are had
with `m + t - 1` products in place of `m t`. So a kernel 4 with stride 2 takes 9/16 of the products in 2D with tiles of
two outputs, 25/64 with tiles of four, and the transforms move less memory than columns would.
S. Winograd, Arithmetic Complexity of Computations (1980); A. Lavin and S. Gray, arXiv:1509.09308.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.ops.toom_cook import matrices


class Columns:
    """One product over the gathered windows of all output pixels.

    With `fold` above 1 a row holds the window of so many neighbouring outputs along the last axis. They share most of
    it, so less is gathered, in longer pieces; the kernel becomes a block of a Toeplitz matrix, with zeros where an
    output does not look.
    """

    def __init__(self, taps, size, fold: int = 1):
        self.taps, self.size, self.fold = taps, size, fold  # taps and size in blocks
        self.groups, self.halo = -(-size[-1] // fold), taps[-1] - 1
        # Whole groups along the last axis: windows are then two pieces of reshaped rows.
        self.blocks = (
            *(n + t - 1 for n, t in zip(size[:-1], taps[:-1], strict=True)),
            (self.groups + -(-self.halo // fold)) * fold,
        )
        rows = prod(size[:-1]) * self.groups * prod(taps[:-1])
        self.gathered, self.pieces = rows * (fold + self.halo), rows * (1 + -(-self.halo // fold))  # of a sample
        self.shortest = self.halo % fold or fold  # of the pieces, in blocks

    def input(self, x: jax.Array, dtype) -> jax.Array:
        """Blocks `[N, *blocks, I]` to `X`: `[R, P, I]`, of `dtype`."""
        x = self._grouped(x.astype(dtype), self.blocks[-1])
        windows = []
        for corner, width in self._pieces(x.shape[-1]):
            stop = (i + n for i, n in zip(corner, (*self.size[:-1], self.groups), strict=True))
            windows.append(lax.slice(x, (0, *corner, 0), (x.shape[0], *stop, width)))
        x = lax.concatenate(windows, x.ndim - 1)
        return x.reshape(1, -1, x.shape[-1])

    def input_adjoint(self, z: jax.Array, samples: int) -> jax.Array:
        """`[R, P, I]` to blocks `[N, *blocks, I]`."""
        channels = z.shape[-1] // (prod(self.taps[:-1]) * (self.fold + self.halo))
        z = z.reshape(samples, *self.size[:-1], self.groups, -1)
        counts = (*self.blocks[:-1], self.blocks[-1] // self.fold)
        x: jax.Array | int = 0
        start = 0
        for corner, width in self._pieces(self.fold * channels):
            part = lax.slice_in_dim(z, start, start + width, axis=z.ndim - 1)
            margins = [(i, n - i - m) for i, n, m in zip(corner, counts, z.shape[1:-1], strict=True)]
            x = x + pad(part, [(0, 0), *margins, (0, self.fold * channels - width)])
            start += width
        return jnp.asarray(x).reshape(samples, *self.blocks, channels)

    def kernel(self, w: jax.Array, dtype) -> jax.Array:
        """Kernel `[*taps, I, O]` to `W`: `[R, I, O]`."""
        w = w.astype(dtype)
        if self.fold > 1:
            margins = [[(0, 0)] * (w.ndim - 3) + [(i, self.fold - 1 - i), (0, 0), (0, 0)] for i in range(self.fold)]
            w = jnp.stack([pad(w, widths) for widths in margins], w.ndim - 1)
        return w.reshape(1, prod(self.taps[:-1]) * (self.fold + self.halo) * w.shape[len(self.taps)], -1)

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """`[R, I, O]` to a kernel whose axes, flattened, are those of `[*taps, I, O]`."""
        w = w.reshape(prod(self.taps[:-1]), self.fold + self.halo, -1, self.fold, w.shape[-1] // self.fold)
        parts = [lax.slice_in_dim(w[:, :, :, i], i, i + self.taps[-1], axis=1) for i in range(self.fold)]
        return sum(parts[1:], parts[0]).reshape(*self.taps, -1, w.shape[-1])

    def output(self, g: jax.Array, dtype) -> jax.Array:
        """Outputs `[N, *size, O]` to `G`: `[R, P, O]`."""
        g = pad(g, [*[(0, 0)] * (g.ndim - 2), (0, self.groups * self.fold - self.size[-1]), (0, 0)])
        return g.astype(dtype).reshape(1, -1, self.fold * g.shape[-1])

    def output_adjoint(self, y: jax.Array, samples: int) -> jax.Array:
        """`[R, P, O]` to outputs `[N, *size, O]`."""
        y = y.reshape(samples, *self.size[:-1], self.groups * self.fold, -1)
        return lax.slice_in_dim(y, 0, self.size[-1], axis=y.ndim - 2)

    def _grouped(self, x: jax.Array, count: int) -> jax.Array:
        return x.reshape(*x.shape[:-2], count // self.fold, -1)

    def _pieces(self, width: int) -> Iterator[tuple[tuple[int, ...], int]]:
        """The corner, and how much of a group of `width` channels, of each piece of a window, in their order."""
        for tap in product(*map(range, self.taps[:-1])):
            yield (*tap, 0), width
            for start in range(0, self.halo, self.fold):
                yield (*tap, 1 + start // self.fold), min(self.fold, self.halo - start) * width // self.fold


class Spread:
    """`Columns` of the adjoint: one product, whose windows are gathered of the outputs, to which a pixel is spread. It
    is right where the output has fewer channels than the input."""

    def __init__(self, taps, size, fold: int = 1):
        blocks = [n + t - 1 for n, t in zip(size, taps, strict=True)]
        self.blocks = (*blocks[:-1], -(-blocks[-1] // fold) * fold)
        self.taps, self.size, self.fold = taps, size, fold
        self.adjoint = Columns(taps, self.blocks, fold)
        self.gathered, self.pieces, self.shortest = (
            getattr(self.adjoint, n) for n in ("gathered", "pieces", "shortest")
        )

    def input(self, x: jax.Array, dtype) -> jax.Array:
        """Blocks `[N, *blocks, I]` to `X`: `[R, P, I]`, of `dtype`."""
        return self.adjoint.output(x, dtype)

    def input_adjoint(self, z: jax.Array, samples: int) -> jax.Array:
        """`[R, P, I]` to blocks `[N, *blocks, I]`."""
        return self.adjoint.output_adjoint(z, samples)

    def kernel(self, w: jax.Array, dtype) -> jax.Array:
        """Kernel `[*taps, I, O]` to `W`: `[R, I, O]`."""
        return transposed(self.adjoint.kernel(self._turned(w), dtype))

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """`[R, I, O]` to a kernel whose axes, flattened, are those of `[*taps, I, O]`."""
        return self._turned(self.adjoint.kernel_adjoint(w.mT))

    def output(self, g: jax.Array, dtype) -> jax.Array:
        """Outputs `[N, *size, O]` to `G`: `[R, P, O]`."""
        return self.adjoint.input(pad(g, [(0, 0), *self._margins(), (0, 0)]), dtype)

    def output_adjoint(self, y: jax.Array, samples: int) -> jax.Array:
        """`[R, P, O]` to outputs `[N, *size, O]`."""
        y = self.adjoint.input_adjoint(y, samples)
        return pad(y, [(0, 0), *((-low, -high) for low, high in self._margins()), (0, 0)])

    def _turned(self, w: jax.Array) -> jax.Array:
        return lax.rev(w, range(len(self.taps))).swapaxes(-1, -2)

    def _margins(self) -> list[tuple[int, int]]:
        axes = zip(self.taps, self.size, self.adjoint.blocks, strict=True)
        return [(t - 1, blocks - n - t + 1) for t, n, blocks in axes]


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


def transposed(a: jax.Array) -> jax.Array:
    """`a'` of each matrix of a stack, in memory. XLA takes a mere transpose into a product of bfloat16, which then runs
    in float32; a reshape keeps the two apart."""
    if jnp.finfo(a.dtype).bits >= 32:
        return lax.optimization_barrier(a.mT)
    a = lax.optimization_barrier(a).mT
    return lax.optimization_barrier(a.reshape(a.shape[0], -1)).reshape(a.shape)
