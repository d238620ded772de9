"""Augmentation: exact identities, per-sample keys, range, differentiability, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from jaxgan.augment import reals as module
from jaxgan.augment.reals import OPERATIONS, augment
from jaxgan.augment.resampling import resample
from jaxgan.config.augmentation import Augmentation
from jaxgan.errors import InputError

STRENGTHS = {
    "affine": {"rotate_degrees": 0.0, "scale": 0.0},
    "elastic": {"elastic_strength": 0.0},
    "stain": {"stain_strength": 0.0},
    "colour": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "gamma": {"gamma_strength": 0.0},
    "noise": {"noise_std": 0.0},
}
EVERYTHING = Augmentation(**dict.fromkeys(OPERATIONS, 0.5))
VOLUME = Augmentation(**{name: 0.5 for name in OPERATIONS if name not in ("colour", "stain")})


def batch(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


@pytest.fixture(scope="module")
def apply():
    return jax.jit(augment, static_argnums=2)


def test_off_is_no_operation_at_all():
    images = batch(2, 8, 8, 3)
    assert augment(jax.random.key(0), images, Augmentation()) is images
    program = jax.make_jaxpr(lambda k, x: augment(k, x, Augmentation()))(jax.random.key(0), images)
    assert not program.eqns


@pytest.mark.parametrize("name", STRENGTHS)
def test_zero_strength_is_the_identity(apply, name):
    images = batch(3, 8, 10, 3)
    images = images.at[0, 0].set(-1.0).at[0, 1].set(1.0)
    result = apply(jax.random.key(1), images, Augmentation(**{name: 1.0}, **STRENGTHS[name]))
    np.testing.assert_allclose(result, images, atol=2e-6, rtol=0)


def test_probability_one_always_happens_and_a_half_happens_half_the_time(apply):
    images = batch(256, 8, 8, 1)
    for probability in (1.0, 0.5):
        result = apply(jax.random.key(3), images, Augmentation(gamma=probability))
        share = np.mean([not np.array_equal(a, b) for a, b in zip(result, images, strict=True)])
        assert share == 1.0 if probability == 1.0 else 0.38 < share < 0.62


@pytest.mark.parametrize("shape", [(6, 8, 6, 3), (3, 4, 6, 6, 1)])
def test_certain_flip_reverses_every_spatial_axis(apply, shape):
    images = batch(*shape)
    once = apply(jax.random.key(0), images, Augmentation(flip=1.0))
    np.testing.assert_array_equal(once, jnp.flip(images, range(1, images.ndim - 1)))
    twice = apply(jax.random.key(5), once, Augmentation(flip=1.0))
    np.testing.assert_array_equal(twice, images)


@pytest.mark.parametrize("shape", [(64, 5, 5, 2), (64, 3, 4, 4, 1)])
def test_rot90_takes_the_three_turns_and_no_other(apply, shape):
    images = batch(*shape)
    result = np.asarray(apply(jax.random.key(0), images, Augmentation(rot90=1.0)))
    axes = (images.ndim - 3, images.ndim - 2)
    turns = np.stack([np.rot90(images, k, axes) for k in range(4)])
    equal = (turns == result).reshape(4, len(images), -1).all(-1)
    assert not equal[0].any() and (equal.sum(0) == 1).all()
    assert (equal[1:].sum(1) > 10).all()


def test_affine_agrees_with_scipy():
    images = batch(1, 24, 24, 1)
    images = jnp.asarray(ndimage.gaussian_filter(np.asarray(images), (0, 2, 2, 0)))
    degrees, scale, draws = 30.0, 0.2, np.array([0.0, 0.9, 0.25])
    found = module._displacement(
        {"affine": draws}, (24, 24), Augmentation(affine=1.0, rotate_degrees=degrees, scale=scale)
    )
    result = resample(images[0], found)
    angle, zoom = np.deg2rad(degrees) * 0.8, 1 / (1 - 0.5 * scale)
    matrix = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([11.5, 11.5])
    image = np.asarray(images[0, ..., 0], np.float64)
    wanted = ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="mirror")
    np.testing.assert_allclose(result[..., 0], wanted, atol=2e-6)


@pytest.mark.parametrize("shape", [(32, 32), (16, 16, 16)])
def test_elastic_never_folds_at_the_largest_strength(shape):
    rank = len(shape)
    config = Augmentation(elastic=1.0, elastic_strength=0.05)
    displace = jax.jit(jax.vmap(lambda key: module._displacement(module._draw(key, rank), shape, config)))
    for field in np.asarray(displace(jax.random.split(jax.random.key(0), 60))):
        gradients = np.stack([np.stack(np.gradient(component)) for component in field])
        jacobian = np.moveaxis(gradients, (0, 1), (-2, -1)) + np.eye(rank)
        assert np.linalg.det(jacobian).min() > 0
        assert 0.005 < np.abs(field).max() / shape[0] < 0.1


def test_colour_jitter_moves_what_it_says(apply):
    images = 0.5 * batch(8, 6, 6, 3)
    luma = np.array([0.299, 0.587, 0.114])
    still = {"brightness": 0.0, "contrast": 0.0}
    result = apply(jax.random.key(0), images, Augmentation(colour=1.0, saturation=0.3, hue=0.05, **still))
    assert np.abs(result - images).max() > 0.05
    np.testing.assert_allclose(result @ luma, images @ luma, atol=1e-3)
    gray = jnp.broadcast_to(images[..., :1], images.shape)
    result = apply(jax.random.key(0), gray, Augmentation(colour=1.0, saturation=1.0, hue=0.5, **still))
    np.testing.assert_allclose(result, gray, atol=1e-3)
    brighter = apply(
        jax.random.key(0), images, Augmentation(colour=1.0, brightness=0.2, contrast=0, saturation=0, hue=0)
    )
    factors = (brighter + 1) / (images + 1)
    assert np.ptp(np.asarray(factors), axis=(1, 2, 3)).max() < 1e-4
    assert 0.8 <= factors.min() and factors.max() <= 1.2 and np.ptp(np.asarray(factors)) > 0.1
    # Contrast is about the mean of the whole image, which stays.
    stretched = apply(
        jax.random.key(0), images, Augmentation(colour=1.0, brightness=0, contrast=0.2, saturation=0, hue=0)
    )
    means = images.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(stretched.mean(axis=(1, 2, 3), keepdims=True), means, atol=1e-5)
    factors = np.std(stretched - means, axis=(1, 2, 3)) / np.std(images - means, axis=(1, 2, 3))
    np.testing.assert_allclose(stretched - means, factors.reshape(-1, 1, 1, 1) * (images - means), atol=1e-5)
    assert 0.8 <= factors.min() and factors.max() <= 1.2 and np.ptp(factors) > 0.1


def test_stain_jitter_acts_on_optical_density():
    """A pixel of one pure stain stays that stain's colour when only the amounts are scaled."""
    amounts = np.linspace(0.1, 1.0, 16)
    pixels = 256 * np.exp(-amounts[:, None] * module._STAINS[0]) - 1
    image = jnp.asarray(pixels.reshape(4, 4, 3) / 127.5 - 1, jnp.float32)
    config = Augmentation(stain=1.0, stain_strength=0.2)
    scaled = _density(module._stain(list(jnp.array([0.9, 0.2, 0.3, 0.5, 0.5, 0.5])), image, config))
    np.testing.assert_allclose(scaled, 1.16 * amounts[:, None] * module._STAINS[0], atol=2e-4)
    shifted = _density(module._stain(list(jnp.array([0.5, 0.5, 0.5, 0.5, 0.75, 0.5])), image, config))
    wanted = amounts[:, None] * module._STAINS[0] + 0.05 * module._STAINS[1]
    np.testing.assert_allclose(shifted, wanted, atol=2e-4)


