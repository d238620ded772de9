"""Residual generator and critic for squares and cubes of any size (He et al. 2016, arXiv:1603.05027).

The side is `base * 2**k` with k the number of widths, as for the DCGAN: 28 = 7 * 4 with two, 64 = 4 * 16 with four.
A block doubles or halves the side once and takes two convolutions of width 3, one of them joined with the resampling
(`resample.py`); what does not change on the way, the shortcut, is resampled by itself.
"""

from __future__ import annotations

import dataclasses
from math import gcd, sqrt
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.config import CriticConfig, GeneratorConfig
from jaxgan.config.parsing import require
from jaxgan.models import dcgan
from jaxgan.models.attention import SelfAttention
from jaxgan.models.layers import Conv
from jaxgan.models.network import CriticModule, GeneratorModule, NetworkModule
from jaxgan.models.norms import Norm, needs_bias
from jaxgan.models.resample import DOWNSAMPLING, UPSAMPLING, DownConv, UpConv

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Style:
    """How all blocks of one network make their layers; attributes as in `ResidualNetwork`."""

    norm: str
    num_classes: int
    axis_name: str | None
    resample: str
    branch_start: float
    layer: tuple[tuple[str, Any], ...]

    def normed(self, name: str) -> nn.Module:
        """The network's norm, as a layer of the module being called."""
        dtype = dict(self.layer)["activation_dtype"]
        return Norm(self.norm, self.num_classes, self.axis_name, activation_dtype=dtype, name=name)

    @property
    def options(self) -> dict[str, Any]:
        """What every layer with weights is made with."""
        return dict(self.layer)

    def joined(self, shortcut: Array, branch: Array) -> Array:
        """Their sum, at the start with the variance of the shortcut; spectral weights have no scale to keep."""
        scale = 1.0 if self.options["spectral"] else 1 / sqrt(1 + self.branch_start**2)
        return scale * (shortcut + branch)


class UpBlock(nn.Module):
    """`[N, *S, C] -> [N, *2S, features]`: norm, ReLU, up with convolution, norm, ReLU, convolution, plus the shortcut.

    Attributes:
      features: output channels.
      style: of the layers.
    """

    features: int
    style: Style

    @nn.compact
    def __call__(self, x: Array, train: bool, labels: Array | None = None) -> Array:
        """`x` `[N, *S, C]`; `labels` int `[N]` of conditional norms."""
        style, options = self.style, self.style.options
        h = nn.relu(style.normed("norm1")(x, train, labels))
        bias = needs_bias(style.norm)
        h = UpConv(self.features, how=style.resample, use_bias=bias, name="conv1", **options)(h, train)
        h = nn.relu(style.normed("norm2")(h, train, labels))
        h = Conv(self.features, kernel=3, stride=1, start=style.branch_start, name="conv2", **options)(h, train)
        if x.shape[-1] != self.features:  # Before the resampling, with which a convolution 1x1 commutes.
            x = Conv(self.features, kernel=1, stride=1, gain=1.0, use_bias=False, name="shortcut", **options)(x, train)
        return style.joined(UPSAMPLING[style.resample](x), h)


class DownBlock(nn.Module):
    """`[N, *2S, C] -> [N, *S, features]`: norm, leaky ReLU, convolution, norm, leaky ReLU, convolution with down.

    Attributes:
      features: output channels.
      style: of the layers.
      first: whether the input is an image: then neither norm nor activation comes before the first convolution.
    """

    features: int
    style: Style
    first: bool = False

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        """`x` `[N, *2S, C]`."""
        style, options = self.style, self.style.options
        h, inner = x, self.features if self.first else x.shape[-1]
        if not self.first:
            h = nn.leaky_relu(style.normed("norm1")(h, train), 0.2)
        gain, bias = 1.0 if self.first else 2.0, self.first or needs_bias(style.norm)
        h = Conv(inner, kernel=3, stride=1, gain=gain, use_bias=bias, name="conv1", **options)(h, train)
        h = nn.leaky_relu(h if self.first else style.normed("norm2")(h, train), 0.2)
        h = DownConv(self.features, how=style.resample, start=style.branch_start, name="conv2", **options)(h, train)
        x = DOWNSAMPLING[style.resample](x)
        if x.shape[-1] != self.features:
            x = Conv(self.features, kernel=1, stride=1, gain=1.0, use_bias=False, name="shortcut", **options)(x, train)
        return style.joined(x, h)


def minibatch_deviation(x: Array, group: int) -> Array:
    """One more channel: the standard deviation over a group of samples, mean over all features (Karras et al. 2018,
    arXiv:1710.10196), `[N, *S, C] -> [N, *S, C + 1]`.

    Groups are neighbours by place in the batch, so a batch spread over devices has the groups of the whole one.

    Args:
      x: feature maps of `N` samples, `N` a multiple of `group`.
      group: samples that are compared.
    """
    y = x.astype(jnp.float32).reshape(-1, group, *x.shape[1:])
    # The root of 0 has no derivative: keep epsilon inside.
    deviation = jnp.sqrt(jnp.var(y, axis=1) + 1e-8)
    statistic = jnp.repeat(jnp.mean(deviation, axis=tuple(range(1, deviation.ndim))), group)
    statistic = jnp.broadcast_to(statistic.reshape((-1,) + (1,) * (x.ndim - 1)), (*x.shape[:-1], 1))
    return jnp.concatenate([x, statistic.astype(x.dtype)], axis=-1)


