"""Optimizers: each takes steps of its own rule, and schedules reach what they promise when they promise it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import Config, OptimizerConfig
from jaxgan.gan.build import build_gan
from jaxgan.gan.optimizers import OPTIMIZERS, build_optimizer


def updates(config, count, gradient=1.0):
    return steps(build_optimizer(config, 0.1, config.warmup_iterations, 10), [gradient] * count)


def steps(optimizer, gradients):
    """How far a parameter of 1 would go down at each of these gradients."""
    params = jnp.float32([1.0])
    state = optimizer.init(params)
    sizes = []
    for gradient in gradients:
        change, state = optimizer.update(jnp.full(1, gradient), state, params)
        sizes.append(-float(change[0]))
    return np.array(sizes)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_downhill(name):
    assert (updates(OptimizerConfig(name=name), 3) > 0).all()


def test_rmsprop_is_pytorchs():
    """By hand: v = d v + (1 - d) g^2, step = lr g / (sqrt(v) + 1e-8), from v = 0."""
    got = updates(OptimizerConfig(name="rmsprop", beta2=0.99), 3, gradient=1e-6)
    v, expected = 0.0, []
    for _ in range(3):
        v = 0.99 * v + 0.01 * 1e-12
        expected.append(0.1 * 1e-6 / (np.sqrt(v) + 1e-8))
    np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_has_the_moments_and_the_decay_of_its_config(name):
    """By hand: the moments without their bias, and beside them what pulls the parameter to 0."""
    decay = {"weight_decay": 0.3} if name == "adamw" else {}
    config = OptimizerConfig(name=name, beta1=0.6, beta2=0.8, **decay)
    m, v, expected, gradients = 0.0, 0.0, [], (1.0, -3.0, 0.5)
    for t, g in enumerate(gradients, start=1):
        m, v = 0.6 * m + 0.4 * g, 0.8 * v + 0.2 * g**2
        expected.append(0.1 * (m / (1 - 0.6**t) / np.sqrt(v / (1 - 0.8**t)) + decay.get("weight_decay", 0.0)))
    np.testing.assert_allclose(steps(build_optimizer(config, 0.1, 0, 10), gradients), expected, rtol=1e-4)


@pytest.mark.parametrize("n_critic", [1, 5])
def test_schedules_count_iterations_whatever_the_updates_in_one(n_critic):
    def rates(network, count, **fields):
        """Of a network's updates in a run of ten iterations."""
        config = Config.from_dict(
            {
                "data": {"size": 8},
                "generator": {"widths": [4, 4]},
                "critic": {"widths": [4, 4]},
                "objective": {"loss": "wgan", "n_critic": n_critic},
                "optimizer": {"name": "sgd", "beta1": 0.0, "lr": 0.3, "critic_lr": 0.1, **fields},
            }
        )
        games = []
        jax.eval_shape(lambda: games.append(build_gan(config, 0, 10)[0]))
        return steps(getattr(games[0], f"{network}_optimizer"), [1.0] * count)

    for network, each, full in (("generator", 1, 0.3), ("critic", n_critic, 0.1)):
        for schedule in ("linear", "cosine"):
            falling = rates(network, 10 * each + 1, schedule=schedule)
            np.testing.assert_allclose(falling[[0, 5 * each, -1]], [full, full / 2, 0.0], atol=1e-7)
        warm = rates(network, 5 * each, warmup_iterations=4)
        assert 0 < warm[0] < 0.3 * full and (np.diff(warm[: 4 * each]) > 0).all()
        np.testing.assert_allclose(warm[4 * each :], full, rtol=1e-6)
        np.testing.assert_allclose(rates(network, 1), full, rtol=1e-6)
    np.testing.assert_allclose(rates("critic", 1, critic_lr=0.0), 0.3, rtol=1e-6)


def test_clipping_bounds_the_global_norm():
    config = OptimizerConfig(name="sgd", beta1=0.0, grad_clip_norm=0.5)
    np.testing.assert_allclose(updates(config, 1, gradient=8.0), [0.05])
