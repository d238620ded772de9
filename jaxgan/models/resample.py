"""Changing the side of feature maps by two, alone and joined with a convolution."""

from __future__ import annotations

from math import prod

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.layers import Layer
from jaxgan.ops.conv import conv, conv_transpose

Array = jax.Array


def nearest_up(x: Array) -> Array:
    """`[N, *S, C] -> [N, *2S, C]`, every pixel repeated along every spatial axis."""
    for axis in range(1, x.ndim - 1):
        x = jnp.repeat(x, 2, axis)
    return x


def bilinear_up(x: Array) -> Array:
    """`[N, *S, C] -> [N, *2S, C]`, linear between the centres of pixels along every axis, constant beyond the edge."""
    for axis in range(1, x.ndim - 1):
        size = x.shape[axis]
        first, last = (jax.lax.slice_in_dim(x, i, i + 1, axis=axis) for i in (0, size - 1))
        before = jnp.concatenate([first, jax.lax.slice_in_dim(x, 0, size - 1, axis=axis)], axis)
        after = jnp.concatenate([jax.lax.slice_in_dim(x, 1, size, axis=axis), last], axis)
        pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        x = pair.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
    return x


def average_down(x: Array) -> Array:
    """`[N, *2S, C] -> [N, *S, C]`, the mean of blocks of two along every spatial axis."""
    blocks = [part for side in x.shape[1:-1] for part in (side // 2, 2)]
    x = x.reshape(x.shape[0], *blocks, x.shape[-1])
    return jnp.mean(x, axis=tuple(range(2, x.ndim - 1, 2)))


# How generators double the side and critics halve it, each with what it does to maps that no convolution follows.
UPSAMPLING = {"nearest": nearest_up, "bilinear": bilinear_up, "transposed": nearest_up}
DOWNSAMPLING = {"average": average_down, "strided": average_down}


def widened(kernel: Array) -> Array:
    """A kernel of width k convolved with a box of two along every spatial axis: of width k + 1, sums not means.

    Args:
      kernel: `[*K, inputs, outputs]`.
    """
    for axis in range(kernel.ndim - 2):
        margin = [(1, 1) if i == axis else (0, 0) for i in range(kernel.ndim)]
        padded = jnp.pad(kernel, margin)
        size = padded.shape[axis]
        low, high = (jax.lax.slice_in_dim(padded, i, i + size - 1, axis=axis) for i in (0, 1))
        kernel = low + high
    return kernel


class UpConv(Layer):
    """Doubling of the side with a convolution of width 3 after it: `[N, *S, C] -> [N, *2S, features]`.

    Repeated pixels and convolution are ONE transposed convolution of stride 2 whose kernel is the 3 wide one convolved
    with a box: 16 products a pixel of 4 in place of 36 in two dimensions, and no large map in between.

    Attributes: as in `Layer`, and
      how: one of `UPSAMPLING`; "transposed" is a free kernel of width 4 with stride 2.
    """

    how: str = "nearest"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *S, C]`; `train`: whether spectral normalisation iterates."""
        rank, inputs = x.ndim - 2, x.shape[-1]
        if self.how == "transposed":
            # Of 4 taps along an axis each output meets 2.
            kernel = self.weights((4,) * rank + (self.features, inputs), 2**rank * inputs, train)
        else:
            kernel = self.weights((3,) * rank + (inputs, self.features), 3**rank * inputs, train)
        x, kernel = x.astype(self.activation_dtype), kernel.astype(self.activation_dtype)
        if self.how == "bilinear":
            y = conv(bilinear_up(x), kernel, stride=1, padding="SAME", matmul_dtype=self.matmul_dtype)
            return self.finish(y)
        if self.how == "nearest":
            # A transposed convolution takes the kernel of its adjoint: reflected, outputs before inputs.
            kernel = jnp.flip(widened(kernel), range(rank)).swapaxes(-1, -2)
        shape = tuple(2 * side for side in x.shape[1:-1])
        y = conv_transpose(x, kernel, stride=2, padding="SAME", output_shape=shape, matmul_dtype=self.matmul_dtype)
        return self.finish(y)


class DownConv(Layer):
    """A convolution of width 3 with halving of the side after it: `[N, *2S, C] -> [N, *S, features]`.

    Convolution and mean of blocks are ONE convolution of stride 2, as in `UpConv`.

    Attributes: as in `Layer`, and
      how: one of `DOWNSAMPLING`; "strided" is a free kernel of width 4 with stride 2.
    """

    how: str = "average"

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *2S, C]`; `train`: whether spectral normalisation iterates."""
        rank = x.ndim - 2
        taps = (4 if self.how == "strided" else 3,) * rank
        kernel = self.weights((*taps, x.shape[-1], self.features), prod(taps) * x.shape[-1], train)
        if self.how == "average":
            kernel = widened(kernel) / 2**rank
        x, kernel = x.astype(self.activation_dtype), kernel.astype(self.activation_dtype)
        return self.finish(conv(x, kernel, stride=2, padding="SAME", matmul_dtype=self.matmul_dtype))
