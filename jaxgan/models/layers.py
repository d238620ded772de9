"""Layers that the networks share: convolutions over `ops.conv` and dense maps, with weights by one rule.

All are channels-last and of any spatial rank: the rank is taken from the input's shape.
"""

from __future__ import annotations

from math import prod
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.models.spectral import STATS, spectral_normalise
from jaxgan.ops.conv import conv, conv_transpose

__all__ = ["STATS", "Conv", "ConvTranspose", "Dense", "Layer"]

Array = jax.Array


class Layer(nn.Module):
    """What layers with weights have in common; parameters are float32.

    Attributes:
      features: output channels.
      spectral: divide the kernel by its largest singular value.
      equalized: keep weights of variance 1 and scale them by He's constant in every pass, so that an optimizer with
        a fixed step moves all layers alike (Karras et al. 2018, arXiv:1710.10196).
      use_bias: add a bias to each channel.
      gain: variance of the output over that of the input at the start (He et al. 2015: 2 before a ReLU).
      start: factor of the first weights alone; 0 lets a residual branch begin as nothing.
      activation_dtype: of the output.
      matmul_dtype: to which the operands of the products are rounded; sums are float32.
    """

    features: int
    spectral: bool = False
    equalized: bool = False
    use_bias: bool = True
    gain: float = 2.0
    start: float = 1.0
    activation_dtype: Any = jnp.float32
    matmul_dtype: Any = jnp.float32

    def weights(self, shape: tuple[int, ...], terms: float, train: bool) -> Array:
        """The kernel `[*shape]` as it is applied, float32.

        Args:
          shape: of the kernel.
          terms: how many products an output sums.
          train: whether spectral normalisation iterates.
        """
        scale = np.sqrt(np.float32(self.gain / terms))
        initial = nn.initializers.normal(self.start if self.equalized else self.start * scale)
        kernel = self.param("kernel", initial, shape)
        if self.equalized:
            kernel = scale * kernel
        return spectral_normalise(self, kernel, train) if self.spectral else kernel

    def finish(self, y: Array) -> Array:
        """`y` `[..., features]` in the dtype of the activations, plus the bias."""
        y = y.astype(self.activation_dtype)
        if not self.use_bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(y.dtype)
        return y + jnp.expand_dims(bias, range(y.ndim - 1))


class Conv(Layer):
    """Strided convolution, `[N, *S, C] -> [N, *S / stride, features]` with `SAME` padding.

    Attributes: as in `Layer`, and
      kernel: width of the kernel along every spatial axis.
      stride: the same along every spatial axis.
    """

    kernel: int = 4
    stride: int = 2

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *S, C]`; `train`: whether spectral normalisation iterates."""
        taps = (self.kernel,) * (x.ndim - 2)
        kernel = self.weights((*taps, x.shape[-1], self.features), prod(taps) * x.shape[-1], train)
        x, kernel = x.astype(self.activation_dtype), kernel.astype(self.activation_dtype)
        return self.finish(conv(x, kernel, stride=self.stride, padding="SAME", matmul_dtype=self.matmul_dtype))


class ConvTranspose(Layer):
    """Transposed convolution, the input adjoint of `Conv`: `[N, *S, C] -> [N, *S * stride, features]`.

    Attributes: as in `Conv`.
    """

    kernel: int = 4
    stride: int = 2

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *S, C]`; `train`: whether spectral normalisation iterates."""
        rank = x.ndim - 2
        taps = (self.kernel,) * rank
        # Each output meets only every stride-th tap along an axis, so fewer terms are summed than the kernel has.
        terms = prod(taps) * x.shape[-1] / self.stride**rank
        # Kernel as of the convolution whose adjoint this is: [*K, outputs, inputs].
        kernel = self.weights((*taps, self.features, x.shape[-1]), terms, train)
        y = conv_transpose(
            x.astype(self.activation_dtype),
            kernel.astype(self.activation_dtype),
            stride=self.stride,
            padding="SAME",
            output_shape=tuple(side * self.stride for side in x.shape[1:-1]),
            matmul_dtype=self.matmul_dtype,
        )
        return self.finish(y)


class Dense(Layer):
    """Linear map of the last axis, `[..., inputs] -> [..., features]`; on images, a convolution 1x1."""

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[..., inputs]`; `train`: whether spectral normalisation iterates."""
        kernel = self.weights((x.shape[-1], self.features), x.shape[-1], train)
        x, kernel = x.astype(self.matmul_dtype), kernel.astype(self.matmul_dtype)
        return self.finish(jnp.dot(x, kernel, preferred_element_type=jnp.float32))
