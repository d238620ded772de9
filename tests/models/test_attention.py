"""Attention: blocks of queries give what the whole matrix gives, twice differentiated, in less memory."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.models.attention import SelfAttention, attend


def naive(query, key, value):
    weights = jax.nn.softmax(jnp.einsum("npf,nqf->npq", query, key), axis=-1)
    return jnp.einsum("npq,nqv->npv", weights, value)


def operands(positions, dtype, features=4):
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=(2, positions, width)), dtype) for width in (features, features, 6))


def penalty(attention, query, key, value):
    """A scalar whose gradient needs the second derivative, as a gradient penalty does."""

    def score(query, key, value):
        return jnp.sum(jnp.sin(attention(query, key, value)))

    return sum(jnp.sum(g**2) for g in jax.grad(score, argnums=(0, 1, 2))(query, key, value))


@pytest.mark.parametrize(("positions", "scores"), [(24, 1), (24, 24 * 5), (24, 10**6), (192, None), (7, None)])
def test_value_and_derivatives_are_those_of_the_whole_matrix_in_float64(positions, scores):
    exact = jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64()
    with exact:
        reference = operands(positions, jnp.float64)
        expected = naive(*reference)
        first = jax.grad(lambda *o: jnp.sum(naive(*o) ** 2), argnums=(0, 1, 2))(*reference)
        second = jax.grad(partial(penalty, naive), argnums=(0, 1, 2))(*reference)
    ours, blocked = operands(positions, jnp.float32), partial(attend, scores=scores)
    np.testing.assert_allclose(jax.jit(blocked)(*ours), expected, atol=1e-5)
    got = jax.jit(jax.grad(lambda *o: jnp.sum(blocked(*o) ** 2), argnums=(0, 1, 2)))(*ours)
    for a, b in zip(got, first, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * float(np.abs(b).max()))
    got = jax.jit(jax.grad(partial(penalty, blocked), argnums=(0, 1, 2)))(*ours)
    for a, b in zip(got, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * float(np.abs(b).max()))


def test_memory_of_the_second_derivative_does_not_grow_with_the_square():
    positions = 2048
    shapes = [jax.ShapeDtypeStruct((2, positions, width), jnp.float32) for width in (4, 4, 6)]

    def temporaries(attention):
        compiled = jax.jit(jax.grad(partial(penalty, attention), argnums=(0, 1, 2))).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    matrix = 2 * positions**2 * 4
    assert temporaries(naive) > matrix
    assert temporaries(partial(attend, scores=positions * 32)) < matrix / 4
    assert temporaries(attend) < matrix / 4, "as a CPU takes them"


def test_a_matrix_that_fits_is_cut_into_blocks_on_a_cpu_alone():
    shapes = [jax.ShapeDtypeStruct((2, 1024, width), jnp.float32) for width in (4, 4, 6)]
    loops = {}
    for platform in ("cpu", "cuda", "tpu"):
        lowered = jax.jit(attend).trace(*shapes).lower(lowering_platforms=(platform,))
        loops[platform] = lowered.as_text().count("stablehlo.while")
    assert loops == {"cpu": 1, "cuda": 0, "tpu": 0}


@pytest.mark.parametrize("shape", [(2, 4, 4, 16), (1, 4, 2, 4, 16)])
def test_the_layer_starts_as_the_identity_and_its_gain_is_trained(shape):
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    layer = SelfAttention()
    y, variables = layer.init_with_output(jax.random.key(0), x, True)
    np.testing.assert_array_equal(y, x)
    gradient = jax.grad(lambda params: jnp.sum(layer.apply({"params": params}, x, False) ** 2))(variables["params"])
    assert gradient["gain"] != 0
    moved = {**variables["params"], "gain": jnp.ones(())}
    assert float(jnp.abs(layer.apply({"params": moved}, x, False) - x).max()) > 0.1
