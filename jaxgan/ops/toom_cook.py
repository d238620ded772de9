"""Minimal filtering along one axis: the three small matrices of Toom and Cook's bilinear algorithm."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np

# Where the polynomials are evaluated besides infinity, by the number of products: of short binary fractions those that
# keep the rounding error smallest.
_POINTS = {1: (), 2: (0,), 3: (5 / 8, -5 / 8), 4: (0, 1, -1), 5: (3 / 8, -3 / 8, 5 / 4, -5 / 4)}


class Matrices(NamedTuple):
    """Rows are products; columns are the inputs of a tile, the taps of the kernel and the outputs of a tile."""

    input: np.ndarray
    kernel: np.ndarray
    output: np.ndarray


@cache
def matrices(outputs: int, taps: int) -> Matrices:
    """`F(outputs, taps)` with `n = outputs + taps - 1` products in place of `outputs * taps`:

        sum_r (input x)_r (kernel w)_r output_rj  =  x_j w_0 + x_(j+1) w_1 + ...

    The product of two polynomials, known from its values at `n` points, is the adjoint of this sum in `x`; so kernel
    and output are matrices of powers of the points, and the input's is their inverse, transposed.

    Where operands are rounded after their transforms, the variance of the error along an axis is
    `sum_r |input_r|^2 |kernel_r|^2 |output_r|^2 / (outputs taps)` times that of a direct sum, the same for each of the
    three maps: 1.15 in F(2, 2), 1.67 in F(2, 3), 2.62 in F(3, 3), 2.81 in F(4, 2). (With the usual points 0, 1, -1 and
    2, F(4, 2) has 6.4 and F(2, 2) has 2.) Scaling rows changes nothing: floating-point numbers are rounded relatively.

    Args:
        outputs: of a tile.
        taps: of the kernel; with `outputs`, at most 6.

    S. Winograd, Arithmetic Complexity of Computations (1980).
    """
    n = outputs + taps - 1
    if n == 1:
        return Matrices(*(np.ones((1, 1)) for _ in range(3)))
    values = {c: np.vstack([np.vander(_POINTS[n], c, increasing=True), np.eye(c)[-1:]]) for c in (outputs, taps, n)}
    inverse = np.linalg.inv(values[n].astype(np.float64)).T
    # The entries are fractions of small numbers: as exact as float64 can hold them, with true zeros.
    exact = [[float(Fraction(entry).limit_denominator(10_000)) for entry in row] for row in inverse]
    return Matrices(np.array(exact), values[taps], values[outputs])
