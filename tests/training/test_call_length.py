"""How many iterations a call runs: learned from the second call, bounded by the backend, or fixed."""

import pytest

from jaxgan.training import call_length
from jaxgan.training.call_length import CallLength


@pytest.mark.parametrize(("seconds", "expected"), [(0.001, 8), (3.0, 3), (60.0, 1)])
def test_learns_from_the_second_call(seconds, expected):
    ours = CallLength()
    assert (ours.iterations, ours.longest) == (1, call_length.LONGEST["cpu"])
    ours.ran(1, 100.0)  # Compiles.
    assert ours.iterations == 1
    ours.ran(1, seconds)
    assert ours.iterations == expected
    ours.ran(expected, 1e-3)
    assert ours.iterations == expected


def test_a_fixed_length_stays():
    ours = CallLength(3)
    for _ in range(3):
        assert (ours.iterations, ours.longest) == (3, 3)
        ours.ran(3, 60.0)
