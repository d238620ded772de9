"""One contract that every adversarial loss keeps, and the values of each against its formula in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxgan.objectives.losses import LOSSES, classification

SCORES = hnp.arrays(np.float32, 4, elements=st.floats(-50, 50, width=32))


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-np.asarray(x, np.float64)))


# (critic, generator) of each game, written as in its paper.
FORMULAS = {
    "wgan": (lambda r, f: f - r, lambda r, f: -f),
    "non_saturating": (lambda r, f: -np.log(sigmoid(r)) - np.log(sigmoid(-f)), lambda r, f: -np.log(sigmoid(f))),
    "saturating": (lambda r, f: -np.log(sigmoid(r)) - np.log(sigmoid(-f)), lambda r, f: np.log(sigmoid(-f))),
    "hinge": (lambda r, f: np.maximum(0, 1 - r) + np.maximum(0, 1 + f), lambda r, f: -f),
    "lsgan": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda r, f: (f - 1) ** 2 / 2),
    "relativistic": (lambda r, f: -np.log(sigmoid(r - f)), lambda r, f: -np.log(sigmoid(f - r))),
}


def test_every_loss_has_its_formula():
    assert FORMULAS.keys() == LOSSES.keys()


@pytest.mark.parametrize("name", LOSSES)
@given(real=SCORES, fake=SCORES)
def test_values_are_elementwise_finite_and_as_the_paper_says(name, real, fake):
    for got, want in zip(LOSSES[name][:2], FORMULAS[name], strict=True):
        value = got(real, fake)
        assert value.shape == (4,) and value.dtype == jnp.float32
        expected = want(real.astype(np.float64), fake.astype(np.float64))
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_derivatives_are_finite_and_point_the_right_way(name):
    loss = LOSSES[name]
    real, fake = jnp.float32([-200.0, -1.0, 0.5, 200.0]), jnp.float32([200.0, 0.5, -1.0, -200.0])
    for player in loss[:2]:
        for order in (jax.grad, lambda f, a: jax.grad(lambda *x: jnp.sum(jax.grad(f, a)(*x)), a)):
            for argument in (0, 1):
                assert jnp.isfinite(order(lambda r, f, p=player: jnp.sum(p(r, f)), argument)(real, fake)).all()
    # Between the two, the critic lifts reals above fakes, and the generator lifts fakes.
    middle = jnp.float32([0.1]), jnp.float32([0.2])
    up, down = jax.grad(lambda r, f: jnp.sum(loss.critic(r, f)), (0, 1))(*middle)
    assert up[0] < 0 < down[0]
    towards_real, lifted = jax.grad(lambda r, f: jnp.sum(loss.generator(r, f)), (0, 1))(*middle)
    assert lifted[0] < 0
    assert bool(towards_real[0]) == loss.relative


def test_classification_is_cross_entropy():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 3)) * 10, rng.integers(0, 3, 5)
    expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(5), labels]
    np.testing.assert_allclose(classification(jnp.float32(logits), labels), expected, rtol=1e-5, atol=1e-5)