def _density(image):
    return -np.log(((np.asarray(image, np.float64) + 1) * 127.5 + 1) / 256).reshape(-1, 3)


def test_gamma_keeps_order_and_ends(apply):
    images = jnp.linspace(-1, 1, 64).reshape(1, 8, 8, 1).repeat(16, 0)
    result = np.asarray(apply(jax.random.key(0), images, Augmentation(gamma=1.0, gamma_strength=1.0)))
    assert (np.diff(result.reshape(16, -1)) > 0).all()
    np.testing.assert_allclose(result[:, 0, 0], -1, atol=1e-6)
    np.testing.assert_allclose(result[:, -1, -1], 1, atol=1e-6)
    assert (result.mean((1, 2, 3)) > 0.02).any() and (result.mean((1, 2, 3)) < -0.02).any()


def test_noise_is_white_and_has_the_stated_strength(apply):
    images = jnp.zeros((64, 32, 32, 1))
    result = np.asarray(apply(jax.random.key(0), images, Augmentation(noise=1.0, noise_std=0.1)))[..., 0]
    stds = result.std((1, 2))
    assert stds.max() < 0.105 and 0.035 < stds.mean() < 0.065
    neighbours = [np.corrcoef(a[:-1].ravel(), a[1:].ravel())[0, 1] for a in result]
    assert abs(np.mean(neighbours)) < 0.02
    bright = apply(jax.random.key(0), jnp.ones((64, 32, 32, 1)), Augmentation(noise=1.0, noise_std=0.1))
    assert bright.max() == 1.0


