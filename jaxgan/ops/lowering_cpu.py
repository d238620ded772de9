"""The three maps as matrix products, for CPUs.

Every map is a product between linear transforms of its arguments (`schemes.py`), after space-to-depth has made the
stride one (kernel 4 stride 2 becomes kernel 2). Which transforms are best depends on the map and on the shape; an
estimate of the time decides.
"""

from __future__ import annotations

from itertools import product
from math import prod

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.ops.geometry import Geometry, accumulator
from jaxgan.ops.schemes import Columns, Minimal, Spread, pad, transposed


class Blocks:
    """Space-to-depth: a strided convolution as one of stride one over blocks of `stride` pixels."""

    def __init__(self, geometry: Geometry):
        self.geometry = geometry
        self.phases = tuple(map(min, geometry.kernel, geometry.stride))
        self.taps = tuple(-(-k // s) for k, s in zip(geometry.kernel, geometry.stride, strict=True))

    def input(self, x: jax.Array, blocks) -> jax.Array:
        """[N, *S, C] -> [N, *blocks, prod(phases) * C]."""
        g = self.geometry
        x = pad(x, [(0, 0), *self._margins(blocks), (0, 0)])
        x = _split(x, 1, blocks, g.stride)
        x = x[(..., *map(slice, self.phases), slice(None))]
        return x.reshape(*x.shape[: 1 + len(blocks)], -1)

    def input_adjoint(self, x: jax.Array, blocks) -> jax.Array:
        """Adjoint of `input`."""
        g = self.geometry
        x = x.reshape(*x.shape[: 1 + len(blocks)], *self.phases, -1)
        if self.phases != g.stride:
            missing = [(0, s - p) for s, p in zip(g.stride, self.phases, strict=True)]
            x = pad(x, [(0, 0)] * (1 + len(blocks)) + missing + [(0, 0)])
        x = _merge(x, 1, len(blocks))
        return pad(x, [(0, 0), *((-low, -high) for low, high in self._margins(blocks)), (0, 0)])

    def _margins(self, blocks):
        g = self.geometry
        axes = zip(g.size, blocks, g.stride, g.padding, strict=True)
        return [(low, b * s - n - low) for n, b, s, (low, _) in axes]

    def kernel(self, w: jax.Array) -> jax.Array:
        """[*K, C, O] -> [*taps, prod(phases) * C, O]."""
        w = pad(w, [*self._excess(), (0, 0), (0, 0)])
        return _split(w, 0, self.taps, self.phases).reshape(*self.taps, -1, w.shape[-1])

    def kernel_adjoint(self, w: jax.Array) -> jax.Array:
        """Adjoint of `kernel`."""
        w = _merge(w.reshape(*self.taps, *self.phases, -1, w.shape[-1]), 0, len(self.taps))
        return pad(w, [*((0, -high) for _, high in self._excess()), (0, 0), (0, 0)])

    def _excess(self):
        axes = zip(self.taps, self.phases, self.geometry.kernel, strict=True)
        return [(0, t * p - k) for t, p, k in axes]


# The time of an element gathered into windows, of each piece of them (they are copied piece by piece, shorter ones than
# four elements slowly), of an element added where windows overlap, and of one transformed, in operations of a matrix
# product.
_GATHERED, _PIECE, _SHORT_PIECE, _ADDED, _TRANSFORMED = 300, 300, 2500, 150, 200

# Windows of neighbours must promise to gain this much: their kernels are made first, and hold zeros.
_FOLDED = 1.25

# A pixel of few channels is transformed as slowly as one of so many more.
_FEW = 16

# Samples reckoned with in a program for any number of them: as `inference.sampling` makes small images.
_ANY_BATCH = 64

# Neighbouring outputs that may share a row of windows.
FOLDS = (1, 2, 4, 8)


def choose(
    name: str, geometry: Geometry, samples: int, channels: int, features: int
) -> tuple[Blocks, Columns | Spread | Minimal]:
    """The scheme that should take the least time for a map, where an update takes all three; `docs/performance.md` has
    the measurements behind the estimate."""
    blocks = Blocks(geometry)
    if not isinstance(samples, int):
        samples = _ANY_BATCH  # jax.export with a symbolic batch: an estimate must be a number
    sizes = samples, channels * prod(blocks.phases), features
    windowed = {name: _windowed(name, blocks.taps, geometry.output, *sizes) for name in MAPS}
    # With fewer channels a transform moves more than the products save; more taps lose digits.
    if min(channels, features) >= 8 and 1 < max(blocks.taps) <= 3:
        cost, scheme = _minimal(blocks.taps, geometry.output, *sizes)
        if cost < sum(cost for cost, _ in windowed.values()):
            return blocks, scheme
    return blocks, windowed[name][1]


def _windowed(name: str, taps, size, samples: int, inputs: int, features: int) -> tuple[float, Columns | Spread]:
    """The cheapest scheme of windows for a map, and its cost. A map whose result has windows adds them up; others
    gather them."""
    costs: dict[Columns | Spread, float] = {}
    for kind, side, other, adding in ((Columns, inputs, features, "Cx"), (Spread, features, inputs, "C")):
        for fold in FOLDS:
            scheme = kind(taps, size, fold)
            elements, pieces = samples * scheme.gathered * side, samples * scheme.pieces
            copies = pieces * (_PIECE if scheme.shortest * side >= 4 else _SHORT_PIECE)
            moved = elements * _ADDED if name == adding else elements * _GATHERED + copies
            costs[scheme] = (moved + 2 * elements * fold * other) * (_FOLDED if fold > 1 else 1)
    scheme = min(costs, key=costs.__getitem__)
    return costs[scheme], scheme


def _minimal(taps, size, samples: int, inputs: int, features: int) -> tuple[float, Minimal]:
    """The cheapest tile, and the cost of the three maps together: they share the transforms of what they have in
    common, so that each side is transformed twice, there and back."""

    def cost(scheme: Minimal, maps: int, transforms: int, few: int) -> float:
        rows = samples * prod(scheme.tiles)
        products = rows * inputs * features
        moved = rows * (inputs + features + 2 * few) + inputs * features
        return scheme.points * (maps * products * _operations(products) + transforms * moved * _TRANSFORMED)

    scheme = min((Minimal(taps, size, tile) for tile in _tiles(taps)), key=lambda scheme: cost(scheme, 1, 1, 0))
    return cost(scheme, 3, 2, _FEW), scheme


def _tiles(taps):
    """Tiles to choose from; larger ones than these lose another digit."""
    return product(*[(1,) if t == 1 else (2, 3) if t == 3 else (2, 4) for t in taps])


def _operations(products: int) -> float:
    """Operations that one multiplication and addition takes the time of. XLA shares each matrix of a stack among
    threads (never the stack), and leaves small ones to one thread."""
    return 4 if products < 2**23 else 2.7 if products < 2**24 else 2


def forward(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """`C(x, w) = G* (X W)`."""
    samples = x.shape[0]
    blocks, scheme = choose("C", geometry, samples, *w.shape[-2:])
    dtype = geometry.matmul_dtype or x.dtype
    x, w = scheme.input(blocks.input(x, scheme.blocks), dtype), scheme.kernel(blocks.kernel(w), dtype)
    y = _dot(x, w, 2, 1)
    return scheme.output_adjoint(y, samples)


def input_adjoint(geometry: Geometry, g: jax.Array, w: jax.Array) -> jax.Array:
    """`Cx(g, w) = X* (G W')`."""
    blocks, scheme = choose("Cx", geometry, g.shape[0], *w.shape[-2:])
    dtype = geometry.matmul_dtype or g.dtype
    x = _dot(scheme.output(g, dtype), scheme.kernel(blocks.kernel(w), dtype), 2, 2)
    return blocks.input_adjoint(scheme.input_adjoint(x, g.shape[0]), scheme.blocks)


def weight_adjoint(geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    """`Cw(x, g) = W* (X' G)`."""
    blocks, scheme = choose("Cw", geometry, x.shape[0], x.shape[-1], g.shape[-1])
    dtype = geometry.matmul_dtype or x.dtype
    x = scheme.input(blocks.input(x, scheme.blocks), dtype)
    w = scheme.kernel_adjoint(_dot_transposed(x, scheme.output(g, dtype)))
    return blocks.kernel_adjoint(w.reshape(*blocks.taps, -1, g.shape[-1]))


def compute(name: str, geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the maps, with transforms in float32 at least: a CPU emulates additions in shorter types."""
    return MAPS[name](geometry, a.astype(accumulator(a.dtype)), b.astype(accumulator(b.dtype)))


MAPS = {"C": forward, "Cx": input_adjoint, "Cw": weight_adjoint}


def _dot(a: jax.Array, b: jax.Array, left: int, right: int) -> jax.Array:
    """Products of the matrices in two stacks, summed over the axes `left` and `right`."""
    axes = (((left,), (right,)), ((0,), (0,)))
    return lax.dot_general(a, b, axes, preferred_element_type=accumulator(a.dtype))


# A matrix of more elements than this is not transposed in memory, but by the product: 32 MiB in float32.
_OUT_OF_CACHE = 2**23


def _dot_transposed(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a' b` with as little transposed as can be: the fast kernel wants the summed axis of `a` last. The transpose is
    joined with what makes the matrix, unless that is so large that a pass over memory costs more than a slower
    kernel."""
    (points, rows, i), o = a.shape, b.shape[2]
    exact = jnp.finfo(a.dtype).bits >= 32
    if exact and isinstance(rows, int) and points * rows * min(i, o) >= _OUT_OF_CACHE:
        return _dot(a, b, 1, 1) if i <= o else lax.optimization_barrier(_dot(b, a, 1, 1)).mT
    if rows * i <= rows * o + i * o:
        return _dot(transposed(a), b, 2, 1)
    return lax.optimization_barrier(_dot(transposed(b), a, 2, 1)).mT


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
