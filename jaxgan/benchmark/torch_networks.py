"""The networks of jaxgan as a good PyTorch user would write them: DCGANs, lean and residual ones, in 2D and 3D.

What is resized is resized and then convolved, as public code does it; growing networks stand at their last stage, faded
in. Nothing is shared with the JAX code but the config.
"""

# ruff: noqa: D102 (what `forward` does stands in the docstring of its class)

from __future__ import annotations

from functools import partial
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from jaxgan.benchmark.torch_layers import Judge, Layers, Norm, SelfAttention, StartMap, minibatch_deviation
from jaxgan.config import Config


def build_generator(config: Config, classes: int) -> nn.Module:
    """The generator of a config: `(z [N, latent_dim], labels [N] or None) -> [N, C, *S]`."""
    kinds: dict[str, type[nn.Module]] = {"dcgan": DCGANGenerator, "lean": LeanGenerator}
    return kinds.get(config.generator.network, ResidualGenerator)(config, classes)


def build_critic(config: Config, classes: int) -> nn.Module:
    """The critic of a config: `(x [N, C, *S], labels [N] or None) -> scores [N]`."""
    return (DCGANCritic if config.critic.network == "dcgan" else ResidualCritic)(config, classes)


class DCGANGenerator(nn.Module):
    """Transposed convolutions with norms between them."""

    def __init__(self, config: Config, classes: int):
        super().__init__()
        settings, base = config.generator, config.data.size >> len(config.generator.widths)
        layers = Layers(config.data.spatial_rank, settings, classes)
        widths, bias = settings.widths, settings.norm in ("none", "pixel")
        self.start = StartMap(layers, settings.latent_dim, widths[0], base, bias, gain=2.0)
        self.body = nn.ModuleDict()
        for i, (width, following) in enumerate(zip(widths, [*widths[1:], config.data.channels], strict=True), 1):
            last = i == len(widths)
            self.body[f"norm{i}"] = layers.norm(width)
            self.body[f"up{i}"] = layers.up(width, following, gain=1.0 if last else 2.0, bias=bias or last)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.start(z, labels)
        for module in self.body.values():
            h = functional.relu(module(h, labels), inplace=True) if isinstance(module, Norm) else module(h)
        return torch.tanh(h)


class DCGANCritic(nn.Module):
    """Strided convolutions with norms between them, none after the first."""

    def __init__(self, config: Config, classes: int):
        super().__init__()
        rank, settings = config.data.spatial_rank, config.critic
        layers = Layers(rank, settings)
        self.body, previous = nn.ModuleDict(), config.data.channels
        for i, width in enumerate(settings.widths):
            kind = "none" if i == 0 else settings.norm
            self.body[f"down{i}"] = layers.conv(previous, width, 4, stride=2, bias=kind in ("none", "pixel"))
            self.body[f"norm{i}"] = layers.norm(width, kind)
            previous = width
        self.judge = Judge(layers, settings.widths[-1] * (config.data.size >> len(settings.widths)) ** rank, classes)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        for module in self.body.values():
            x = functional.leaky_relu(module(x), 0.2) if isinstance(module, Norm) else module(x)
        return self.judge(x, labels)


class UpBlock(nn.Module):
    """Doubles the side: norm, ReLU, up with convolution, norm, ReLU, convolution, plus the shortcut."""

    def __init__(self, layers: Layers, inputs: int, features: int):
        super().__init__()
        settings = layers.settings
        bias = settings.norm in ("none", "pixel")
        self.norm1, self.norm2 = layers.norm(inputs), layers.norm(features)
        self.resize = layers.resize(settings.resample)
        self.transposed = settings.resample == "transposed"
        self.conv1 = (
            layers.up(inputs, features, bias=bias) if self.transposed else layers.conv(inputs, features, 3, bias=bias)
        )
        self.conv2 = layers.conv(features, features, 3)
        self.shortcut = layers.conv(inputs, features, 1, gain=1.0, bias=False) if inputs != features else nn.Identity()
        self.scale = _scale(layers)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        h = functional.relu(self.norm1(x, labels))
        h = self.conv1(h if self.transposed else self.resize(h))
        h = self.conv2(functional.relu(self.norm2(h, labels)))
        return self.scale * (self.resize(self.shortcut(x)) + h)


class DownBlock(nn.Module):
    """Halves the side: norm, leaky ReLU, convolution, norm, leaky ReLU, convolution with down, plus the shortcut."""

    def __init__(self, layers: Layers, inputs: int, features: int, first: bool):
        super().__init__()
        settings, inner = layers.settings, features if first else inputs
        self.first, self.strided = first, settings.resample == "strided"
        if not first:
            self.norm1, self.norm2 = layers.norm(inputs), layers.norm(inner)
        bias = first or settings.norm in ("none", "pixel")
        self.conv1 = layers.conv(inputs, inner, 3, gain=1.0 if first else 2.0, bias=bias)
        self.conv2 = layers.conv(inner, features, 4, stride=2) if self.strided else layers.conv(inner, features, 3)
        self.resize = layers.resize(settings.resample)
        self.shortcut = layers.conv(inputs, features, 1, gain=1.0, bias=False) if inputs != features else nn.Identity()
        self.scale = _scale(layers)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(x if self.first else functional.leaky_relu(self.norm1(x), 0.2))
        h = self.conv2(functional.leaky_relu(h if self.first else self.norm2(h), 0.2))
        return self.scale * (self.shortcut(self.resize(x)) + (h if self.strided else self.resize(h)))


