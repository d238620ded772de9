"""The real step learns a distribution whose truth is known: all eight modes of a ring of Gaussians, none forgotten."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.gan.game import GAN
from jaxgan.gan.state import GANState, NetState
from jaxgan.gan.step import train_many
from jaxgan.objectives.losses import LOSSES
from jaxgan.objectives.penalties import PENALTIES

MODES, RADIUS, SPREAD, BATCH, LATENT = 8, 0.8, 0.05, 128, 4


def centres():
    angle = 2 * np.pi * np.arange(MODES) / MODES
    return RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ring(data, key):
    """Fresh reals for every update: `load_batch` draws them from a key."""
    chosen, noise = jax.random.split(jax.random.wrap_key_data(key))
    mode = jax.random.randint(chosen, (BATCH,), 0, MODES)
    return data[mode] + SPREAD * jax.random.normal(noise, (BATCH, 2)), None


def perceptron(key, sizes):
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        {"w": jax.random.normal(k, (m, n)) * np.sqrt(2 / m), "b": jnp.zeros(n)}
        for k, m, n in zip(keys, sizes, sizes[1:], strict=False)
    ]


def forward(params, x):
    for layer in params[:-1]:
        x = jax.nn.leaky_relu(x @ layer["w"] + layer["b"][None], 0.2)
    return x @ params[-1]["w"] + params[-1]["b"][None]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("loss", "penalty", "weight", "n_critic"), [("wgan", "gp", 0.1, 3), ("relativistic", "r1+r2", 0.02, 1)]
)
def test_all_modes_are_found(loss, penalty, weight, n_critic):
    adam = optax.adam(1e-3, 0.0, 0.9)
    gan = GAN(
        generator=lambda params, stats, z, labels, train: (forward(params, z), stats),
        critic=lambda params, stats, x, labels, train: ((forward(params, x)[:, 0], None), stats),
        generator_optimizer=adam,
        critic_optimizer=adam,
        loss=LOSSES[loss],
        latent_dim=LATENT,
        n_critic=n_critic,
        ema_decay=lambda step: 0.99,
        penalty=PENALTIES[penalty],
        penalty_weight=weight,
    )
    keys = jax.random.split(jax.random.key(0), 4)
    g, c = perceptron(keys[0], (LATENT, 128, 128, 2)), perceptron(keys[1], (2, 128, 128, 1))
    state = GANState(
        step=jnp.zeros((), jnp.int32),
        key=jax.random.key_data(keys[2]),
        generator=NetState(g, {}, adam.init(g)),
        critic=NetState(c, {}, adam.init(c)),
        ema_params=g,
        ema_stats={},
    )
    iterations = 4000
    refs = jax.random.key_data(jax.random.split(keys[3], (iterations, n_critic)))
    state, metrics = jax.jit(partial(train_many, gan, ring))(state, jnp.asarray(centres()), refs, iterations)
    assert all(np.isfinite(values).all() for values in metrics.values())

    samples = np.asarray(forward(state.ema_params, jax.random.normal(jax.random.key(9), (4000, LATENT))))
    distance = np.linalg.norm(samples[:, None] - centres(), axis=2)
    near = distance.min(axis=1) < 3 * SPREAD  # 99% of the reals, and 48% of a generator that draws an even ring.
    shares = np.bincount(distance.argmin(axis=1)[near], minlength=MODES) / len(samples)
    # An even share is 0.12; the generator is continuous, so some samples lie between the modes.
    assert shares.min() > 0.03, shares
    assert near.mean() > 0.54, near.mean()
