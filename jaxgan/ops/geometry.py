"""The shape of a strided convolution, resolved once and shared by its three maps."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

Padding = str | Sequence[tuple[int, int]]


class Geometry(NamedTuple):
    """Static description of a convolution; hashable, one entry per spatial axis."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    matmul_dtype: jnp.dtype | None = None

    @classmethod
    def resolve(cls, size, kernel, stride, padding: Padding, matmul_dtype=None) -> Geometry:
        """Check the arguments of a convolution against each other and fill in per-axis values.

        Raises:
            ValueError: naming the argument that does not fit.
        """
        size, kernel = tuple(map(int, size)), tuple(map(int, kernel))
        rank = len(size)
        if rank not in (1, 2, 3) or len(kernel) != rank:
            raise ValueError(f"images of spatial shape {size} need a kernel of the same rank 1, 2 or 3, not {kernel}")
        stride = (int(stride),) * rank if np.ndim(stride) == 0 else tuple(map(int, stride))
        if len(stride) != rank or min(stride) < 1:
            raise ValueError(f"stride {stride} must be positive, one entry for each of {rank} axes")
        if isinstance(padding, str):
            if padding not in ("SAME", "VALID"):
                raise ValueError(f"padding must be 'SAME', 'VALID' or a pair (low, high) per axis, not {padding!r}")
            same = padding == "SAME"
            padding = tuple(_same(*axis) if same else (0, 0) for axis in zip(size, kernel, stride, strict=True))
        padding = tuple((int(low), int(high)) for low, high in padding)
        if len(padding) != rank:
            raise ValueError(f"padding {padding} must hold a pair (low, high) for each of {rank} axes")
        dtype = None if matmul_dtype is None else jnp.dtype(matmul_dtype)
        geometry = cls(size, kernel, stride, padding, dtype)
        if min(geometry.output) < 1:
            raise ValueError(f"a kernel {kernel} with padding {padding} does not fit into images of shape {size}")
        return geometry

    @property
    def output(self) -> tuple[int, ...]:
        """Spatial shape of the result of the convolution."""
        axes = zip(self.size, self.kernel, self.stride, self.padding, strict=True)
        return tuple((n + low + high - k) // s + 1 for n, k, s, (low, high) in axes)

    def check_output(self, shape: Sequence[int]) -> None:
        """Raise ValueError unless `shape` is the spatial shape of the convolution's result."""
        if tuple(shape) != self.output:
            raise ValueError(f"got images of spatial shape {tuple(shape)} where the convolution gives {self.output}")


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """Dtype in which products of this dtype are summed: float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
