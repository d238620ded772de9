"""Resampling agrees with Pillow and keeps what it must; placements tell the truth about where pixels come from."""

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.preparing.geometry import FITS, fit, resample

RNG = np.random.default_rng()


@pytest.mark.parametrize("shape", [(16, 20), (64, 90), (31, 77)])
@pytest.mark.parametrize(
    ("name", "method"), [("linear", Image.Resampling.BILINEAR), ("cubic", Image.Resampling.BICUBIC)]
)
def test_resample_agrees_with_pillow(name, method, shape):
    image = RNG.normal(size=(37, 53)).astype(np.float32)
    expected = np.asarray(Image.fromarray(image).resize(shape[::-1], method)).clip(image.min(), image.max())
    np.testing.assert_allclose(resample(image[..., None], shape, name)[..., 0], expected, atol=2e-5)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
@pytest.mark.parametrize("name", ["linear", "cubic", "nearest"])
def test_resample_keeps_dtype_range_and_constants(dtype, name):
    image = (RNG.random((9, 10, 11, 2)) * 200).astype(dtype)
    result = resample(image, (5, 14, 11), name)
    assert result.shape == (5, 14, 11, 2) and result.dtype == image.dtype
    assert image.min() <= result.min() and result.max() <= image.max()
    constant = np.full((7, 8, 1), 123, dtype)
    assert (resample(constant, (13, 5), name) == 123).all()


def test_nearest_makes_no_new_values_and_large_offsets_survive():
    labels = RNG.choice([0, 7, 65535], (20, 20, 1)).astype(np.uint16)
    assert set(np.unique(resample(labels, (13, 31), "nearest"))) <= {0, 7, 65535}
    ramp = (33_000 + np.arange(64)[:, None, None] + np.zeros((1, 64, 1))).astype(np.uint16)
    result = resample(ramp, (32, 32))[:, 0, 0].astype(int)
    # Pairs average to halves, which round to even.
    assert abs(result - (33_000.5 + 2 * np.arange(32))).max() <= 0.5


@pytest.mark.parametrize("how", [name for name in FITS if name != "tile"])
@pytest.mark.parametrize("shape", [(40, 64, 3), (20, 64, 1), (50, 36, 35, 1), (8, 100, 8, 1)])
def test_fit_gives_the_size(how, shape):
    image = RNG.integers(0, 255, shape, dtype=np.uint8)
    ((result, _),) = fit(image, 32, how, rng=np.random.default_rng(0))
    assert result.shape == (32,) * (len(shape) - 1) + shape[-1:] and result.dtype == np.uint8


def test_crops_take_pixels_as_they_are_from_where_they_say():
    image = np.arange(40 * 50, dtype=np.float32).reshape(40, 50, 1)
    for how in ("crop", "random_crop", "tile"):
        for result, where in fit(image, 16, how, rng=np.random.default_rng()):
            assert (where.scale == 1).all()
            top, left = where.offset.astype(int)
            np.testing.assert_array_equal(result, image[top : top + 16, left : left + 16])
    assert len(fit(image, 16, "tile")) == 2 * 3


def test_random_crops_differ_and_repeat_by_seed():
    image = RNG.normal(size=(64, 64, 1))
    crops = [fit(image, 16, "random_crop", rng=np.random.default_rng(s))[0][0] for s in (1, 1, 2)]
    assert (crops[0] == crops[1]).all() and (crops[0] != crops[2]).any()


def test_padding_is_the_background():
    gray = np.full((10, 30, 1), 9, np.uint16)
    gray[5, 5] = 4
    ((padded, _),) = fit(gray, 32, "crop")
    assert padded[0, 0, 0] == 4
    ((padded, _),) = fit(np.full((10, 30, 3), 250, np.uint8), 32, "contain")
    assert (padded[0, 0] == 250).all()
    ((padded, _),) = fit(gray, 32, "crop", pad_value=0)
    assert padded[0, 0, 0] == 0


@pytest.mark.parametrize("how", ["cover", "contain", "stretch", "crop"])
def test_placement_maps_centres_to_where_they_were(how):
    # The value of a voxel is its world coordinate, so a resampled voxel says itself where it is.
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-11, 5, 3)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (20, 30, 24)), indexing="ij"), -1)
    world = (grid @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    ((result, where),) = fit(world, 16, how, pad_value=np.nan)
    index = np.array([7, 8, 9])
    expected = (where.affine(affine) @ [*index, 1])[:3]
    # The discrete kernel is off by a few hundredths of a voxel where the ratio is no integer.
    np.testing.assert_allclose(result[tuple(index)], expected, atol=0.15)
