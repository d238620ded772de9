"""Streaming statistics equal those of the whole array, for every dtype and any chunks."""

import numpy as np
import pytest

from jaxgan.data.preparing.statistics import count_outside, summarise

RNG = np.random.default_rng()
PROBABILITIES = (0.001, 0.01, 0.25, 0.5, 0.99, 0.999)


def values(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        array = RNG.normal(size=7013) * 10.0 ** RNG.integers(-6, 7, 7013)
        array[:50] = 0.0
        return array.astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, 7013, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32"])
def test_agree_with_numpy(dtype):
    array = values(dtype)
    parts = np.array_split(array, 5)
    found = summarise(lambda: iter(parts), PROBABILITIES)
    assert (found.count, found.nonfinite) == (array.size, 0)
    assert (found.low, found.high) == (array.min(), array.max())
    exact = array.astype(np.float64)
    np.testing.assert_allclose((found.mean, found.std), (exact.mean(), exact.std()), rtol=1e-9)
    expected = np.quantile(array, PROBABILITIES, method="inverted_cdf")
    ordered = np.sort(array)
    for p, value in found.quantiles.items():
        assert value == ordered[int(p * (array.size - 1))]
    assert len(expected) == len(found.quantiles)


def test_nan_and_infinity_are_counted_and_left_out():
    array = np.array([1, np.nan, 2, -np.inf, 3], np.float32)
    found = summarise(lambda: [array], (0.5,))
    assert (found.count, found.nonfinite, found.low, found.high, found.quantiles[0.5]) == (3, 2, 1, 3, 2)


def test_a_large_offset_does_not_lose_the_spread():
    array = (1e7 + RNG.integers(0, 3, 10_000)).astype(np.float32)
    found = summarise(lambda: np.array_split(array, 7))
    np.testing.assert_allclose(found.std, array.astype(np.float64).std(), rtol=1e-6)


def test_count_outside():
    parts = np.array_split(np.arange(100), 3)
    assert count_outside(lambda: parts, 10, 89) == 20
