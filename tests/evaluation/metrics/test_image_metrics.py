"""SWD, MS-SSIM, spectrum and histogram: against references, and in the direction that they must move."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from jaxgan.data import distribution
from jaxgan.evaluation.metrics import msssim, spectrum, swd
from jaxgan.evaluation.networks.resize import tf1_bilinear_matrix


def textures(count, shape=(28, 28, 1), smooth=1.0):
    noise = np.random.default_rng().standard_normal((count, *shape))
    smoothed = scipy.ndimage.gaussian_filter(noise, (0, *[smooth] * (len(shape) - 1), 0))
    return np.clip(smoothed / smoothed.std() * 0.3, -1, 1).astype(np.float32)


def ones(count):
    return jnp.ones(count, jnp.int32)


@pytest.mark.parametrize(("size_in", "size_out"), [(28, 299), (299, 299), (512, 299), (1, 5)])
def test_the_resizer_interpolates_from_the_corner_as_tensorflow_1(size_in, size_out):
    values = np.random.default_rng().uniform(size=size_in)
    expected = np.interp(np.arange(size_out) * size_in / size_out, np.arange(size_in), values)
    np.testing.assert_allclose(tf1_bilinear_matrix(size_in, size_out) @ values, expected, atol=1e-4)


def test_swd_is_0_for_the_same_patches_and_small_for_the_same_texture():
    a, b = textures(80), textures(80)
    patches = swd.patch_descriptors(a)
    assert [p.shape[-1] for p in patches] == [49, 49]
    assert max(swd.sliced_wasserstein(patches, patches)) == 0.0
    same = swd.sliced_wasserstein(patches, swd.patch_descriptors(b))
    blurred = scipy.ndimage.gaussian_filter(b, (0, 1, 1, 0))
    for other in (blurred, b + 0.1 * np.random.default_rng().standard_normal(b.shape).astype(np.float32)):
        assert swd.sliced_wasserstein(patches, swd.patch_descriptors(other))[0] > 3 * same[0]
    # A shift of the values leaves the fine bands as they are and must show in the low-pass rest.
    shifted = swd.sliced_wasserstein(patches, swd.patch_descriptors(b + 0.2))
    assert shifted[0] < 2 * same[0]
    assert shifted[1] > 5 * same[1]


def test_swd_is_a_distance_in_thousandths_of_the_reals_deviation():
    """Of descriptors with one value every projection is that value: the distance of two sorted lists."""
    real = np.random.default_rng(0).normal(1.0, 0.3, (50, 4, 1)).astype(np.float32)
    made = 2.0 * real + 0.5
    expected = 1000.0 * np.abs(np.sort(made, axis=None) - np.sort(real, axis=None)).mean() / real.std()
    np.testing.assert_allclose(swd.sliced_wasserstein([real], [made]), [expected], rtol=1e-4)


def test_swd_of_volumes_and_of_sets_of_different_size():
    a, b = textures(20, (16, 16, 16, 1)), textures(12, (16, 16, 16, 1))
    distances = swd.sliced_wasserstein(swd.patch_descriptors(a), swd.patch_descriptors(b))
    assert len(distances) == 1
    assert 0 < distances[0] < 200


def test_laplacian_pyramid_loses_nothing():
    image = textures(2, (56, 57, 2))
    bands = [np.asarray(b) for b in swd.laplacian_pyramid(image)]
    assert [b.shape[1:3] for b in bands] == [(56, 57), (28, 29), (14, 15)]
    import jax

    rebuilt = bands[-1]
    for band in reversed(bands[:-1]):
        rebuilt = band + np.asarray(jax.image.resize(rebuilt, band.shape, "linear"))
    np.testing.assert_allclose(rebuilt, image, atol=1e-5)


def test_scales_follow_the_size():
    assert [msssim.scales(side) for side in (8, 21, 28, 64, 161, 256)] == [1, 2, 2, 3, 5, 5]


@pytest.mark.parametrize("shape", [(28, 28, 1), (12, 13, 14, 2)])
def test_pairs_of_a_diverse_set_are_less_alike(shape):
    alike = textures(1, shape) + 0.05 * textures(20, shape)

    def similarity(images, pairs):
        return msssim.pair_similarities(images, pairs=pairs)[0].mean()

    assert similarity(np.repeat(alike[:1], 5, axis=0), 8) == pytest.approx(1.0, abs=1e-4)
    assert similarity(textures(20, shape), 40) < 0.6 < similarity(alike, 40)
    values, pairs = msssim.pair_similarities(alike, pairs=8)
    one = msssim.ms_ssim((alike[pairs[:, 0]] + 1) / 2, (alike[pairs[:, 1]] + 1) / 2, msssim.scales(min(shape[:-1])))
    np.testing.assert_allclose(values, one, rtol=1e-5)


def test_radial_power_is_numpys_and_keeps_the_energy():
    images = textures(3, (16, 16, 2), smooth=0.5)
    found = np.asarray(spectrum.radial_power(images, jnp.asarray([1.0, 1.0, 0.0])))
    assert found.shape == (2, 8)
    frequencies = np.fft.fftfreq(16)
    radius = np.rint(np.hypot(frequencies[:, None], frequencies[None]) * 16)
    for channel in range(2):
        power = sum(np.abs(np.fft.fft2(images[i, ..., channel])) ** 2 for i in range(2)) / 256
        expected = [power[radius == r].mean() for r in range(1, 9)]
        np.testing.assert_allclose(found[channel], expected, rtol=1e-3)


def test_spectrum_distance_sees_blur_and_noise_but_not_a_shift():
    def mean(x):
        return np.asarray(spectrum.radial_power(x, jnp.ones(len(x)))) / len(x)

    a, b = textures(100), textures(100)
    same = spectrum.spectrum_distance(mean(a), mean(b))
    assert spectrum.spectrum_distance(mean(a), mean(a)) == 0.0
    assert spectrum.spectrum_distance(mean(a), mean(b + 0.2)) == pytest.approx(same, abs=0.1)
    for spoilt in (scipy.ndimage.gaussian_filter(b, (0, 1, 1, 0)), b + 0.2 * textures(100, smooth=0.1)):
        assert spectrum.spectrum_distance(mean(a), mean(spoilt)) > 3 * same
    # Twice the amplitude is 6.02 dB at every frequency.
    assert spectrum.spectrum_distance(mean(a), mean(2 * a)) == pytest.approx(20 * np.log10(2), rel=1e-3)
    volume = textures(4, (8, 8, 8, 1))
    assert mean(volume).shape == (1, 4)


def test_histogram_distance_is_scipys_in_original_units():
    rng = np.random.default_rng()
    low, high = -3.0, 12.0
    a, b = (np.clip(rng.normal(m, 0.2, (40, 9, 9, 1)), -1, 1).astype(np.float32) for m in (0.0, 0.1))
    counts = [np.asarray(distribution.count_values(x, ones(40))) for x in (a, b)]
    in_units = [(x.ravel().astype(float) + 1) / 2 * (high - low) + low for x in (a, b)]
    expected = scipy.stats.wasserstein_distance(*in_units)
    assert distribution.wasserstein(*counts, high - low) == pytest.approx(expected, rel=1e-2)
    assert distribution.wasserstein(counts[0], counts[0], high - low) == 0.0
    mean, deviation = distribution.value_moments(counts[0])
    assert mean == pytest.approx(a.mean(), abs=1e-4)
    assert deviation == pytest.approx(a.std(), rel=1e-3)


def test_histogram_is_exact_for_uint16_and_leaves_padding_out():
    stored = np.random.default_rng().integers(0, 65536, (6, 8, 8, 3))
    images = (stored / 65535 * 2 - 1).astype(np.float32)
    weights = jnp.asarray([1, 1, 1, 1, 0, 0])
    found = np.asarray(distribution.count_values(images, weights))
    for channel in range(3):
        np.testing.assert_array_equal(found[channel], np.bincount(stored[:4, ..., channel].ravel(), minlength=65536))
