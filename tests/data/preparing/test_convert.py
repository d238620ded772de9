"""Channels, dtypes and normalisation of single images."""

import re

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.preparing.convert import Conversion, convert, to_channels, to_storable
from jaxgan.data.readers import Decoded
from jaxgan.errors import InputError

RNG = np.random.default_rng()


def test_gray_is_pillows_luma_bit_for_bit():
    image = RNG.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).convert("L"))
    np.testing.assert_array_equal(to_channels(image, 1)[..., 0], expected)
    wide = image.astype(np.uint16) * 257
    np.testing.assert_allclose(to_channels(wide, 1)[..., 0], expected * 257.0, atol=257)


def test_gray_to_colour_repeats_and_odd_channels_are_refused():
    gray = RNG.normal(size=(4, 5, 1)).astype(np.float32)
    assert (to_channels(gray, 3) == gray).all()
    with pytest.raises(InputError, match="2 channels"):
        to_channels(np.zeros((4, 5, 2)), 1)


@pytest.mark.parametrize(
    ("dtype", "stored"),
    [("uint8", "uint8"), (">u2", "uint16"), ("int16", "int16"), ("int64", "int32"), ("float16", "float32"),
     ("float64", "float32"), (">f4", "float32")],
)  # fmt: skip
def test_stored_dtypes_hold_the_same_values(dtype, stored):
    image = (RNG.random((6, 7, 1)) * 100).astype(dtype)
    result = to_storable(image)
    assert result.dtype == np.dtype(stored) and result.dtype.isnative
    np.testing.assert_array_equal(result, image.astype(stored))


def test_masks_become_black_and_white():
    np.testing.assert_array_equal(to_storable(np.array([[[True], [False]]])), [[[255], [0]]])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_cannot_be_stored_are_refused(value):
    image = np.zeros((4, 4, 1))
    image[1, 1] = value
    with pytest.raises(InputError, match="NaN or infinite|beyond float32"):
        convert(Decoded(image), Conversion())
    with pytest.raises(InputError, match="int32"):
        to_storable(np.full((2, 2, 1), 2**40))
    for complex_ in (np.complex64, np.complex128):
        with pytest.raises(InputError, match=f"{np.dtype(complex_)} values; save real numbers, such as the magnitude"):
            to_storable(np.full((2, 2, 1), 3.7 + 2j, complex_))


def test_casts_that_change_values_are_refused():
    ((pixels, *_),) = convert(Decoded(np.full((4, 4, 1), 300, np.uint16)), Conversion(dtype="float32"))
    assert pixels.dtype == np.float32 and (pixels == 300).all()
    with pytest.raises(InputError, match="do not fit uint8"):
        convert(Decoded(np.full((4, 4, 1), 300, np.uint16)), Conversion(dtype="uint8"))


@pytest.mark.parametrize(
    ("dtype", "value"), [("uint16", -1024), ("uint8", 300), ("uint8", 0.5), ("int16", 0.7), ("float32", 1e300)]
)
@pytest.mark.parametrize("spacing", [None, 2.0])
def test_a_padding_that_would_become_another_value_is_refused(dtype, value, spacing):
    volume = Decoded(np.ones((8, 8, 8, 1), dtype), spacing=(1.0, 1.0, 1.0))
    with pytest.raises(InputError, match=rf"pad_value={re.escape(f'{value:g}')}: {dtype} cannot hold it; .*--dtype"):
        convert(volume, Conversion(size=10, spacing=spacing, fit="crop", pad_value=value))


@pytest.mark.parametrize(("dtype", "value"), [("int16", -1024), ("uint8", 255.0), ("float32", 0.1)])
def test_a_padding_that_the_dtype_holds_is_stored(dtype, value):
    ((pixels, *_),) = convert(Decoded(np.ones((4, 4, 1), dtype)), Conversion(size=6, fit="crop", pad_value=value))
    assert pixels[0, 0, 0] == np.dtype(dtype).type(value)


def test_percentile_normalisation_is_per_volume_and_robust():
    volume = RNG.gamma(2.0, 50.0, (12, 12, 12, 1))
    outlier = volume.copy()
    outlier[0, 0, 0] = 1e6
    results = [convert(Decoded(v), Conversion(normalise="percentile"))[0][0] for v in (volume, volume * 1e4, outlier)]
    for result in results:
        assert result.dtype == np.float32 and result.min() == 0 and result.max() == 1
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    assert np.abs(results[0] - results[2])[1:].max() < 0.05
    with pytest.raises(InputError, match="constant"):
        convert(Decoded(np.ones((4, 4, 4, 1))), Conversion(normalise="percentile"))


@pytest.mark.parametrize(
    "field", [{"fit": "squash"}, {"channels": 2}, {"dtype": "float64"}, {"size": 0}, {"interpolation": "x"}]
)
def test_wrong_choices_name_the_field(field):
    with pytest.raises(InputError, match=next(iter(field))):
        Conversion(**field)
