"""The three maps as native convolutions, in the forms that XLA recognises and hands to library kernels."""

from __future__ import annotations

import jax
from jax import lax

from jaxgan.ops.geometry import Geometry, accumulator

SPATIAL = {1: "W", 2: "HW", 3: "DHW"}


def _convolve(lhs, rhs, layout, **windows) -> jax.Array:
    return lax.conv_general_dilated(
        lhs, rhs, dimension_numbers=layout, preferred_element_type=accumulator(lhs.dtype), **windows
    )


def forward(geometry: Geometry, x: jax.Array, w: jax.Array) -> jax.Array:
    """`C(x, w)`: a strided convolution without dilation."""
    s = SPATIAL[len(geometry.size)]
    return _convolve(x, w, (f"N{s}C", f"{s}IO", f"N{s}C"), window_strides=geometry.stride, padding=geometry.padding)


def input_adjoint(geometry: Geometry, g: jax.Array, w: jax.Array) -> jax.Array:
    """`Cx(g, w)`: the reflected kernel slides over images dilated by the stride."""
    s = SPATIAL[len(geometry.size)]
    axes = zip(geometry.size, geometry.output, geometry.kernel, geometry.stride, geometry.padding, strict=True)
    padding = [(k - 1 - low, n + low - (out - 1) * t - 1) for n, out, k, t, (low, _) in axes]
    return _convolve(
        g,
        lax.rev(w, range(len(s))),
        (f"N{s}C", f"{s}OI", f"N{s}C"),
        window_strides=(1,) * len(s),
        padding=padding,
        lhs_dilation=geometry.stride,
    )


def weight_adjoint(geometry: Geometry, x: jax.Array, g: jax.Array) -> jax.Array:
    """`Cw(x, g)`: samples are summed over, and `g`, dilated by the stride, is the kernel."""
    s = SPATIAL[len(geometry.size)]
    axes = zip(geometry.size, geometry.output, geometry.kernel, geometry.stride, geometry.padding, strict=True)
    padding = [(low, (out - 1) * t + k - n - low) for n, out, k, t, (low, _) in axes]
    return _convolve(
        x,
        g,
        (f"C{s}N", f"I{s}O", f"{s}NC"),
        window_strides=(1,) * len(s),
        padding=padding,
        rhs_dilation=geometry.stride,
    )


MAPS = {"C": forward, "Cx": input_adjoint, "Cw": weight_adjoint}


def compute(name: str, geometry: Geometry, a: jax.Array, b: jax.Array) -> jax.Array:
    """One of the maps, of operands rounded to the dtype of the products."""
    return MAPS[name](geometry, a.astype(geometry.product_dtype), b.astype(geometry.product_dtype))
