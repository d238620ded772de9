"""Norms of activations, by name: one table, and one module that adds scale and bias, by class where labels choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array

# As in DCGAN; flax's 0.99 needs thousands of updates before the statistics mean anything.
BATCH_NORM_MOMENTUM = 0.9
# Channels of a group at least: with one each, group norm would be instance norm.
_GROUP = 4


class PixelNorm(nn.Module):
    """Each pixel's channels divided by their root mean square, without scale or bias (Karras et al. 2018,
    arXiv:1710.10196)."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """`x` `[N, *S, C]`."""
        y = x.astype(jnp.float32)
        return (y * jax.lax.rsqrt(jnp.mean(y**2, axis=-1, keepdims=True) + 1e-8)).astype(self.dtype)


def _batch(x: Array, train: bool, axis_name: str | None, **affine) -> nn.Module:
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=1e-5,
        axis_name=axis_name,
        name="norm",
        **affine,
    )


def _layer(x: Array, train: bool, axis_name: str | None, **affine) -> nn.Module:
    return nn.LayerNorm(reduction_axes=tuple(range(1, x.ndim)), feature_axes=-1, name="norm", **affine)


def _instance(x: Array, train: bool, axis_name: str | None, **affine) -> nn.Module:
    return nn.InstanceNorm(feature_axes=-1, epsilon=1e-5, name="norm", **affine)


def _group(x: Array, train: bool, axis_name: str | None, **affine) -> nn.Module:
    return nn.GroupNorm(num_groups=groups_of(x.shape[-1]), name="norm", **affine)


def groups_of(channels: int) -> int:
    """How many equal groups "group" makes: at most 32, of four channels or more."""
    return next(g for g in range(max(1, min(32, channels // _GROUP)), 0, -1) if channels % g == 0)


def _pixel(x: Array, train: bool, axis_name: str | None, *, dtype: Any, **affine) -> nn.Module:
    return PixelNorm(dtype, name="norm")


# What a norm reduces over: "batch" (N, *S), synchronised over devices; "layer" (*S, C) of each sample; "instance" *S of
# each sample and channel; "group" *S and four channels or more, in at most 32 groups, of each sample (Wu & He 2018,
# arXiv:1803.08494); "pixel" C of each pixel.
NORMS: dict[str, Callable[..., nn.Module] | None] = {
    "none": None,
    "batch": _batch,
    "layer": _layer,
    "instance": _instance,
    "group": _group,
    "pixel": _pixel,
}


def needs_bias(norm: str) -> bool:
    """Whether a layer before this norm keeps a bias: the others subtract it, or add their own."""
    return norm in ("none", "pixel")


class Norm(nn.Module):
    """Normalisation by name, with its scale and bias per channel, or per class and channel when labels are given.

    Attributes:
      kind: one of `NORMS`; "none" does nothing.
      num_classes: above 0, scale and bias are looked up by label (conditional norm, Dumoulin et al. 2017,
        arXiv:1610.07629).
      axis_name: the mapped axis over devices, or None.
      activation_dtype: of the output; statistics are float32.
    """

    kind: str
    num_classes: int = 0
    axis_name: str | None = None
    activation_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, train: bool, labels: Array | None = None) -> Array:
        """`x` `[N, *S, C]`; `train`: whether batch norm uses the batch's statistics; `labels` int `[N]`."""
        make = NORMS[self.kind]
        if make is None:
            return x
        affine = self.num_classes == 0
        y = make(x, train, self.axis_name, use_scale=affine, use_bias=affine, dtype=self.activation_dtype)(x)
        return y if affine else self._class_affine(y, labels)

    def _class_affine(self, y: Array, labels: Array | None) -> Array:
        scale = self.param("class_scale", nn.initializers.ones, (self.num_classes, y.shape[-1]))
        bias = self.param("class_bias", nn.initializers.zeros, (self.num_classes, y.shape[-1]))
        shape = (y.shape[0],) + (1,) * (y.ndim - 2) + (y.shape[-1],)
        return y * scale[labels].reshape(shape).astype(y.dtype) + bias[labels].reshape(shape).astype(y.dtype)
