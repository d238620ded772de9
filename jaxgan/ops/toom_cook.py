"""Minimal filtering along one axis: the three small matrices of Toom and Cook's bilinear algorithm."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import NamedTuple

import numpy as np

# Where the polynomials are evaluated, besides infinity. Small numbers keep the rounding error small.
_POINTS = (0, 1, -1, 2)


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

    In float32 and two dimensions, F(2, 2) and F(2, 3) lose nothing against direct sums (4e-7 of the result's spread);
    F(4, 2), 2e-6, F(3, 3), 4e-6; three axes of F(4, 2), 1e-5.

    Args:
        outputs: of a tile.
        taps: of the kernel; with `outputs`, at most one more than there are points, plus infinity.

    S. Winograd, Arithmetic Complexity of Computations (1980).
    """
    n = outputs + taps - 1
    if n == 1:
        return Matrices(*(np.ones((1, 1)) for _ in range(3)))
    values = {
        c: np.vstack([np.vander(_POINTS[: n - 1], c, increasing=True), np.eye(c)[-1:]]) for c in (outputs, taps, n)
    }
    inverse = np.linalg.inv(values[n].astype(np.float64)).T
    # The entries are fractions of small numbers: as exact as float64 can hold them, with true zeros.
    exact = [[float(Fraction(entry).limit_denominator(1000)) for entry in row] for row in inverse]
    return Matrices(np.array(exact), values[taps], values[outputs])
