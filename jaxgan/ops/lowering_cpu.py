"""The three maps as matrix products, for CPUs.

The three maps are the partial derivatives of one trilinear form, `<C(x, w), g>`. A *scheme* writes that form
as a sum of `R` ordinary matrix products between linear transforms of its three arguments,

    <C(x, w), g>  =  sum_r  < X_r(x) W_r(w),  G_r(g) >,      X_r(x): [P, I],  W_r(w): [I, O],  G_r(g): [P, O],

and each map follows by transposition: `C = G* (X W)`, `Cx = X* (G W')`, `Cw = W* (X' G)`. Two schemes
suffice:

`Columns` (R = 1) gathers the window of every output pixel into one row. It is right where transforms do not
pay: few channels, few pixels, large kernels.

`Minimal` is Winograd's minimal filtering. Space-to-depth makes the stride one (kernel 4 stride 2 becomes
kernel 2), and along each axis two neighbouring outputs of a kernel with two taps are had with three products
in place of four, of a kernel with three taps with four in place of six. So kernel 4 stride 2 takes 9/16 of
the products in 2D, 27/64 in 3D, and the transforms, additions only, move less memory than columns would.
S. Winograd, Arithmetic Complexity of Computations (1980); A. Lavin and S. Gray, arXiv:1509.09308.
"""

from __future__ import annotations

from itertools import product
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.ops.geometry import Geometry, accumulator

# Cook-Toom points 0, 1, infinity and 0, 1, -1, infinity. Rows are products; columns are the inputs of a
# tile, the taps of the kernel and the two outputs of a tile:
# sum_r (INPUT x)_r (KERNEL w)_r OUTPUT_rj = x_j w_0 + x_(j+1) w_1 + ...
_INPUT = {
    1: np.array([[1]]),
    2: np.array([[1, -1, 0], [0, 1, 0], [0, -1, 1]]),
    3: np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]]),
}
_KERNEL = {
    1: np.array([[1]]),
    2: np.array([[1, 0], [1, 1], [0, 1]]),
    3: np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]]),
}
_OUTPUT = {
    1: np.array([[1]]),
    2: np.array([[1, 0], [1, 1], [0, 1]]),
    3: np.array([[1, 0], [1, 1], [1, -1], [0, -1]]),
}


class Columns:
    """One product over the gathered windows of all output pixels."""

    def __init__(self, taps, size):
        self.taps, self.size = taps, size  # of the kernel and of the output, in blocks
        self.blocks = tuple(n + t - 1 for n, t in zip(size, taps, strict=True))

    def input(self, x: jax.Array) -> jax.Array:
        """Blocks `[N, *blocks, I]` to `X`: `[R, P, I]`."""
        windows = []
        for tap in product(*map(range, self.taps)):
            stop = (i + n for i, n in zip(tap, self.size, strict=True))
            windows.append(lax.slice(x, (0, *tap, 0), (x.shape[0], *stop, x.shape[-1])))
        x = lax.concatenate(windows, x.ndim - 1)
        return x.reshape(1, -1, x.shape[-1])

    def input_adjoint(self, z: jax.Array, samples: int) -> jax.Array:
        """`[R, P, I]` to blocks `[N, *blocks, I]`."""
        parts = jnp.split(z.reshape(samples, *self.size, -1), prod(self.taps), axis=-1)
        x = 0
        for tap, part in zip(product(*map(range, self.taps)), parts, strict=True):
            margins = [(i, t - 1 - i) for i, t in zip(tap, self.taps, strict=True)]
            x = x + _pad(part, [(0, 0), *margins, (0, 0)])
        return x

    def kernel(self, w: jax.Array) -> jax.Array:
        """Kernel `[*taps, I, O]` to `W`: `[R, I, O]`."""
        return w.reshape(1, -1, w.shape[-1])

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """`[R, I, O]` to a kernel whose axes, flattened, are those of `[*taps, I, O]`."""
        return w.reshape(*self.taps, -1, w.shape[-1])

    def output(self, g: jax.Array) -> jax.Array:
        """Outputs `[N, *size, O]` to `G`: `[R, P, O]`."""
        return g.reshape(1, -1, g.shape[-1])

    def output_adjoint(self, y: jax.Array, samples: int) -> jax.Array:
        """`[R, P, O]` to outputs `[N, *size, O]`."""
        return y.reshape(samples, *self.size, -1)


