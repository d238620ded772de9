"""The three maps as native convolutions, in the forms that XLA recognises and hands to library kernels.

A GPU and a TPU want bfloat16 asked for differently, though both sum its products in float32:

- XLA:GPU hands a convolution to cuDNN only where operands and result have one dtype. Asked for a float32 result of
  bfloat16 operands, it converts both operands to float32 first, and then recognises neither the input adjoint nor a
  bias to fuse. So the result is asked for in the operands' dtype: cuDNN sums in float32 and rounds once, at the end.
- The matrix unit of a TPU multiplies bfloat16 and adds float32 as it is, and its compiler fuses the rounding of the
  result into whatever reads it. So the result is asked for in float32, and nothing is rounded that need not be.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.ops.folding import compute_folded, fold
from jaxgan.ops.geometry import Geometry, accumulator

SPATIAL = {1: "W", 2: "HW", 3: "DHW"}


def forward(geometry: Geometry, x: jax.Array, w: jax.Array, result: jnp.dtype | None = None) -> jax.Array:
    """`C(x, w)`: a strided convolution without dilation; `result` is its dtype, None for that of the operands."""
    s = SPATIAL[len(geometry.size)]
    return lax.conv_general_dilated(
        x,
        w,
        dimension_numbers=(f"N{s}C", f"{s}IO", f"N{s}C"),
        window_strides=geometry.stride,
        padding=geometry.padding,
        preferred_element_type=result,
    )


def input_adjoint(geometry: Geometry, g: jax.Array, w: jax.Array, result: jnp.dtype | None = None) -> jax.Array:
    """`Cx(g, w)`: the reflected kernel slides over images dilated by the stride."""
    s = SPATIAL[len(geometry.size)]
    axes = zip(geometry.size, geometry.output, geometry.kernel, geometry.stride, geometry.padding, strict=True)
    padding = [(k - 1 - low, n + low - (out - 1) * t - 1) for n, out, k, t, (low, _) in axes]
    return lax.conv_general_dilated(
        g,
        lax.rev(w, range(len(s))),
        dimension_numbers=(f"N{s}C", f"{s}OI", f"N{s}C"),
        window_strides=(1,) * len(s),
        padding=padding,
        lhs_dilation=geometry.stride,
        preferred_element_type=result,
    )


def weight_adjoint(geometry: Geometry, x: jax.Array, g: jax.Array, result: jnp.dtype | None = None) -> jax.Array:
    """`Cw(x, g)`: samples are summed over, and `g`, dilated by the stride, is the kernel."""
    s = SPATIAL[len(geometry.size)]
    axes = zip(geometry.size, geometry.output, geometry.kernel, geometry.stride, geometry.padding, strict=True)
    padding = [(low, (out - 1) * t + k - n - low) for n, out, k, t, (low, _) in axes]
    return lax.conv_general_dilated(
        x,
        g,
        dimension_numbers=(f"C{s}N", f"I{s}O", f"{s}NC"),
        window_strides=(1,) * len(s),
        padding=padding,
        rhs_dilation=geometry.stride,
        preferred_element_type=result,
    )


MAPS = {"C": forward, "Cx": input_adjoint, "Cw": weight_adjoint}


def compute_gpu(name: str, geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the maps, of operands rounded to the dtype of the products, and rounded to it itself."""
    a, b = a.astype(geometry.matmul_dtype), b.astype(geometry.matmul_dtype)
    if name == "Cw":
        geometry, b = _outgrow_kernel(geometry, b)
    return MAPS[name](geometry, a, b)


def compute_tpu(name: str, geometry: Geometry, a: jax.Array, b: jax.Array, columns: int | None = None) -> jax.Array:
    """One of the maps, of operands rounded to the dtype of the products, in the dtype of their sums.

    Args:
      name: "C", "Cx" or "Cw".
      geometry: of the convolution.
      a: first operand of the map.
      b: second operand.
      columns: how many to fold into channels; None: what `folding.fold` says.
    """
    a, b = a.astype(geometry.matmul_dtype), b.astype(geometry.matmul_dtype)
    result = accumulator(a.dtype)
    maps = {name: partial(compute, result=result) for name, compute in MAPS.items()}
    if columns is None:
        columns = fold(geometry, *((a.shape[-1], b.shape[-1]) if name == "Cw" else b.shape[-2:]))
    return compute_folded(maps, name, geometry, columns, a, b) if columns > 1 else maps[name](geometry, a, b)


def _outgrow_kernel(geometry: Geometry, g: jax.Array) -> tuple[Geometry, jax.Array]:
    """The same weight adjoint with zeros below `g` along the first axis, where all of `g` is no larger than the kernel.

    There XLA:GPU takes the adjoint for a forward convolution with a dilated kernel (8x8 to 4x4 with a kernel of 4 is
    one), for which cuDNN has no fast kernel; it looks at sizes alone.
    """
    missing = geometry.kernel[0] + 1 - geometry.output[0]
    dilated = max(geometry.stride) > 1
    if not dilated or any(out > k for out, k in zip(geometry.output, geometry.kernel, strict=True)):
        return geometry, g
    (low, high), *others = geometry.padding
    g = jnp.pad(g, [(0, 0), (0, missing)] + [(0, 0)] * (g.ndim - 2))
    return geometry._replace(padding=((low, high + missing * geometry.stride[0]), *others)), g