@pytest.mark.parametrize(("shape", "config"), [((4, 16, 16, 3), EVERYTHING), ((2, 8, 8, 8, 1), VOLUME)])
def test_everything_together(apply, shape, config):
    """In range, finite, determined by the key, different by key, and each sample on its own."""
    images = batch(*shape)
    result = apply(jax.random.key(7), images, config)
    assert result.shape == shape and result.dtype == jnp.float32
    assert np.isfinite(result).all() and np.abs(result).max() <= 1.0
    np.testing.assert_array_equal(result, apply(jax.random.key(7), images, config))
    assert not np.array_equal(result, apply(jax.random.key(8), images, config))
    others = images.at[1:].set(0.25)
    np.testing.assert_array_equal(apply(jax.random.key(7), others, config)[0], result[0])


def test_a_sample_does_not_depend_on_the_size_of_its_batch(apply):
    images, config = batch(4, 8, 8, 1), Augmentation(flip=0.5, noise=1.0)
    result = apply(jax.random.key(0), images, config)
    np.testing.assert_allclose(apply(jax.random.key(0), images[:1], config)[0], result[0], atol=1e-6)


def test_an_operation_does_not_disturb_the_others(apply):
    images = batch(4, 16, 16, 3)
    both = apply(jax.random.key(2), images, Augmentation(flip=0.5, rot90=0.5))
    one = apply(jax.random.key(2), images, Augmentation(flip=0.5))
    turned = np.stack([np.rot90(one, k, (1, 2)) for k in range(4)])
    assert (turned == both[None]).reshape(4, 4, -1).all(-1).any(0).all()


@pytest.mark.parametrize(
    ("shape", "name"),
    [((8, 8, 3), name) for name in OPERATIONS]
    + [((4, 4, 4, 1), name) for name in OPERATIONS if name not in ("colour", "stain")],
)
def test_contract_of_every_operation(apply, shape, name):
    """Alone and certain, it keeps shape, type and range, acts sample by sample, and has finite derivatives."""
    images, config = 0.9 * batch(6, *shape), Augmentation(**{name: 1.0})
    result = np.asarray(apply(jax.random.key(0), images, config))
    assert result.shape == images.shape and result.dtype == np.float32
    assert np.isfinite(result).all() and np.abs(result).max() <= 1.0
    assert (np.abs(result - images).reshape(6, -1).max(1) > 1e-4).all()
    np.testing.assert_allclose(apply(jax.random.key(0), images[:2], config), result[:2], atol=1e-6)
    f = lambda x: augment(jax.random.key(0), x, config)  # noqa: E731
    towards = batch(2, *shape, seed=1)
    derivatives = jax.jit(lambda x: jax.jvp(lambda x: jax.jvp(f, (x,), (towards,))[1], (x,), (towards,)))(images[:2])
    assert all(np.isfinite(values).all() for values in derivatives) and np.abs(derivatives[0]).max() > 0


def test_gradients_are_finite_and_reach_every_sample():
    images = batch(2, 8, 8, 3).at[0, 0].set(-1.0).at[0, 1].set(1.0)
    certain = Augmentation(**dict.fromkeys(OPERATIONS, 1.0))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(augment(jax.random.key(0), x, certain))))(images)
    assert np.isfinite(gradient).all() and (np.abs(gradient).sum((1, 2, 3)) > 0).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"flip": 1.5}, r"config\.augment\.flip=1\.5.*0 to 1"),
        ({"noise_std": -0.1}, r"config\.augment\.noise_std"),
        ({"elastic_strength": 0.2}, r"config\.augment\.elastic_strength=0\.2.*0 to 0\.05"),
        ({"gamma": float("nan")}, r"config\.augment\.gamma=nan"),
    ],
)
def test_values_out_of_range_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Augmentation(**fields)


def test_operations_that_do_not_fit_the_samples_are_refused():
    key = jax.random.key(0)
    with pytest.raises(InputError, match=r"config\.augment\.colour.*volumes.*colour=0"):
        augment(key, batch(1, 4, 4, 4, 1), Augmentation(colour=0.5))
    with pytest.raises(InputError, match=r"config\.augment\.stain.*1 channel"):
        augment(key, batch(1, 4, 4, 1), Augmentation(stain=0.5))
    with pytest.raises(InputError, match=r"config\.augment\.rot90.*square"):
        augment(key, batch(1, 4, 6, 1), Augmentation(rot90=0.5))
    Augmentation(colour=0.5, gamma=0.1).check(2, 1)
    Augmentation(gamma=0.5, elastic=0.1).check(3, 1)
