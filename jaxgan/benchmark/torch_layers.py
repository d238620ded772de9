"""Layers of the PyTorch networks that jaxgan is timed against; imported only where PyTorch is.

Modules and parameters are called as in the JAX networks, so that a test can copy one into the other.
"""

# ruff: noqa: D102 (what `forward` does stands in the docstring of its class)

from __future__ import annotations

import dataclasses
from math import gcd, prod, sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from jaxgan.config.networks import NetworkConfig
from jaxgan.models.norms import groups_of


class Equalized(nn.Module):
    """He's constant in every pass, as a parametrisation of a weight of variance 1."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return self.scale * weight


@dataclasses.dataclass(frozen=True)
class Layers:
    """Makes the layers of one network.

    Attributes:
      rank: spatial axes.
      settings: of the network.
      classes: above 0, the scale and bias of norms depend on the label.
    """

    rank: int
    settings: NetworkConfig
    classes: int = 0

    def conv(self, inputs: int, features: int, kernel: int, stride: int = 1, gain: float = 2.0, bias: bool = True):
        """A convolution that keeps the side, or halves it with stride 2."""
        make = nn.Conv2d if self.rank == 2 else nn.Conv3d
        layer = make(inputs, features, kernel, stride, (kernel - stride + 1) // 2, bias=bias)
        return self._weighted(layer, gain, inputs * kernel**self.rank)

    def up(self, inputs: int, features: int, gain: float = 2.0, bias: bool = True):
        """A transposed convolution of width 4 that doubles the side."""
        make = nn.ConvTranspose2d if self.rank == 2 else nn.ConvTranspose3d
        return self._weighted(make(inputs, features, 4, 2, 1, bias=bias), gain, inputs * 2**self.rank)

    def dense(self, inputs: int, features: int, gain: float = 1.0, bias: bool = True):
        """A linear map."""
        return self._weighted(nn.Linear(inputs, features, bias=bias), gain, inputs)

    def norm(self, features: int, kind: str | None = None):
        """The network's norm, or one of another kind."""
        return Norm(self.settings.norm if kind is None else kind, features, self.rank, self.classes)

    def resize(self, how: str) -> nn.Module:
        """What doubles or halves the side of maps that no convolution follows."""
        if how in ("average", "strided"):
            return nn.AvgPool2d(2) if self.rank == 2 else nn.AvgPool3d(2)
        if how == "bilinear":
            return nn.Upsample(scale_factor=2, mode="bilinear" if self.rank == 2 else "trilinear")
        return nn.Upsample(scale_factor=2, mode="nearest")

    def _weighted(self, layer: Any, gain: float, terms: int) -> Any:
        if self.settings.equalized:
            nn.init.normal_(layer.weight)
            parametrize.register_parametrization(layer, "weight", Equalized(sqrt(gain / terms)))
        if self.settings.spectral:
            # Of a transposed convolution's weight [inputs, outputs, *K] PyTorch would take the second axis; the map
            # that it is the adjoint of has the first as its outputs.
            spectral_norm(layer, dim=0)
        return layer


class PixelNorm(nn.Module):
    """Each pixel's channels divided by their root mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class Norm(nn.Module):
    """A norm by name, with scale and bias per channel, or per class and channel."""

    def __init__(self, kind: str, features: int, rank: int, classes: int):
        super().__init__()
        self.norm, self.conditional = _norm(kind, features, rank, affine=not classes), bool(classes) and kind != "none"
        if self.conditional:
            self.class_scale = nn.Parameter(torch.ones(classes, features))
            self.class_bias = nn.Parameter(torch.zeros(classes, features))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        y = self.norm(x)
        if not self.conditional:
            return y
        shape = (*y.shape[:2], *(1,) * (y.dim() - 2))
        return torch.addcmul(self.class_bias[labels].view(shape), y, self.class_scale[labels].view(shape))


def _norm(kind: str, features: int, rank: int, affine: bool) -> nn.Module:
    if kind == "batch":
        return (nn.BatchNorm2d if rank == 2 else nn.BatchNorm3d)(features, affine=affine)
    if kind == "instance":
        return (nn.InstanceNorm2d if rank == 2 else nn.InstanceNorm3d)(features, affine=affine)
    if kind == "layer":
        return nn.GroupNorm(1, features, eps=1e-6, affine=affine)
    if kind == "group":
        return nn.GroupNorm(groups_of(features), features, eps=1e-6, affine=affine)
    return {"none": nn.Identity, "pixel": PixelNorm}[kind]()


class SelfAttention(nn.Module):
    """`x + gain * attention(x)`, written with a softmax that can be differentiated twice: the fused one cannot."""

    def __init__(self, layers: Layers, features: int):
        super().__init__()
        narrow, half = max(1, features // 8), max(1, features // 2)
        self.query, self.key = (layers.dense(features, narrow, bias=False) for _ in range(2))
        self.value = layers.dense(features, half, bias=False)
        self.output = layers.dense(half, features, bias=False)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)
        weights = torch.softmax(self.query(pixels) @ self.key(pixels).transpose(1, 2), -1)
        y = self.output(weights @ self.value(pixels))
        return x + self.gain * y.transpose(1, 2).reshape(x.shape)


class StartMap(nn.Module):
    """Latents, joined with the embedding of their labels, to the coarsest feature map `[N, features, *base]`.

    The rest of the generator keeps the `layout` in memory that the map has.
    """

    def __init__(self, layers: Layers, latent_dim: int, features: int, base: int, bias: bool = True, gain: float = 1.0):
        super().__init__()
        self.embedding = nn.Embedding(layers.classes, latent_dim) if layers.classes else None
        self.shape = (*(base,) * layers.rank, features)
        self.layout = torch.channels_last if layers.rank == 2 else torch.channels_last_3d
        inputs = latent_dim * (2 if layers.classes else 1)
        self.project = layers.dense(inputs, prod(self.shape), gain=gain, bias=bias)

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        return self.project(z).view(len(z), *self.shape).movedim(-1, 1).contiguous(memory_format=self.layout)


class Judge(nn.Module):
    """Features `[N, F, *S]` to scores `[N]`, by projection where there are classes."""

    def __init__(self, layers: Layers, features: int, classes: int):
        super().__init__()
        self.score = layers.dense(features, 1)
        self.projection = layers.dense(features, classes, bias=False) if classes else None

    def forward(self, h: Tensor, labels: Tensor | None) -> Tensor:
        h = h.movedim(1, -1).flatten(1)
        scores = self.score(h)[:, 0]
        if self.projection is not None and labels is not None:
            scores = scores + self.projection(h).gather(1, labels[:, None])[:, 0]
        return scores


def minibatch_deviation(x: Tensor, group: int) -> Tensor:
    """One more channel: the standard deviation over groups of neighbours in the batch, mean over all features."""
    group = gcd(len(x), group)
    deviation = (x.float().reshape(-1, group, *x.shape[1:]).var(1, unbiased=False) + 1e-8).sqrt()
    statistic = deviation.flatten(1).mean(1).repeat_interleave(group)
    statistic = statistic.view(-1, *(1,) * (x.dim() - 1)).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, statistic.to(x.dtype)], 1)