class ResidualNetwork(NetworkModule, kw_only=True):
    """What the residual generator and critic have in common.

    Attributes: as in `NetworkModule`, `widths` of the blocks' outputs and `norm` before every activation; and
      equalized: weights of variance 1, scaled in every pass, see `layers.Layer`.
      resample: one of `resample.UPSAMPLING` (generator) or `DOWNSAMPLING` (critic).
      attention: sides of the feature maps on which pixels look at each other.
      branch_start: factor of the first weights that end each residual branch; 0 begins with the shortcuts alone.
    """

    equalized: bool = False
    resample: str = ""
    attention: tuple[int, ...] = ()
    branch_start: float = 1.0

    @property
    def layer(self) -> dict[str, Any]:
        """What every layer with weights is made with."""
        return {**super().layer, "equalized": self.equalized}

    def style(self, num_classes: int) -> Style:
        """How the blocks make their layers; `num_classes` above 0 makes their norms conditional."""
        layer = tuple(self.layer.items())
        return Style(self.norm, num_classes, self.axis_name, self.resample, self.branch_start, layer)

    def attended(self, h: Array, train: bool) -> Array:
        """`h`, with self-attention where its side asks for it."""
        side = min(h.shape[1:-1])
        if side not in self.attention:
            return h
        return SelfAttention(name=f"attention{side}", **self.layer)(h, train)


class Generator(GeneratorModule, ResidualNetwork, kw_only=True):
    """Latents to samples: dense, then residual blocks that double the side, then one convolution and tanh.

    Attributes: as in `GeneratorModule` and `ResidualNetwork`, `widths` from the coarsest feature map to the finest.
    """

    resample: str = "nearest"

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, train: bool = False) -> Array:
        """`z` float32 `[N, latent_dim]`, `labels` int `[N]` or None; returns float32 `[N, *S, C]` in [-1, 1]."""
        style = self.style(self.num_classes)
        h = self.attended(self.start_map(z, labels, train, gain=1.0), train)
        for i, width in enumerate(self.widths, start=1):
            h = self.attended(UpBlock(width, style, name=f"block{i}")(h, train, labels), train)
        h = nn.relu(self.normed("last_norm", self.num_classes)(h, train, labels))
        h = Conv(self.shape[-1], kernel=3, stride=1, gain=1.0, name="image", **self.layer)(h, train)
        return jnp.tanh(h.astype(jnp.float32))


class Critic(CriticModule, ResidualNetwork, kw_only=True):
    """Samples to scores: residual blocks that halve the side, leaky ReLU, dense; no sigmoid.

    Attributes: as in `CriticModule` and `ResidualNetwork`, `widths` from the finest feature map to the coarsest; and
      minibatch_std: above 0, groups of so many samples see how much they differ: the critic couples samples.
    """

    resample: str = "average"
    minibatch_std: int = 0

    @nn.compact
    def __call__(self, x: Array, labels: Array | None = None, train: bool = False) -> tuple[Array, Array | None]:
        """`x` float32 `[N, *S, C]`; returns scores float32 `[N]` and, with "auxiliary", logits `[N, classes]`."""
        style, h = self.style(0), x.astype(self.activation_dtype)
        for i, width in enumerate(self.widths):
            h = self.attended(DownBlock(width, style, first=i == 0, name=f"block{i}")(h, train), train)
        return self.judged(h, labels, train)

    def judged(self, h: Array, labels: Array | None, train: bool) -> tuple[Array, Array | None]:
        """Scores and logits of the coarsest feature map `[N, *base, C]`."""
        h = nn.leaky_relu(self.normed("last_norm")(h, train), 0.2)
        if self.minibatch_std:
            h = minibatch_deviation(h, self._group(len(h), train))
            h = Conv(h.shape[-1] - 1, kernel=3, stride=1, name="mix", **self.layer)(h, train)
            h = nn.leaky_relu(h, 0.2)
        return self.scores(h, labels, train)

    def _group(self, count: int, train: bool) -> int:
        if not train or self.is_initializing():
            return gcd(count, self.minibatch_std)
        require(
            count % self.minibatch_std == 0,
            "critic.minibatch_std",
            self.minibatch_std,
            f"does not divide the {count} samples of a device: choose a divisor, or another config.train.batch_size",
        )
        return self.minibatch_std


def check_sizes(section: str, settings: GeneratorConfig | CriticConfig, shape: tuple[int, ...]) -> None:
    """Raises `InputError` for settings that do not fit each other or the sample `shape` (*S, C).

    Args:
      section: how errors call the settings, "generator" or "critic".
      settings: of the network.
      shape: of one sample.
    """
    dcgan.check_sizes(section, settings, shape)
    side, steps = min(shape[:-1]), len(settings.widths)
    finest = 0 if section == "generator" else 1
    sides = [side >> i for i in range(finest, steps + 1)]
    for chosen in settings.attention:
        require(chosen in sides, f"{section}.attention", settings.attention, f"give sides of its feature maps: {sides}")
    require(
        settings.branch_start == 1 or not settings.spectral,
        f"{section}.branch_start",
        settings.branch_start,
        "means nothing with spectral weights, which have no scale: leave it 1",
    )
