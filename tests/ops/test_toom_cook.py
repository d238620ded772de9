"""The bilinear algorithm gives the sums that it stands for, with as few products as there can be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.ops.toom_cook import matrices


@given(st.sampled_from([(1, 1), (2, 2), (3, 2), (4, 2), (2, 3), (3, 3), (2, 4)]), st.integers(0, 2**32 - 1))
def test_outputs_are_the_sliding_sums(form, seed):
    outputs, taps = form
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=outputs + taps - 1), rng.normal(size=taps)
    m = matrices(outputs, taps)
    got = (m.input @ x) * (m.kernel @ w) @ m.output
    np.testing.assert_allclose(got, np.correlate(x, w, "valid"), atol=1e-12)
    assert len(m.input) == len(m.kernel) == len(m.output) == outputs + taps - 1


@pytest.mark.parametrize(("form", "most"), [((2, 2), 1.2), ((2, 3), 1.7), ((3, 3), 2.7), ((4, 2), 2.9)])
def test_rounding_of_operands_grows_little(form, most):
    """The variance of the error over that of a direct sum, where each operand is rounded after its transform."""
    m = matrices(*form)
    outputs, taps = form
    assert np.prod([(matrix**2).sum(axis=1) for matrix in m], axis=0).sum() < most * outputs * taps
