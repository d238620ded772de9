"""Layers that the networks share: convolutions over `ops.conv`, spectral normalisation, norms, conditioning.

All are channels-last and of any spatial rank: the rank is taken from the input's shape.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.ops.conv import conv, conv_transpose

Array = jax.Array

# One collection holds everything that a network remembers beside its parameters: running means and variances,
# and the singular vectors of spectral normalisation.
STATS = "batch_stats"


def spectral_normalise(module: nn.Module, kernel: Array, train: bool) -> Array:
    """`kernel / sigma`, with sigma the largest singular value of the kernel as a matrix [inputs * taps, outputs].

    One power iteration a training pass, its left vector kept in `batch_stats`; the vectors are constants of the
    derivative, sigma is not (Miyato et al. 2018, arXiv:1802.05957, appendix A).

    Args:
      module: the layer that owns the kernel; gets the variable `singular_vector`, `[outputs]`.
      kernel: `[..., outputs]`.
      train: whether to iterate; otherwise the stored vector is used as it is.
    """
    matrix = kernel.reshape(-1, kernel.shape[-1])

    def start() -> Array:
        vector = jax.random.normal(module.make_rng("params"), (kernel.shape[-1],))
        return vector / jnp.linalg.norm(vector)

    stored = module.variable(STATS, "singular_vector", start)
    fixed = jax.lax.stop_gradient(matrix)
    left = fixed @ stored.value
    left = left * jax.lax.rsqrt(jnp.sum(left**2) + 1e-12)
    right = left @ fixed
    right = right * jax.lax.rsqrt(jnp.sum(right**2) + 1e-12)
    if train and not module.is_initializing():
        stored.value = right
    return kernel / (left @ matrix @ right)


class Conv(nn.Module):
    """Strided convolution, `[N, *S, C] -> [N, *S / stride, features]` with `SAME` padding.

    Attributes:
      features: output channels.
      kernel: width of the kernel along every spatial axis.
      stride: the same along every spatial axis.
      spectral: divide the kernel by its largest singular value.
      use_bias: add a bias to each channel.
      dtype: of the output; parameters are float32.
      product_dtype: to which the operands of the products are rounded; sums are float32.
      gain: variance of the output over that of the input at the start (He et al. 2015: 2 before a ReLU).
    """

    features: int
    kernel: int = 4
    stride: int = 2
    spectral: bool = False
    use_bias: bool = True
    dtype: Any = jnp.float32
    product_dtype: Any = jnp.float32
    gain: float = 2.0

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *S, C]`; `train`: whether spectral normalisation iterates."""
        rank = x.ndim - 2
        init = nn.initializers.variance_scaling(self.gain, "fan_in", "normal")
        kernel = self.param("kernel", init, (self.kernel,) * rank + (x.shape[-1], self.features))
        if self.spectral:
            kernel = spectral_normalise(self, kernel, train)
        x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
        y = conv(x, kernel, stride=self.stride, padding="SAME", product_dtype=self.product_dtype)
        return _add_bias(self, y)


class ConvTranspose(nn.Module):
    """Transposed convolution, the input adjoint of `Conv`: `[N, *S, C] -> [N, *S * stride, features]`.

    Attributes: as in `Conv`.
    """

    features: int
    kernel: int = 4
    stride: int = 2
    spectral: bool = False
    use_bias: bool = True
    dtype: Any = jnp.float32
    product_dtype: Any = jnp.float32
    gain: float = 2.0

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *S, C]`; `train`: whether spectral normalisation iterates."""
        rank = x.ndim - 2
        # Each output meets only every stride-th tap along an axis, so fewer terms are summed than the kernel has.
        scale = self.gain * self.stride**rank
        init = nn.initializers.variance_scaling(scale, "fan_in", "normal", in_axis=-1, out_axis=-2)
        # Kernel as of the convolution whose adjoint this is: [*K, outputs, inputs].
        kernel = self.param("kernel", init, (self.kernel,) * rank + (self.features, x.shape[-1]))
        if self.spectral:
            kernel = spectral_normalise(self, kernel, train)
        shape = tuple(side * self.stride for side in x.shape[1:-1])
        y = conv_transpose(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            padding="SAME",
            output_shape=shape,
            product_dtype=self.product_dtype,
        )
        return _add_bias(self, y)


class Dense(nn.Module):
    """Linear map of the last axis, `[..., inputs] -> [..., features]`.

    Attributes: as in `Conv`.
    """

    features: int
    spectral: bool = False
    use_bias: bool = True
    dtype: Any = jnp.float32
    product_dtype: Any = jnp.float32
    gain: float = 2.0

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[..., inputs]`; `train`: whether spectral normalisation iterates."""
        init = nn.initializers.variance_scaling(self.gain, "fan_in", "normal")
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        if self.spectral:
            kernel = spectral_normalise(self, kernel, train)
        x, kernel = x.astype(self.product_dtype), kernel.astype(self.product_dtype)
        y = jnp.dot(x, kernel, preferred_element_type=jnp.float32)
        return _add_bias(self, y.astype(self.dtype))


def _add_bias(module: nn.Module, y: Array) -> Array:
    if not module.use_bias:
        return y
    bias = module.param("bias", nn.initializers.zeros, (module.features,))
    return y + bias.astype(y.dtype)


class Norm(nn.Module):
    """Normalisation by name, with its scale and bias per channel, or per class and channel when labels are given.

    Attributes:
      kind: "none" and "spectral" do nothing here; "batch" over (N, *S), synchronised over `axis_name`;
        "layer" over (*S, C) of each sample; "instance" over *S of each sample and channel; "group" over *S and
        groups of at most 32 channels of each sample.
      num_classes: above 0, scale and bias are looked up by label (conditional norm, Dumoulin et al. 2017,
        arXiv:1610.07629).
      axis_name: the mapped axis over devices, or None.
      dtype: of the output; statistics are float32.
    """

    kind: str
    num_classes: int = 0
    axis_name: str | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool, labels: Array | None = None) -> Array:
        """`x` `[N, *S, C]`; `train`: whether batch norm uses the batch's statistics; `labels` int `[N]`."""
        if self.kind in ("none", "spectral"):
            return x
        affine = self.num_classes == 0
        common = {"use_scale": affine, "use_bias": affine, "dtype": self.dtype}
        spatial = tuple(range(1, x.ndim - 1))
        if self.kind == "batch":
            # Momentum 0.9 as in DCGAN; flax's 0.99 needs thousands of updates before the statistics mean anything.
            y = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                axis_name=self.axis_name,
                name="norm",
                **common,
            )(x)
        elif self.kind == "layer":
            y = nn.LayerNorm(reduction_axes=(*spatial, -1), feature_axes=-1, name="norm", **common)(x)
        elif self.kind == "instance":
            y = nn.InstanceNorm(feature_axes=-1, epsilon=1e-5, name="norm", **common)(x)
        else:
            groups = next(g for g in range(min(32, x.shape[-1]), 0, -1) if x.shape[-1] % g == 0)
            y = nn.GroupNorm(num_groups=groups, name="norm", **common)(x)
        return y if affine else self._class_affine(y, labels)

    def _class_affine(self, y: Array, labels: Array | None) -> Array:
        scale = self.param("class_scale", nn.initializers.ones, (self.num_classes, y.shape[-1]))
        bias = self.param("class_bias", nn.initializers.zeros, (self.num_classes, y.shape[-1]))
        shape = (y.shape[0],) + (1,) * (y.ndim - 2) + (y.shape[-1],)
        return y * scale[labels].reshape(shape).astype(y.dtype) + bias[labels].reshape(shape).astype(y.dtype)