class Minimal:
    """Winograd's minimal filtering: one product for each point of a tile of two outputs along each axis."""

    def __init__(self, taps, size):
        self.taps, self.size = taps, size  # of the kernel and of the output, in blocks
        self.tile = tuple(min(t, 2) for t in taps)
        self.tiles = tuple(-(-n // m) for n, m in zip(size, self.tile, strict=True))
        self.blocks = tuple(m * n + t - 1 for m, n, t in zip(self.tile, self.tiles, taps, strict=True))

    def input(self, x: jax.Array) -> jax.Array:
        """Blocks `[N, *blocks, I]` to `X`: `[R, P, I]`."""
        return self._analyse(_INPUT, x, 1, self.tile, self.tiles)

    def input_adjoint(self, z: jax.Array, samples: int) -> jax.Array:
        """`[R, P, I]` to blocks `[N, *blocks, I]`."""
        return self._synthesise(_INPUT, z, (samples,), self.tile, self.tiles, self.blocks)

    def kernel(self, w: jax.Array) -> jax.Array:
        """Kernel `[*taps, I, O]` to `W`: `[R, I, O]`."""
        return self._analyse(_KERNEL, w, 0, self.taps, (1,) * len(self.taps))

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """`[R, I, O]` to a kernel whose axes, flattened, are those of `[*taps, I, O]`."""
        w = w.reshape(w.shape[0], 1, -1)
        return self._synthesise(_KERNEL, w, (), self.taps, (1,) * len(self.taps), self.taps)

    def output(self, g: jax.Array) -> jax.Array:
        """Outputs `[N, *size, O]` to `G`: `[R, P, O]`."""
        axes = zip(self.tile, self.tiles, self.size, strict=True)
        g = _pad(g, [(0, 0), *((0, m * n - o) for m, n, o in axes), (0, 0)])
        return self._analyse(_OUTPUT, g, 1, self.tile, self.tiles)

    def output_adjoint(self, y: jax.Array, samples: int) -> jax.Array:
        """`[R, P, O]` to outputs `[N, *size, O]`."""
        return self._synthesise(_OUTPUT, y, (samples,), self.tile, self.tiles, self.size)

    def _analyse(self, matrices, a, first, step, count) -> jax.Array:
        """Cut windows that start every `step` along each axis, times a matrix: `[R, rows, columns]`."""
        rows = 1 if first else a.shape[-2]
        a = lax.optimization_barrier(a)
        for i, (taps, s, n) in enumerate(zip(self.taps, step, count, strict=True)):
            matrix, axis = matrices[taps], first + 2 * i
            parts = [lax.slice_in_dim(a, j, j + (n - 1) * s + 1, s, axis) for j in range(matrix.shape[1])]
            a = lax.optimization_barrier(jnp.stack(_combine(matrix, parts)))
        return a.reshape(prod(a.shape[: len(count)]), -1 if first else rows, a.shape[-1])

    def _synthesise(self, matrices, a, lead, step, count, size) -> jax.Array:
        """Adjoint of `_analyse`."""
        points = [len(matrices[t]) for t in self.taps]
        a = a.reshape(*points[::-1], *lead, *count, -1)
        for i in reversed(range(len(count))):
            matrix, axis, cells = matrices[self.taps[i]], i + len(lead) + i, -(-size[i] // step[i])
            places = [0] * step[i]
            for j, part in enumerate(_combine(matrix.T, list(a))):
                shift, place = divmod(j, step[i])
                margins = [(0, 0)] * part.ndim
                margins[axis] = (shift, cells - count[i] - shift)
                places[place] = places[place] + _pad(part, margins)
            a = jnp.stack(places, axis + 1)
            a = a.reshape(*a.shape[:axis], -1, *a.shape[axis + 2 :])
            a = lax.optimization_barrier(lax.slice_in_dim(a, 0, size[i], axis=axis))
        return a


class Blocks:
    """Space-to-depth: a strided convolution as one of stride one over blocks of `stride` pixels."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        self.phases = tuple(map(min, geometry.kernel, geometry.stride))
        self.taps = tuple(-(-k // s) for k, s in zip(geometry.kernel, geometry.stride, strict=True))

    def input(self, x: jax.Array, blocks) -> jax.Array:
        """[N, *S, C] -> [N, *blocks, prod(phases) * C]."""
        g = self.geometry
        x = _pad(x, [(0, 0), *self._margins(blocks), (0, 0)])
        x = _split(x, 1, blocks, g.stride)
        x = x[(..., *map(slice, self.phases), slice(None))]
        return x.reshape(*x.shape[: 1 + len(blocks)], -1)

    def input_adjoint(self, x: jax.Array, blocks) -> jax.Array:
        """Adjoint of `input`."""
        g = self.geometry
        x = x.reshape(*x.shape[: 1 + len(blocks)], *self.phases, -1)
        if self.phases != g.stride:
            missing = [(0, s - p) for s, p in zip(g.stride, self.phases, strict=True)]
            x = _pad(x, [(0, 0)] * (1 + len(blocks)) + missing + [(0, 0)])
        x = _merge(x, 1, len(blocks))
        return _pad(x, [(0, 0), *((-low, -high) for low, high in self._margins(blocks)), (0, 0)])

    def _margins(self, blocks):
        g = self.geometry
        axes = zip(g.size, blocks, g.stride, g.padding, strict=True)
        return [(low, b * s - n - low) for n, b, s, (low, _) in axes]

    def kernel(self, w: jax.Array) -> jax.Array:
        """[*K, C, O] -> [*taps, prod(phases) * C, O]."""
        w = _pad(w, [*self._excess(), (0, 0), (0, 0)])
        return _split(w, 0, self.taps, self.phases).reshape(*self.taps, -1, w.shape[-1])

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """Adjoint of `kernel`."""
        w = _merge(w.reshape(*self.taps, *self.phases, -1, w.shape[-1]), 0, len(self.taps))
        return _pad(w, [*((0, -high) for _, high in self._excess()), (0, 0), (0, 0)])

    def _excess(self):
        axes = zip(self.taps, self.phases, self.geometry.kernel, strict=True)
        return [(0, t * p - k) for t, p, k in axes]


def _scheme(geometry: Geometry, samples: int, channels: int, features: int) -> tuple[Blocks, Columns | Minimal]:
    """The scheme that takes the least time; `docs/performance.md` has the measurements behind the limits."""
    blocks = Blocks(geometry)
    few_channels = min(channels, features) < 8
    # The transform of the kernel costs the same however few pixels share it.
    few_pixels = samples * prod(geometry.output) <= 512
    no_transform = max(blocks.taps) > 3 or max(blocks.taps) == 1
    columns = few_channels or few_pixels or no_transform
    return blocks, (Columns if columns else Minimal)(blocks.taps, geometry.output)


def forward(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """`C(x, w) = G* (X W)`."""
    samples = x.shape[0]
    blocks, scheme = _scheme(geometry, samples, *w.shape[-2:])
    x, w = scheme.input(blocks.input(x, scheme.blocks)), scheme.kernel(blocks.kernel(w))
    y = _dot(x, w, 2, 1, geometry.product_dtype)
    return scheme.output_adjoint(y, samples)


def input_adjoint(geometry: Geometry, g: jax.Array, w: jax.Array) -> jax.Array:
    """`Cx(g, w) = X* (G W')`."""
    blocks, scheme = _scheme(geometry, g.shape[0], *w.shape[-2:])
    x = _dot(scheme.output(g), scheme.kernel(blocks.kernel(w)), 2, 2, geometry.product_dtype)
    return blocks.input_adjoint(scheme.input_adjoint(x, g.shape[0]), scheme.blocks)


def weight_adjoint(geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    """`Cw(x, g) = W* (X' G)`."""
    blocks, scheme = _scheme(geometry, x.shape[0], x.shape[-1], g.shape[-1])
    x = scheme.input(blocks.input(x, scheme.blocks))
    w = scheme.kernel_adjoint(_dot_transposed(x, scheme.output(g), geometry.product_dtype))
    return blocks.kernel_adjoint(w.reshape(*blocks.taps, -1, g.shape[-1]))


def compute(name: str, geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the maps, with transforms in float32 at least: a CPU emulates additions in shorter types."""
    return MAPS[name](geometry, a.astype(accumulator(a.dtype)), b.astype(accumulator(b.dtype)))


MAPS = {"C": forward, "Cx": input_adjoint, "Cw": weight_adjoint}


def _dot(a: jax.Array, b: jax.Array, left: int, right: int, dtype=None) -> jax.Array:
    """Products of the matrices in two stacks, summed over the axes `left` and `right`."""
    axes = (((left,), (right,)), ((0,), (0,)))
    if dtype is not None:
        a, b = a.astype(dtype), b.astype(dtype)
    return lax.dot_general(a, b, axes, preferred_element_type=accumulator(a.dtype))


def _dot_transposed(a: jax.Array, b: jax.Array, dtype=None) -> jax.Array:
    """`a' b` with as little transposed as can be: the fast kernel wants the summed axis of `a` last."""
    (_, rows, i), o = a.shape, b.shape[2]
    if rows * i <= rows * o + i * o:
        return _dot(lax.optimization_barrier(a.mT), b, 2, 1, dtype)
    return lax.optimization_barrier(_dot(lax.optimization_barrier(b.mT), a, 2, 1, dtype)).mT


def _combine(matrix: np.ndarray, parts: list[jax.Array]) -> list[jax.Array]:
    """Product of a small matrix with a vector of arrays."""
    combined = []
    for row in matrix:
        pairs = zip(row, parts, strict=True)
        terms = [part if c == 1 else -part if c == -1 else float(c) * part for c, part in pairs if c]
        combined.append(sum(terms[1:], terms[0]))
    return combined


def _pad(a: jax.Array, widths) -> jax.Array:
    """Pad with zeros; negative widths crop."""
    return lax.pad(a, jnp.zeros((), a.dtype), [(low, high, 0) for low, high in widths])


def _split(a: jax.Array, first: int, counts, sizes) -> jax.Array:
    """Cut axes into cells: `[.., *(counts * sizes), ..]` becomes `[.., *counts, *sizes, ..]`."""
    rank = len(sizes)
    pairs = [d for pair in zip(counts, sizes, strict=True) for d in pair]
    a = a.reshape(*a.shape[:first], *pairs, *a.shape[first + rank :])
    order = [first + 2 * i for i in range(rank)] + [first + 2 * i + 1 for i in range(rank)]
    return a.transpose(*range(first), *order, *range(first + 2 * rank, a.ndim))


def _merge(a: jax.Array, first: int, rank: int) -> jax.Array:
    """Inverse of `_split`: [.., *counts, *sizes, ..] -> [.., *(counts * sizes), ..]."""
    order = [axis for i in range(rank) for axis in (first + i, first + rank + i)]
    sizes = [a.shape[first + i] * a.shape[first + rank + i] for i in range(rank)]
    rest = range(first + 2 * rank, a.ndim)
    return a.transpose(*range(first), *order, *rest).reshape(*a.shape[:first], *sizes, *(a.shape[i] for i in rest))
