"""Self-attention over the pixels of a feature map, exact, without holding the score of every pair of them at once."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.models.layers import Dense

Array = jax.Array

# Scores of one sample that are held at once: 4 MiB in float32. On a CPU fewer queries, whose scores stay in its cache:
# docs/performance.md has what that gains.
_SCORES = 2**20
_QUERIES_ON_CPU = 64


def attend(query: Array, key: Array, value: Array, scores: int | None = None) -> Array:
    """`softmax(query key') value` of each sample, float32 `[N, P, V]`.

    Queries are taken in blocks, each with its whole row of scores, so the softmax is exact; a block's scores are made
    again in the backward passes of the first and the second derivative, which hold `N * scores` numbers of them.

    Args:
      query: `[N, P, F]`.
      key: `[N, Q, F]`.
      value: `[N, Q, V]`.
      scores: how many scores of a sample may be held at once; at the least one row is. None: what suits the platform
        that the program is lowered for.
    """
    queries, keys = query.shape[1], key.shape[1]
    if scores is not None:
        return _by_blocks(_block_size(queries, scores // keys), query, key, value)
    anywhere, on_cpu = (
        _block_size(queries, _SCORES // keys),
        _block_size(queries, min(_QUERIES_ON_CPU, _SCORES // keys)),
    )
    return lax.platform_dependent(
        query, key, value, cpu=partial(_by_blocks, on_cpu), default=partial(_by_blocks, anywhere)
    )


def _block_size(queries: int, most: int) -> int:
    """The largest divisor of the queries that is not above `most`, and 1 at the least."""
    return next(size for size in range(min(most, queries), 1, -1) if queries % size == 0) if most > 1 else 1


def _by_blocks(size: int, query: Array, key: Array, value: Array) -> Array:
    if size == query.shape[1]:
        return _block(query, key, value)
    return _merge(_attend(_cut(query, size), key, value))


def _block(query: Array, key: Array, value: Array) -> Array:
    weights = jnp.einsum("npf,nqf->npq", query, key, preferred_element_type=jnp.float32)
    weights = _softmax(weights).astype(value.dtype)
    return jnp.einsum("npq,nqv->npv", weights, value, preferred_element_type=jnp.float32)


@jax.custom_jvp
def _softmax(x: Array) -> Array:
    """Softmax over the last axis, whose derivatives need its result alone, and neither exponentials nor a quotient:
    `jax.nn.softmax` has them only where a global setting of JAX asks for it."""
    x = jnp.exp(x - lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True)))
    return x / jnp.sum(x, axis=-1, keepdims=True)


@_softmax.defjvp
def _softmax_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    y = _softmax(x)
    return y, y * (tangent - jnp.sum(y * tangent, axis=-1, keepdims=True))


def _cut(x: Array, size: int) -> Array:
    """`[N, P, F]` to blocks `[P / size, N, size, F]`."""
    return x.reshape(x.shape[0], -1, size, x.shape[-1]).swapaxes(0, 1)


def _merge(blocks: Array) -> Array:
    count, samples, size, width = blocks.shape
    return blocks.swapaxes(0, 1).reshape(samples, count * size, width)


@jax.custom_vjp
def _attend(blocks: Array, key: Array, value: Array) -> Array:
    return lax.map(lambda query: _block(query, key, value), blocks)


def _attend_forward(blocks: Array, key: Array, value: Array) -> tuple[Array, tuple[Array, ...]]:
    return _attend(blocks, key, value), (blocks, key, value)


def _attend_backward(operands: tuple[Array, ...], cotangents: Array) -> tuple[Array, ...]:
    # Written out, with one checkpoint a block: JAX's own derivative of a checkpoint's backward pass keeps all scores.
    blocks, key, value = operands

    @jax.checkpoint
    def adjoint(query: Array, key: Array, value: Array, cotangent: Array) -> tuple[Array, ...]:
        return jax.vjp(_block, query, key, value)[1](cotangent)

    def body(sums: tuple[Array, Array], block: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
        of_query, of_key, of_value = adjoint(block[0], key, value, block[1])
        return (sums[0] + of_key, sums[1] + of_value), of_query

    zeros = (jnp.zeros(key.shape, jnp.float32), jnp.zeros(value.shape, jnp.float32))
    (of_key, of_value), of_blocks = lax.scan(body, zeros, (blocks, cotangents))
    return of_blocks, of_key.astype(key.dtype), of_value.astype(value.dtype)


_attend.defvjp(_attend_forward, _attend_backward)


class SelfAttention(nn.Module):
    """`x + gain * attention(x)` (Zhang et al. 2019, arXiv:1805.08318): every pixel looks at all others.

    Queries and keys have an eighth of the channels, values a half; the gain starts at 0.

    Attributes:
      spectral: divide the weights by their largest singular value.
      equalized: as in `Layer`.
      activation_dtype: of the output; the softmax is float32.
      matmul_dtype: of the operands of the products.
    """

    spectral: bool = False
    equalized: bool = False
    activation_dtype: Any = jnp.float32
    matmul_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *S, C]`; `train`: whether spectral normalisation iterates."""
        count, channels = x.shape[0], x.shape[-1]
        layer = partial(
            Dense,
            use_bias=False,
            gain=1.0,
            spectral=self.spectral,
            equalized=self.equalized,
            activation_dtype=self.activation_dtype,
            matmul_dtype=self.matmul_dtype,
        )
        pixels = x.reshape(count, prod(x.shape[1:-1]), channels)
        narrow, half = max(1, channels // 8), max(1, channels // 2)
        query, key = (layer(narrow, name=name)(pixels, train).astype(self.matmul_dtype) for name in ("query", "key"))
        value = layer(half, name="value")(pixels, train).astype(self.matmul_dtype)
        y = layer(channels, name="output")(attend(query, key, value), train)
        gain = self.param("gain", nn.initializers.zeros, ())
        return x + gain.astype(x.dtype) * y.reshape(x.shape)
