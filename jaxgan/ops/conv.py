"""Strided convolution as three bilinear maps that are closed under differentiation.

A strided convolution `y = C(x, w)` is linear in the image and in the kernel, so it has two adjoints,

    <C(x, w), g>  =  <x, Cx(g, w)>  =  <w, Cw(x, g)>,

and every derivative of each of the three maps is again one of the three:

    map         adjoint in its first argument     adjoint in its second argument
    C(x, w)     g  ->  Cx(g, w)                   g  ->  Cw(x, g)
    Cx(g, w)    x  ->  C(x, w)                    x  ->  Cw(x, g)
    Cw(x, g)    w  ->  Cx(g, w)                   w  ->  C(x, w)

Each map is a `jax.custom_vjp` whose backward pass calls the other two. Derivatives of any order (a gradient
penalty needs the second) therefore stay within three forms that every backend can run fast, where the
derivatives that JAX would derive leave them: the weight gradient of a zero-dilated convolution is a form
that no library has a kernel for.

`Cx` is the transposed convolution. How a map is computed is chosen when the program is lowered, by the platform
that it is lowered for: on CPU as matrix products (`lowering_cpu.py`), on GPU and TPU as one native convolution in the
form that XLA hands to cuDNN or to the matrix unit (`lowering_native.py`), on TPU with the columns of images of few
channels folded into channels (`folding.py`).

What may differ between the platforms is rounding alone. Operands are rounded to `matmul_dtype` and products summed in
float32 everywhere, and the result has the dtype of the first operand everywhere. But minimal filtering on CPU rounds
after its transforms and loses up to a digit; and a GPU rounds the sums to `matmul_dtype` even where the result is
float32, because cuDNN has no kernels that give float32 for bfloat16.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextvars import ContextVar
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.ops import lowering_cpu, lowering_native
from jaxgan.ops.geometry import Geometry, Padding

__all__ = ["conv", "conv_transpose", "conv_weight_adjoint", "lowering"]

_LOWERING: ContextVar[str] = ContextVar("jaxgan_conv_lowering", default="auto")


def conv(
    x: jax.Array,
    w: jax.Array,
    *,
    stride: int | Sequence[int] = 1,
    padding: Padding = "SAME",
    matmul_dtype: jnp.dtype | None = None,
) -> jax.Array:
    """Strided convolution `C(x, w)` (cross-correlation, as in every network library).

    Args:
        x: images `[N, *S, Cin]` of rank one, two or three.
        w: kernel `[*K, Cin, Cout]`.
        stride: one step for all axes, or one per axis.
        padding: "SAME", "VALID" or a pair (low, high) per axis.
        matmul_dtype: dtype to which the operands are rounded before they are multiplied; sums are kept in
            float32 (a GPU rounds the finished sums to it).

    Returns:
        Images `[N, *S', Cout]` in the dtype of `x`.
    """
    geometry = Geometry.resolve(x.shape[1:-1], w.shape[:-2], stride, padding, matmul_dtype)
    return _map("C")(geometry, x, w)


def conv_transpose(
    g: jax.Array,
    w: jax.Array,
    *,
    stride: int | Sequence[int],
    padding: Padding,
    output_shape: Sequence[int],
    matmul_dtype: jnp.dtype | None = None,
) -> jax.Array:
    """Transposed convolution: the adjoint `Cx(g, w)` of `conv` in its images.

    Args:
        g: images `[N, *S', Cout]`, shaped as `conv` with the same arguments would return them.
        w: kernel `[*K, Cin, Cout]`, as for `conv`.
        stride: one step for all axes, or one per axis.
        padding: that of `conv`; "SAME" is resolved against `output_shape`.
        output_shape: spatial shape `S` of the result.
        matmul_dtype: as for `conv`.

    Returns:
        Images `[N, *S, Cin]` in the dtype of `g`.
    """
    geometry = Geometry.resolve(output_shape, w.shape[:-2], stride, padding, matmul_dtype)
    geometry.check_output(g.shape[1:-1])
    return _map("Cx")(geometry, g, w)


def conv_weight_adjoint(
    x: jax.Array,
    g: jax.Array,
    *,
    kernel_shape: Sequence[int],
    stride: int | Sequence[int],
    padding: Padding,
    matmul_dtype: jnp.dtype | None = None,
) -> jax.Array:
    """Adjoint `Cw(x, g)` of `conv` in its kernel.

    Args:
        x: images `[N, *S, Cin]`, the input of `conv`.
        g: images `[N, *S', Cout]`, shaped as the output of `conv`.
        kernel_shape: spatial shape `K` of the kernel.
        stride: as for `conv`.
        padding: as for `conv`.
        matmul_dtype: as for `conv`.

    Returns:
        Kernel `[*K, Cin, Cout]` in the dtype of `x`.
    """
    geometry = Geometry.resolve(x.shape[1:-1], kernel_shape, stride, padding, matmul_dtype)
    geometry.check_output(g.shape[1:-1])
    return _map("Cw")(geometry, x, g)


@contextlib.contextmanager
def lowering(kind: str):
    """Choose how convolutions traced in this context are computed.

    Args:
        kind: "auto", the three closed maps lowered per backend; or "plain", JAX's own convolution with JAX's
            own derivatives, which exists for comparison only. A function already traced keeps what it was
            traced with.
    """
    if kind not in ("auto", "plain"):
        raise ValueError(f"lowering must be 'auto' or 'plain', not {kind!r}")
    token = _LOWERING.set(kind)
    try:
        yield
    finally:
        _LOWERING.reset(token)


def _map(name: str):
    return lowering_native.MAPS[name] if _LOWERING.get() == "plain" else _CLOSED[name]


def _computed(name: str, geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the three maps, computed the way the backend likes best; never differentiated."""
    if geometry.matmul_dtype is None:
        geometry = geometry._replace(matmul_dtype=a.dtype)

    def computed_by(compute):
        return lambda a, b: compute(name, geometry, a, b).astype(a.dtype)

    return lax.platform_dependent(
        a,
        b,
        cpu=computed_by(lowering_cpu.compute),
        tpu=computed_by(lowering_native.compute_tpu),
        default=computed_by(lowering_native.compute_gpu),
    )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _forward(geometry, x, w):
    return _computed("C", geometry, x, w)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _input_adjoint(geometry, g, w):
    return _computed("Cx", geometry, g, w)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _weight_adjoint(geometry, x, g):
    return _computed("Cw", geometry, x, g)


_CLOSED = {"C": _forward, "Cx": _input_adjoint, "Cw": _weight_adjoint}


def _close(map_, first, second):
    """Give a bilinear map its derivatives: `first(geometry, a, b, cotangent)` and `second`, the two
    adjoints."""

    def fwd(geometry, a, b):
        return map_(geometry, a, b), (a, b)

    def bwd(geometry, operands, cotangent):
        a, b = operands
        return first(geometry, a, b, cotangent).astype(a.dtype), second(geometry, a, b, cotangent).astype(b.dtype)

    map_.defvjp(fwd, bwd)


_close(
    _forward,
    lambda geometry, x, w, g: _input_adjoint(geometry, g, w),
    lambda geometry, x, w, g: _weight_adjoint(geometry, x, g),
)
_close(
    _input_adjoint,
    lambda geometry, g, w, x: _forward(geometry, x, w),
    lambda geometry, g, w, x: _weight_adjoint(geometry, x, g),
)
_close(
    _weight_adjoint,
    lambda geometry, x, g, w: _input_adjoint(geometry, g, w),
    lambda geometry, x, g, w: _forward(geometry, x, w),
)
