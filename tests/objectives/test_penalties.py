"""Penalties against a hand-written reference in float64, and the mistakes that public code is known for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives.penalties import PENALTIES, gradient_penalty, squared_gradient

N, SHAPE, HIDDEN = 4, (3, 2, 2), 5


def network(seed=0):
    rng = np.random.default_rng(seed)
    return {"w": rng.normal(size=(HIDDEN, int(np.prod(SHAPE)))), "v": rng.normal(size=HIDDEN)}


def score(params, x):
    """A two-layer critic with a smooth activation, so that finite differences are exact enough."""
    return jnp.tanh(x.reshape(len(x), -1) @ params["w"].T) @ params["v"]


def reference_norm(params, x):
    """|| d score / d x || by hand: the gradient is W' diag(1 - tanh^2) v."""
    w, v = params["w"], params["v"]
    hidden = np.tanh(x.reshape(len(x), -1).astype(np.float64) @ w.T)
    return np.linalg.norm(((1 - hidden**2) * v) @ w, axis=1)


def inputs(seed=1):
    rng = np.random.default_rng(seed)
    real, fake = rng.uniform(-1, 1, (2, N, *SHAPE)).astype(np.float32)
    return real, fake, jax.random.split(jax.random.key(seed), N)


def points(real, fake, keys):
    """Where each penalty looks, from the same keys."""
    share = np.asarray(jax.vmap(jax.random.uniform)(keys)).reshape(N, 1, 1, 1)
    noise = np.asarray(jax.vmap(lambda key: jax.random.uniform(key, SHAPE))(keys))
    spread = real.std(axis=(1, 2, 3), keepdims=True)
    return {"mixed": share * real + (1 - share) * fake, "around": real + 0.5 * spread * noise}


REFERENCES = {
    "gp": lambda n, at, real, fake: (n(at["mixed"]) - 1) ** 2,
    "lp": lambda n, at, real, fake: np.maximum(n(at["mixed"]) - 1, 0) ** 2,
    "r1": lambda n, at, real, fake: n(real) ** 2 / 2,
    "r2": lambda n, at, real, fake: n(fake) ** 2 / 2,
    "r1+r2": lambda n, at, real, fake: (n(real) ** 2 + n(fake) ** 2) / 2,
    "dragan": lambda n, at, real, fake: (n(at["around"]) - 1) ** 2,
}


def test_every_penalty_has_its_reference():
    assert REFERENCES.keys() == PENALTIES.keys()


@pytest.mark.parametrize("name", PENALTIES)
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_value_and_parameter_gradient_agree_with_float64(name, scale):
    params = {key: value * scale**0.5 for key, value in network().items()}
    real, fake, keys = inputs()

    def reference(params):
        at = points(real, fake, keys)
        return REFERENCES[name](lambda x: reference_norm(params, x), at, real, fake)

    single = jax.tree.map(jnp.float32, params)
    value = PENALTIES[name](lambda x: score(single, x), real, fake, keys)
    assert value.shape == (N,) and value.dtype == jnp.float32
    np.testing.assert_allclose(value, reference(params), rtol=2e-4, atol=1e-5)

    gradient = jax.grad(lambda p: jnp.sum(PENALTIES[name](lambda x: score(p, x), real, fake, keys)))(single)
    for key, array in params.items():
        expected = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            shifted = [{**params, key: array.copy()} for _ in range(2)]
            for side, sign in zip(shifted, (1, -1), strict=True):
                side[key][index] += sign * 1e-5
            expected[index] = (reference(shifted[0]).sum() - reference(shifted[1]).sum()) / 2e-5
        np.testing.assert_allclose(gradient[key], expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", PENALTIES)
def test_a_critic_without_gradient_gives_no_nan(name):
    real, fake, keys = inputs()

    def total(weight):
        return jnp.sum(PENALTIES[name](lambda x: weight * x.reshape(N, -1).sum(1) + 3.0, real, fake, keys))

    value, gradient = jax.value_and_grad(total)(jnp.zeros(()))
    assert jnp.isfinite(value) and jnp.isfinite(gradient)
    assert jnp.isfinite(jax.grad(jax.grad(total))(jnp.ones(())))


@pytest.mark.parametrize("name", PENALTIES)
def test_a_sample_does_not_depend_on_the_others(name):
    real, fake, keys = inputs()
    params = jax.tree.map(jnp.float32, network())
    together = PENALTIES[name](lambda x: score(params, x), real, fake, keys)
    for i in range(N):
        alone = PENALTIES[name](lambda x: score(params, x), real[i : i + 1], fake[i : i + 1], keys[i : i + 1])
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_norm_is_over_all_axes_of_a_sample(rank):
    # A critic that sums its input has gradient 1 everywhere: the squared norm is the number of elements.
    x = jnp.ones((2, *(3,) * rank, 2))
    np.testing.assert_allclose(squared_gradient(lambda v: v.reshape(2, -1).sum(1), x), 3**rank * 2)


def test_the_mixing_share_is_uniform_and_one_a_sample():
    # Score x^2 / 2 has gradient x: with real = 1 and fake = 0, the norm is the share itself.
    count = 4000
    keys = jax.random.split(jax.random.key(0), count)
    real, fake = jnp.ones((count, 1)), jnp.zeros((count, 1))
    shares = 1.0 - np.sqrt(gradient_penalty(lambda x: (x**2 / 2).sum(1), real, fake, keys))
    quantiles = np.quantile(shares, [0.1, 0.25, 0.5, 0.75, 0.9])
    np.testing.assert_allclose(quantiles, [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.03)
    assert len(np.unique(shares)) > 0.99 * count


def test_inner_gradient_is_float32_before_the_norm():
    # A gradient of 257 ones in bfloat16: their sum of squares is 257, which bfloat16 would round to 256.
    value = squared_gradient(lambda x: x.sum(1), jnp.ones((2, 257), jnp.bfloat16))
    assert value.dtype == jnp.float32
    np.testing.assert_array_equal(value, 257.0)