def _scale(layers: Layers) -> float:
    return 1.0 if layers.settings.spectral else 1 / sqrt(1 + layers.settings.branch_start**2)


class ResidualGenerator(nn.Module):
    """Residual blocks that double the side, self-attention on some sides, one convolution and tanh."""

    def __init__(self, config: Config, classes: int):
        super().__init__()
        settings, side = config.generator, config.data.size >> len(config.generator.widths)
        layers = Layers(config.data.spatial_rank, settings, classes)
        width = settings.widths[0]
        self.start = StartMap(layers, settings.latent_dim, width, side)
        self.body = nn.ModuleDict()
        _attend(self.body, layers, width, side)
        for i, features in enumerate(settings.widths, 1):
            side *= 2
            self.body[f"block{i}"] = UpBlock(layers, width, features)
            _attend(self.body, layers, features, side)
            width = features
        self.last_norm = layers.norm(width)
        self.image = layers.conv(width, config.data.channels, 3, gain=1.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.start(z, labels)
        for module in self.body.values():
            h = module(h, labels) if isinstance(module, UpBlock) else module(h)
        return torch.tanh(self.image(functional.relu(self.last_norm(h, labels))))


class Excitation(nn.Module):
    """Factors in (0, 1) for the channels of a fine map, from a coarse one."""

    def __init__(self, layers: Layers, inputs: int, features: int):
        super().__init__()
        self.squeeze = layers.dense(inputs, features, gain=2.0)
        self.factors = layers.dense(features, features)

    def forward(self, coarse: Tensor) -> Tensor:
        h = functional.leaky_relu(self.squeeze(coarse.flatten(2).mean(2)), 0.1)
        return torch.sigmoid(self.factors(h)).view(*h.shape, *(1,) * (coarse.dim() - 2))


class LeanGenerator(nn.Module):
    """One convolution for every doubling of the side, the last to the image; coarse maps excite those of four times
    their side."""

    def __init__(self, config: Config, classes: int):
        super().__init__()
        settings, side = config.generator, config.data.size >> len(config.generator.widths)
        layers = Layers(config.data.spatial_rank, settings, classes)
        make = layers.up if settings.resample == "transposed" else partial(layers.conv, kernel=3)
        self.resize = nn.Identity() if settings.resample == "transposed" else layers.resize(settings.resample)
        self.start = StartMap(layers, settings.latent_dim, settings.widths[0], side)
        self.body = nn.ModuleDict()
        widths = settings.widths
        for i, width in enumerate(widths):
            if i:
                self.body[f"up{i}"] = make(widths[i - 1], width)
            if i >= 2:
                self.body[f"excite{i}"] = Excitation(layers, widths[i - 2], width)
            _attend(self.body, layers, width, side << i)
            self.body[f"norm{i}"] = layers.norm(width)
        self.image = make(widths[-1], config.data.channels, gain=1.0)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        h = self.start(z, labels)
        maps: list[Tensor] = []
        for name, module in self.body.items():
            if name.startswith("up"):
                h = module(self.resize(h))
            elif isinstance(module, Excitation):
                h = h * module(maps[-2])
            elif isinstance(module, Norm):
                h = functional.relu(module(h, labels))
                maps.append(h)
            else:
                h = module(h)
        return torch.tanh(self.image(self.resize(h)))


class ResidualCritic(nn.Module):
    """Residual blocks that halve the side, self-attention on some sides, and a linear score."""

    def __init__(self, config: Config, classes: int):
        super().__init__()
        rank, settings, side = config.data.spatial_rank, config.critic, config.data.size
        layers = Layers(rank, settings)
        width = config.data.channels
        self.body = nn.ModuleDict()
        for i, features in enumerate(settings.widths):
            side //= 2
            self.body[f"block{i}"] = DownBlock(layers, width, features, first=i == 0)
            _attend(self.body, layers, features, side)
            width = features
        self.last_norm = layers.norm(width)
        self.group = settings.minibatch_std
        self.mix = layers.conv(width + 1, width, 3) if self.group else None
        self.judge = Judge(layers, width * side**rank, classes)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        for module in self.body.values():
            x = module(x)
        h = functional.leaky_relu(self.last_norm(x), 0.2)
        if self.mix is not None:
            h = functional.leaky_relu(self.mix(minibatch_deviation(h, self.group)), 0.2)
        return self.judge(h, labels)


def _attend(body: nn.ModuleDict, layers: Layers, features: int, side: int) -> None:
    if side in layers.settings.attention:
        body[f"attention{side}"] = SelfAttention(layers, features)
