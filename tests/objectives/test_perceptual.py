"""The perceptual loss: zero for equal moments, its gradient, devices, and the features of the published network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.evaluation.networks.vgg import VGG16, load_vgg16
from jaxgan.objectives.perceptual import as_pictures, moment_matching, vgg16_features

DEVICES = 4


def features(pictures):
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5)), pictures.dtype)
    return [jnp.tanh(pictures @ kernel), (pictures @ kernel) ** 2]


def batch(seed, shape=(8, 6, 6, 3)):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_equal_moments_cost_nothing_whatever_the_pairing():
    real = batch(0)
    assert float(moment_matching(features, real, real[::-1])) < 1e-10
    spoilt = [float(moment_matching(features, real, np.clip(real * s, -1, 1))) for s in (0.9, 0.5, 0.0)]
    assert 1e-4 < spoilt[0] < spoilt[1] < spoilt[2]


def test_features_that_only_go_together_otherwise_cost_something():
    """Means and variances are the same; of two features one falls now where it rose, or goes its own way."""
    rng = np.random.default_rng(5)
    first, sign = rng.uniform(-1, 1, (64, 4, 4, 1)), rng.choice([-1.0, 1.0], (64, 4, 4, 1))
    pairs = [np.concatenate([first, s * first, -first], axis=-1).astype(np.float32) for s in (1.0, -1.0)]
    free = np.concatenate([first, sign * first, -first], axis=-1).astype(np.float32)
    as_they_are = lambda pictures: [pictures]  # noqa: E731
    assert float(moment_matching(as_they_are, pairs[0], pairs[0][::-1])) < 1e-10
    # Feature 1 turns against 0 and with 2: four entries, in three channels, change by 2, and by 1 where it is free.
    opposite = float(moment_matching(as_they_are, *pairs))
    assert opposite == pytest.approx(4 * 4 / 3, rel=0.05)
    assert float(moment_matching(as_they_are, pairs[0], free)) == pytest.approx(4 * 1 / 3, rel=0.1)


def test_the_value_is_that_of_a_reference_in_float64():
    real, fake = batch(6), 0.7 * batch(7) + 0.1
    total = 0.0
    for layer, other in zip(features(real), features(fake), strict=True):
        rows, fakes = (np.asarray(x, np.float64).reshape(-1, x.shape[-1]) for x in (layer, other))
        var, fake_var = rows.var(0), fakes.var(0)
        floor = 0.01 * var.mean() + 1e-6
        total += np.mean(
            ((fakes.mean(0) - rows.mean(0)) ** 2 + (np.sqrt(fake_var + 1e-6) - np.sqrt(var + 1e-6)) ** 2)
            / (var + floor)
        )
        corr, fake_corr = (
            np.cov(x.T, bias=True) / np.sqrt(np.outer(v + floor, v + floor))
            for x, v in ((rows, var), (fakes, fake_var))
        )
        apart = (fake_corr - corr) ** 2
        total += (apart.sum() - np.trace(apart)) / len(var)
    assert float(moment_matching(features, real, fake)) == pytest.approx(total, rel=1e-4)


def test_gradient_agrees_with_finite_differences_and_goes_to_the_fakes_alone():
    with jax.enable_x64(True):
        real, fake, way = (jnp.asarray(batch(seed), jnp.float64) for seed in (0, 1, 2))
        value = lambda real, fake: moment_matching(features, real, fake)  # noqa: E731
        to_real, to_fake = jax.grad(value, (0, 1))(real, fake)
        step = 1e-5
        slope = (value(real, fake + step * way) - value(real, fake - step * way)) / (2 * step)
        np.testing.assert_allclose(jnp.sum(to_fake * way), slope, rtol=1e-6)
        assert not to_real.any()


def test_devices_share_the_moments_of_the_global_batch():
    real, fake = batch(0), 0.5 * batch(1)
    whole, slope = jax.value_and_grad(lambda f: moment_matching(features, real, f))(fake)

    def on_device(real, fake):
        return jax.value_and_grad(lambda f: moment_matching(features, real, f, "devices"))(fake)

    split = [x.reshape(DEVICES, -1, *x.shape[1:]) for x in (real, fake)]
    values, slopes = jax.pmap(on_device, axis_name="devices")(*split)
    np.testing.assert_allclose(values, whole, rtol=1e-5)
    # Each device holds the whole loss, so the mean over devices of parameter gradients counts a share of each sample.
    np.testing.assert_allclose(slopes.reshape(fake.shape) / DEVICES, slope, rtol=1e-4, atol=1e-8)


def test_volumes_are_seen_through_three_slices_and_gray_in_three_channels():
    volume = batch(0, (2, 4, 4, 4, 1))
    pictures = as_pictures(volume)
    assert pictures.shape == (6, 4, 4, 3)
    np.testing.assert_array_equal(pictures[0, ..., 1], volume[0, 2, ..., 0])
    np.testing.assert_array_equal(pictures[5, ..., 2], volume[1, :, :, 2, 0])


@pytest.mark.parametrize("side", [32])
def test_features_are_those_of_the_published_network(side):
    variables, _ = load_vgg16()
    pictures = batch(3, (1, side, side, 3))
    got = vgg16_features(variables["params"], pictures)
    _, seen = VGG16().apply(variables, pictures, capture_intermediates=True)
    for layer, index in zip(got, (1, 3, 6), strict=True):
        (expected,) = seen["intermediates"][f"Conv_{index}"]["__call__"]
        np.testing.assert_allclose(layer, expected, rtol=1e-3, atol=1e-3 * float(jnp.abs(expected).max()))
