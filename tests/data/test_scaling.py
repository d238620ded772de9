"""One scaling for a whole set: chosen as said, invertible to a quantum, never flat."""

import numpy as np
import pytest

from jaxgan.data.scaling import Scaling, choose
from jaxgan.errors import InputError

RNG = np.random.default_rng()


def chosen(array, *args, **kwargs):
    return choose(lambda: np.array_split(array, 4), array.dtype, *args, **kwargs)[0]


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("policy", ["range", "minmax"])
def test_integers_come_back_exactly(dtype, policy):
    info = np.iinfo(dtype)
    array = RNG.integers(info.min, info.max, 5000, dtype=dtype, endpoint=True)
    scaling = chosen(array, policy)
    decoded = scaling.decode(array)
    assert decoded.dtype == np.float32 and abs(decoded).max() <= 1
    np.testing.assert_array_equal(scaling.encode(decoded), array)


def test_floats_come_back_within_one_quantum_of_their_range():
    array = (RNG.normal(size=5000) * 40 + 300).astype(np.float32)
    scaling = chosen(array)
    assert scaling.policy == "minmax"
    quantum = np.spacing(np.float32(np.abs(array).max()))
    assert np.abs(scaling.encode(scaling.decode(array)) - array).max() <= quantum


def test_narrow_uint16_with_an_offset_does_not_turn_flat():
    array = (33_000 + RNG.integers(0, 120, 4000)).astype(np.uint16)
    scaling = chosen(array)
    decoded = scaling.decode(array)
    assert decoded.min() == -1 and decoded.max() == 1 and len(np.unique(decoded)) == len(np.unique(array))
    np.testing.assert_array_equal(scaling.encode(decoded), array)


def test_defaults_and_percentiles_and_clipping():
    assert chosen(np.arange(0, 200, dtype=np.uint8)).policy == "range"
    array = np.concatenate([RNG.random(9990), np.full(10, 1e6)]).astype(np.float32)
    scaling = chosen(array, "percentile", percentiles=(0.0, 99.0))
    assert scaling.high < 1.001 and scaling.clipped == np.count_nonzero(array > scaling.high) >= 10
    assert chosen(array, low=-1.0, high=2.0).policy == "fixed"
    assert chosen(array, "fixed", low=-1.0, high=2.0).clipped == 10


@pytest.mark.parametrize(
    ("array", "kwargs", "message"),
    [
        (np.ones(10, np.float32), {}, "not below"),
        (np.array([1, np.nan, 2], np.float32), {}, "NaN"),
        (np.arange(9, dtype=np.float32), {"policy": "range"}, "has no range"),
        (np.arange(9, dtype=np.float32), {"policy": "minmax", "low": 1.0}, "low and high"),
        (np.arange(9, dtype=np.float32), {"policy": "fixed", "low": 1.0}, "low and high"),
        (np.arange(9, dtype=np.float32), {"policy": "zscore"}, "zscore"),
        (np.arange(9, dtype=np.float32), {"policy": "percentile", "percentiles": (50, 20)}, "percentiles"),
    ],
)
def test_what_cannot_be_scaled_is_said(array, kwargs, message):
    with pytest.raises(InputError, match=message):
        chosen(array, **kwargs)


def test_record_survives_json_and_damage_is_said():
    scaling = Scaling("uint16", 5.0, 10.0, "nm", "fixed", 3)
    assert Scaling.from_dict(scaling.to_dict()) == scaling
    with pytest.raises(InputError, match="prepare"):
        Scaling.from_dict({"dtype": "uint8"})


@pytest.mark.parametrize(("low", "high"), [(-3.4e38, 1.0), (-1e38, 1e38), (0.0, 1e-39), (0.0, 1e-45)])
def test_ranges_that_float32_cannot_scale_are_refused(low, high):
    with pytest.raises(InputError, match="float32 cannot scale"):
        Scaling("float32", low, high)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1e-37), (-8e37, 8e37), (-3e38, -2.5e38)])
def test_extreme_ranges_that_pass_are_scaled(low, high):
    import jax.numpy as jnp

    scaling = Scaling("float32", low, high)
    values = np.linspace(low, high, 9).astype(np.float32)
    expected = np.linspace(-1, 1, 9)
    np.testing.assert_allclose(scaling.decode(values), expected, atol=1e-5)
    np.testing.assert_allclose(scaling.decode(jnp.asarray(values)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int32", 2_000_000_000, 2_000_000_200),
        ("int32", -(2**31), 2**31 - 1),
        ("uint32", 4_000_000_000, 4_000_000_101),
        ("uint32", 0, 2**32 - 1),
        ("int32", -7, 250),
    ],
)
def test_large_offsets_of_32_bit_integers_keep_their_levels(dtype, low, high):
    import jax.numpy as jnp

    scaling = Scaling(dtype, low, high)
    values = np.unique(np.linspace(low, high, 300).astype(np.int64)).astype(dtype)
    exact = 2 * (values.astype(np.float64) - low) / (high - low) - 1
    decoded = scaling.decode(values)
    np.testing.assert_allclose(decoded, exact, atol=2e-7)
    np.testing.assert_array_equal(np.asarray(scaling.decode(jnp.asarray(values))), decoded)
    if high - low < 2**22:
        np.testing.assert_array_equal(scaling.encode(decoded), values)
    outside = np.array([np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    np.testing.assert_allclose(scaling.decode(outside), [-1, 1])


def test_a_range_that_the_stored_integers_do_not_have_is_refused():
    with pytest.raises(InputError, match="int32 holds"):
        Scaling("int32", 0, 1e10)
