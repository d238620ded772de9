"""Adaptive augmentation: its rule, its fixed point, its exactness on resume, and that nothing leaks into samples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.augment import adaptive
from jaxgan.augment.diffaugment import augment_both
from jaxgan.config import Config
from jaxgan.gan.build import build_gan
from jaxgan.gan.game import GAN, Augment
from jaxgan.gan.state import GANState, NetState
from jaxgan.gan.step import train_many
from jaxgan.objectives.losses import LOSSES
from jaxgan.objectives.penalties import PENALTIES
from jaxgan.runs.checkpoint import Checkpoints, into_state

RULE = {"target": 0.6, "highest": 0.8, "ramp_images": 3200.0, "batch_size": 32}


def simple_game(augment, *, critic_rate, generator_rate, image, n_critic=1, **fields):
    """A linear critic and a generator that makes one image, `image` at first, whatever its latents are."""
    optimizers = optax.sgd(critic_rate), optax.sgd(generator_rate)
    gan = GAN(
        critic=lambda params, stats, x, labels, train: ((jnp.tensordot(x, params, x.ndim - 1), None), stats),
        generator=lambda params, stats, z, labels, train: (jnp.broadcast_to(params, (len(z), *params.shape)), stats),
        critic_optimizer=optimizers[0],
        generator_optimizer=optimizers[1],
        loss=LOSSES["hinge"],
        latent_dim=1,
        n_critic=n_critic,
        ema_decay=lambda step: 0.995,
        augment=augment,
        **fields,
    )
    weights = jnp.ones_like(image) / image.size
    return gan, GANState(
        jnp.zeros((), jnp.int32),
        jax.random.key_data(jax.random.key(0)),
        NetState(image, {}, optimizers[1].init(image)),
        NetState(weights, {}, optimizers[0].init(weights)),
        image,
        {},
        augment=augment.initial() if augment else (),
    )


def run(gan, state, real, iterations, batch_size=32):
    """Trains on copies of one real image."""
    batch = jnp.broadcast_to(real, (batch_size, *real.shape))
    many = jax.jit(partial(train_many, gan, lambda data, ref: (data, None)))
    return many(state, batch, np.zeros((iterations, gan.n_critic), np.int32), iterations)


def negated(n_critic=1, **rule):
    """Turns an image into its negative with the probability, so that the mean sign of the scores is 1 - 2p."""

    def apply(state, keys, images):
        happens = jax.vmap(jax.random.uniform)(keys) < state.probability
        return jnp.where(happens.reshape(-1, *[1] * (images.ndim - 1)), -images, images)

    return Augment(apply, partial(adaptive.update, n_critic=n_critic, **(RULE | rule)), adaptive.initial)


@pytest.mark.parametrize(("target", "fixed_point"), [(0.6, 0.2), (0.2, 0.4)])
def test_the_probability_moves_to_where_the_mean_sign_meets_the_target(target, fixed_point):
    image = jnp.ones((2, 2, 1))
    gan, state = simple_game(negated(target=target), critic_rate=0.0, generator_rate=0.0, image=image)
    _, metrics = run(gan, state, image, 400)
    p, signs = np.asarray(metrics["augment_p"]), np.asarray(metrics["score_sign"])
    # It rises by 4 * 32 / 3200 at every fourth update, is there within ten of them, and then walks about it.
    np.testing.assert_allclose(p[:9], [0.0] * 4 + [0.04] * 4 + [0.08], atol=1e-6)
    assert abs(p[200:].mean() - fixed_point) < 0.04 and np.abs(p[200:] - fixed_point).max() < 0.2
    assert abs(signs[200:].mean() - target) < 0.08


@pytest.mark.parametrize(("weights", "bound"), [(1.0, 0.8), (-1.0, 0.0)])
def test_the_probability_stays_between_0_and_its_bound(weights, bound):
    """The critic is always sure of the reals, or always against them."""
    image = jnp.ones((2, 2, 1))
    never = negated()._replace(apply=lambda state, keys, images: images)
    gan, state = simple_game(never, critic_rate=0.0, generator_rate=0.0, image=image)
    state = state._replace(
        critic=state.critic._replace(params=weights * state.critic.params),
        augment=state.augment._replace(probability=jnp.float32(0.5)),
    )
    after, metrics = run(gan, state, image, 80)
    np.testing.assert_allclose(after.augment.probability, bound, atol=1e-6)
    assert np.asarray(metrics["augment_p"]).max() <= np.float32(0.8)


@pytest.mark.parametrize(("n_critic", "every"), [(1, 4), (2, 2), (3, 2), (5, 1)])
def test_the_pace_counts_the_reals_shown(n_critic, every):
    image = jnp.ones((2, 2, 1))
    never = negated(n_critic)._replace(apply=lambda state, keys, images: images)
    gan, state = simple_game(never, critic_rate=0.0, generator_rate=0.0, image=image, n_critic=n_critic)
    after, _ = run(gan, state, image, 4)
    np.testing.assert_allclose(after.augment.probability, 4 // every * every * n_critic * 32 / 3200, rtol=1e-6)


def test_a_resume_between_two_changes_is_exact(tmp_path):
    config = Config.from_dict(
        {
            "data": {"size": 8},
            "generator": {"latent_dim": 4, "widths": [4], "norm": "none"},
            "critic": {"widths": [4]},
            "objective": {"loss": "hinge"},
            "train": {"batch_size": 4},
            "diffaugment": {"policy": ["shift", "color"], "adaptive": True, "ramp_images": 32, "target": -1.0},
        }
    )
    gan, state = build_gan(config)
    images = np.random.default_rng(0).uniform(-1, 1, (10, 1, 4, 8, 8, 1)).astype(np.float32)
    many = jax.jit(partial(train_many, gan, lambda data, ref: (ref, None)))
    whole, metrics = many(state, (), images, 10)
    assert np.asarray(metrics["augment_p"]).max() > 0
    half, _ = many(state, (), images, 6)
    assert int(half.augment.iterations) == 2
    with Checkpoints(tmp_path, writable=True) as checkpoints:
        checkpoints.save(6, jax.tree.map(np.asarray, half), {"progress": {"best_step": 6}}, 6)
    with Checkpoints(tmp_path) as checkpoints:
        arrays, _ = checkpoints.read(6)
    read = into_state(arrays, jax.eval_shape(lambda: build_gan(config)[1]))
    resumed, _ = many(read, (), np.roll(images, -6, axis=0), 4)
    jax.tree.map(np.testing.assert_array_equal, resumed, whole)


@pytest.mark.parametrize("both", [True, False])
def test_augmentation_of_both_sides_does_not_leak_and_of_reals_alone_does(both):
    """The generator begins with a turned, brighter image and finds how the data lie, though 0.8 of them are changed."""
    real = jnp.asarray(np.random.default_rng(3).uniform(-0.8, 0.8, (4, 4, 1)), jnp.float32)
    change = partial(augment_both, ("turn", "brightness"), 0.8)
    fields = {"augment": Augment(lambda state, keys, images: change(keys, images))}
    if not both:
        fields = {"augment": None, "symmetry": lambda key, image: change(key[None], image[None])[0]}
    gan, state = simple_game(
        critic_rate=0.3,
        generator_rate=0.3,
        image=jnp.rot90(real) + 0.3,
        penalty=PENALTIES["r1"],
        penalty_weight=1.0,
        penalty_before_augment=True,
        **fields,
    )
    after, _ = run(gan, state, real, 4000)
    blurred = 0.2 * real + 0.8 * sum(jnp.rot90(real, k) for k in range(4)) / 4
    wanted = real if both else blurred
    assert float(jnp.abs(blurred - real).max()) > 0.5
    np.testing.assert_allclose(after.ema_params, wanted, atol=0.1)
