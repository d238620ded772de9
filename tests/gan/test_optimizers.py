"""Optimizers: each takes steps of its own rule, and schedules reach what they promise when they promise it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.config import OptimizerConfig
from jaxgan.gan.optimizers import OPTIMIZERS, build_optimizer


def updates(config, count, per_iteration=1, total=10, gradient=1.0, lr=0.1):
    optimizer = build_optimizer(config, lr, per_iteration * config.warmup_iterations, per_iteration * total)
    params = jnp.float32([1.0])
    state = optimizer.init(params)
    sizes = []
    for _ in range(count):
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


@pytest.mark.parametrize("per_iteration", [1, 5])
def test_schedules_count_iterations_whatever_the_updates_in_one(per_iteration):
    def rates(**fields):
        config = OptimizerConfig(name="sgd", beta1=0.0, **fields)
        return updates(config, 10 * per_iteration + 1, per_iteration)

    linear = rates(schedule="linear")
    np.testing.assert_allclose(linear[[0, 5 * per_iteration, -1]], [0.1, 0.05, 0.0], atol=1e-7)
    cosine = rates(schedule="cosine")
    np.testing.assert_allclose(cosine[[0, 5 * per_iteration, -1]], [0.1, 0.05, 0.0], atol=1e-7)
    warm = rates(warmup_iterations=4)
    assert 0 < warm[0] < 0.03 and (np.diff(warm[: 4 * per_iteration]) > 0).all()
    np.testing.assert_allclose(warm[4 * per_iteration :], 0.1, rtol=1e-6)
    np.testing.assert_allclose(rates()[-1], 0.1, rtol=1e-6)


def test_clipping_bounds_the_global_norm():
    config = OptimizerConfig(name="sgd", beta1=0.0, grad_clip_norm=0.5)
    np.testing.assert_allclose(updates(config, 1, gradient=8.0), [0.05])
