"""The convolutions and matrix products of a program, counted by arithmetic from its jaxpr.

XLA's own count takes the body of every loop once and, on some backends, multiplications by the zeros of a dilated
image.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

import numpy as np
from jax.core import ShapedArray
from jax.extend import core
from jax.interpreters import partial_eval


class Product(NamedTuple):
    """One convolution or matrix product.

    Attributes:
      form: "C", "Cx" or "Cw" for the three maps of a convolution (a convolution of stride one is a "C" in any of them),
        "dot" for matrix products.
      flops: operations of one run, two for each multiplication of values that are neither padding nor inserted zeros.
      bytes: of its operands and its result, in the dtype of the operands.
      times: how often a program runs it; the body of a loop of unknown length counts once.
    """

    form: str
    flops: int
    bytes: int
    times: int


def products(jaxpr: core.Jaxpr, times: int = 1) -> Iterator[Product]:
    """The products that a jaxpr's results need.

    Of `lax.cond` they are those of the branch with most work. Of `lax.platform_dependent` they are those of the branch
    with least, the CPU's apart: GPU and TPU have each map as one convolution, but may add zeros that suit them.
    """
    # Derivatives leave products that nothing reads, which XLA drops too. Loops are looked into one by one.
    jaxpr, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    for eqn in jaxpr.eqns:
        name, params = eqn.primitive.name, eqn.params
        if name == "conv_general_dilated":
            yield _convolution(eqn, times)
        elif name == "dot_general":
            (left, _), _ = params["dimension_numbers"]
            summed = prod(_array(eqn.invars[0]).shape[axis] for axis in left)
            yield Product("dot", 2 * summed * _array(eqn.outvars[0]).size, _bytes(eqn), times)
        elif name == "cond":
            branches = [list(products(branch.jaxpr, times)) for branch in params["branches"]]
            if platforms := params.get("branches_platforms"):
                native = [
                    branch for branch, names in zip(branches, platforms, strict=True) if "cpu" not in (names or ())
                ]
                yield from min(native, key=total_flops)
            else:
                yield from max(branches, key=total_flops)
        else:
            inner = times * params["length"] if name == "scan" else times
            for value in params.values():
                for part in value if isinstance(value, tuple | list) else (value,):
                    part = getattr(part, "jaxpr", part)
                    if isinstance(part, core.Jaxpr):
                        yield from products(part, inner)


def total_flops(found: list[Product]) -> int:
    """Operations of all of them."""
    return sum(product.flops * product.times for product in found)


def roofline_seconds(found: list[Product], peak: float, bandwidth: float) -> float:
    """The time of all products where each takes what its operations or its bytes need, whichever is more.

    What lies between products costs nothing here, so a real iteration takes longer.
    """
    return sum(product.times * max(product.flops / peak, product.bytes / bandwidth) for product in found)


def _array(operand: core.Var | core.Literal) -> ShapedArray:
    assert isinstance(operand.aval, ShapedArray)  # products are of arrays
    return operand.aval


def _bytes(eqn: core.JaxprEqn) -> int:
    size = max(_array(operand).dtype.itemsize for operand in eqn.invars)
    return size * sum(_array(operand).size for operand in (*eqn.invars, *eqn.outvars))


def _convolution(eqn: core.JaxprEqn, times: int) -> Product:
    params, (lhs, rhs), out = eqn.params, map(_array, eqn.invars), _array(eqn.outvars[0])
    layout = params["dimension_numbers"]
    images, taps, results = (
        [aval.shape[axis] for axis in spec[2:]]
        for aval, spec in ((lhs, layout.lhs_spec), (rhs, layout.rhs_spec), (out, layout.out_spec))
    )
    axes = zip(
        images, taps, results, params["window_strides"], params["padding"],
        params["lhs_dilation"], params["rhs_dilation"], strict=True,
    )  # fmt: skip
    met = prod(_meetings(*axis) for axis in axes)
    batch, features = (out.shape[axis] for axis in layout.out_spec[:2])
    inputs = rhs.shape[layout.rhs_spec[1]]
    form = "Cx" if max(params["lhs_dilation"]) > 1 else "Cw" if max(params["rhs_dilation"]) > 1 else "C"
    return Product(form, 2 * met * batch * features * inputs, _bytes(eqn), times)


def _meetings(size, taps, outputs, stride, padding, lhs_dilation, rhs_dilation) -> int:
    """Along one axis, how many pairs of an output and a tap read a value of the image."""
    at = np.arange(outputs)[:, None] * stride + np.arange(taps) * rhs_dilation - padding[0]
    return int(((at >= 0) & (at <= (size - 1) * lhs_dilation) & (at % lhs_dilation == 0)).sum())
