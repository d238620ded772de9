"""The averaged generator's own statistics: those of its activations, whatever was stored before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import Config
from jaxgan.gan.averaging import STATISTICS_SAMPLES, with_own_statistics
from jaxgan.gan.build import build_gan

AXIS = "devices"
IN_TURN = np.arange(STATISTICS_SAMPLES, dtype=np.int32) % 2


def game(axis_name=None, classes=2, **generator):
    config = Config.from_dict(
        {
            "data": {"size": 8, "labelled": True},
            "generator": {"widths": (16, 8), "latent_dim": 8, "norm": "batch"} | generator,
            "critic": {"widths": (4, 4), "conditioning": "projection"},
        }
    )
    gan, state = build_gan(config, num_classes=classes, axis_name=axis_name)
    # An average that is not the trained generator, and stored statistics of neither.
    moved = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(jax.random.key(p.size), p.shape), state.ema_params)
    return gan, state._replace(ema_params=moved, ema_stats=jax.tree.map(lambda s: s + 7.0, state.ema_stats))


@pytest.mark.parametrize("axis_name", [None, AXIS])
def test_statistics_are_those_of_the_averaged_weights(axis_name):
    gan, state = game(axis_name)
    stats = with_own_statistics(gan.generator, state, gan.latent_dim, IN_TURN, axis_name).ema_stats
    # The first norm sees a linear map of latent and embedding, whose moments follow from the weights alone.
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), state.ema_params)
    kernel, embedding = params["project"]["kernel"], params["embedding"]["embedding"]
    weights = kernel.reshape(-1, 2, 2, 16)
    shift = np.einsum("ce,ehwf->chwf", embedding, weights[8:])
    mean = shift.mean(axis=(0, 1, 2))
    var = (weights[:8] ** 2).sum(0).mean(axis=(0, 1)) + (shift**2).mean(axis=(0, 1, 2)) - mean**2
    np.testing.assert_allclose(stats["norm1"]["norm"]["var"], var, rtol=0.1)
    np.testing.assert_allclose(stats["norm1"]["norm"]["mean"], mean, atol=0.1 * np.sqrt(var).max())


@pytest.mark.parametrize("rare", [0, 99])
def test_classes_have_the_shares_that_they_are_given(rare):
    """Seven eighths of one class, one of another: the latter's pull on the mean of the first, linear, map."""
    gan, state = game(classes=100)
    table = state.ema_params["embedding"]["embedding"].at[rare].set(5.0)
    state = state._replace(ema_params=state.ema_params | {"embedding": {"embedding": table}})
    labels = np.where(np.arange(STATISTICS_SAMPLES) % 8 == 3, rare, 50).astype(np.int32)
    stats = with_own_statistics(gan.generator, state, gan.latent_dim, labels).ema_stats
    kernel = np.asarray(state.ema_params["project"]["kernel"], np.float64)[8:].reshape(8, -1, 16).mean(axis=1)
    of_class = np.asarray(state.ema_params["embedding"]["embedding"], np.float64) @ kernel
    expected = 7 / 8 * of_class[50] + of_class[rare] / 8
    np.testing.assert_allclose(stats["norm1"]["norm"]["mean"], expected, atol=0.15)
    assert np.abs(of_class[50] - of_class[rare]).max() / 8 > 0.5, "or the shares could not be told"


def test_they_depend_on_no_statistics_of_the_average_and_change_nothing_else():
    gan, state = game()
    first = with_own_statistics(gan.generator, state, gan.latent_dim, IN_TURN)
    again = with_own_statistics(gan.generator, first, gan.latent_dim, IN_TURN)
    jax.tree.map(np.testing.assert_array_equal, first, again)
    jax.tree.map(np.testing.assert_array_equal, first._replace(ema_stats=None), state._replace(ema_stats=None))


def test_samples_of_the_average_have_the_contrast_of_its_batches():
    gan, state = game()
    z, labels = jax.random.normal(jax.random.key(5), (256, 8)), jnp.arange(256) % 2
    own = with_own_statistics(gan.generator, state, gan.latent_dim, IN_TURN)
    as_trained, _ = gan.generator(state.ema_params, state.ema_stats, z, labels, train=True)
    samples, _ = gan.generator(own.ema_params, own.ema_stats, z, labels, train=False)
    np.testing.assert_allclose(np.std(samples), np.std(as_trained), rtol=0.05)
    assert np.mean((samples - as_trained) ** 2) < 0.02 * np.var(as_trained)


def test_a_generator_without_statistics_is_left_alone():
    gan, state = game(norm="instance")
    assert with_own_statistics(gan.generator, state, gan.latent_dim, IN_TURN) is state
