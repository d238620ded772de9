"""Penalties on the critic's input gradient, elementwise: each returns one float32 value a sample.

Every penalty is a function `(score, real, fake, keys) -> [N]` with

  score: `(x [N, *S, C]) -> scores [N]`, the critic with its parameters bound;
  real, fake: float32 `[N, *S, C]`;
  keys: `[N]` PRNG keys, one a sample, so that the result does not depend on how a batch is spread over devices.

A function that also needs labels binds them into `score`: real, fake and mixed samples share them.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

Array = jax.Array
Score = Callable[[Array], Array]
Penalty = Callable[[Score, Array, Array, Array], Array]


def squared_gradient(score: Score, x: Array) -> Array:
    """`|| d score(x_n) / d x_n ||^2` for each sample, float32 `[N]`.

    The SUM of the scores is differentiated, so that no gradient is scaled by the batch size, and the square is
    summed over every axis but the first.
    """
    gradient = jax.grad(lambda value: jnp.sum(score(value).astype(jnp.float32)))(x).astype(jnp.float32)
    return jnp.sum(gradient**2, axis=tuple(range(1, gradient.ndim)))


def _norm(squared: Array) -> Array:
    # The derivative of a square root at 0 is infinite: keep epsilon inside.
    return jnp.sqrt(squared + 1e-12)


def _mixed(real: Array, fake: Array, keys: Array) -> Array:
    share = jax.vmap(jax.random.uniform)(keys).reshape((-1,) + (1,) * (real.ndim - 1))
    return fake + share * (real - fake)


def gradient_penalty(score: Score, real: Array, fake: Array, keys: Array) -> Array:
    """`(||grad|| - 1)^2` between real and fake (Gulrajani et al. 2017, arXiv:1704.00028)."""
    return (_norm(squared_gradient(score, _mixed(real, fake, keys))) - 1.0) ** 2


def lipschitz_penalty(score: Score, real: Array, fake: Array, keys: Array) -> Array:
    """`max(0, ||grad|| - 1)^2` between real and fake (Petzka et al. 2018, arXiv:1709.08894)."""
    return jax.nn.relu(_norm(squared_gradient(score, _mixed(real, fake, keys))) - 1.0) ** 2


def r1(score: Score, real: Array, fake: Array, keys: Array) -> Array:
    """`||grad||^2 / 2` at the reals (Mescheder et al. 2018, arXiv:1801.04406)."""
    return 0.5 * squared_gradient(score, real)


def r2(score: Score, real: Array, fake: Array, keys: Array) -> Array:
    """`||grad||^2 / 2` at the fakes (Mescheder et al. 2018, arXiv:1801.04406)."""
    return 0.5 * squared_gradient(score, fake)


def r1_r2(score: Score, real: Array, fake: Array, keys: Array) -> Array:
    """The sum of `r1` and `r2` (Huang et al. 2024, arXiv:2501.05441)."""
    return r1(score, real, fake, keys) + r2(score, real, fake, keys)


def dragan(score: Score, real: Array, fake: Array, keys: Array) -> Array:
    """`(||grad|| - 1)^2` around the reals (Kodali et al. 2017, arXiv:1705.07215).

    Each real is moved by uniform noise of up to half its own standard deviation, so that samples stay independent.
    """
    noise = jax.vmap(lambda key, x: jax.random.uniform(key, x.shape))(keys, real)
    spread = jnp.std(real, axis=tuple(range(1, real.ndim)), keepdims=True)
    return (_norm(squared_gradient(score, real + 0.5 * spread * noise)) - 1.0) ** 2


PENALTIES: dict[str, Penalty] = {
    "gp": gradient_penalty,
    "lp": lipschitz_penalty,
    "r1": r1,
    "r2": r2,
    "r1+r2": r1_r2,
    "dragan": dragan,
}

# Those that draw the gradient to 0 are taken on the images as they are, before an augmentation of reals and fakes, as
# R1 is in Karras et al. 2020 (arXiv:2006.06676): what is to be flat is the score of the image that the generator makes.
# Those that draw its norm to 1 bound the slope of the critic between the two distributions that it compares, and these
# are the augmented ones.
BEFORE_AUGMENTATION = frozenset({"r1", "r2", "r1+r2"})
