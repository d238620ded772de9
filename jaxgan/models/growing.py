"""Growing networks: the residual ones, trained from a small side to the full one (Karras et al. 2018).

Stage k works on the side `size >> (stages - 1 - k)`. Parameters of all stages exist from the start; a stage uses those
up to its side, and an image layer of its own. While it fades in, its output is mixed with that of the stage before by a
weight `alpha`, which lies in the network's statistics beside the number of the stage, so that a checkpoint has them.
The paper is arXiv:1710.10196.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models import resnet
from jaxgan.models.layers import Conv
from jaxgan.models.resample import average_down, nearest_up
from jaxgan.models.resnet import DownBlock, UpBlock
from jaxgan.models.spectral import STATS

Array = jax.Array


def mixed(before: Array, now: Array, alpha: Array) -> Array:
    """`before` at alpha 0 and `now` at alpha 1, both exactly."""
    alpha = alpha.astype(now.dtype)
    return (1 - alpha) * before + alpha * now


def shrunk(images: Array, times: int) -> Array:
    """Images halved along every axis so many times, by means of blocks of two."""
    for _ in range(times):
        images = average_down(images)
    return images


def enlarged(images: Array, times: int) -> Array:
    """Images doubled along every axis so many times, pixels repeated."""
    for _ in range(times):
        images = nearest_up(images)
    return images


def faded(images: Array, alpha: Array) -> Array:
    """Images as the stage before would show them at alpha 0, as they are at alpha 1: reals during a fade."""
    return mixed(nearest_up(average_down(images)), images, alpha)


class _Growth(nn.Module):
    """The state of growth in a network's statistics: the number of the stage, and alpha; float32 both."""

    last: int

    @nn.compact
    def __call__(self) -> Array:
        """Alpha."""
        self.variable(STATS, "stage", lambda: jnp.float32(self.last))
        return self.variable(STATS, "alpha", lambda: jnp.float32(1)).value


class Generator(resnet.Generator, kw_only=True):
    """Latents to samples of a stage's side: residual blocks up to it, then norm, ReLU, one convolution and tanh.

    Attributes: as in `resnet.Generator`, and
      stages: how many there are.
      stage: which one this is, from 0; None: the last.
    """

    stages: int
    stage: int | None = None

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, train: bool = False) -> Array:
        """`z` float32 `[N, latent_dim]`, `labels` int `[N]` or None; returns float32 `[N, *side, C]` in [-1, 1]."""
        style, last = self.style(self.num_classes), self.stages - 1
        stage = last if self.stage is None else self.stage
        alpha = _Growth(last, name="growth")()

        def image(h: Array, stage: int) -> Array:
            h = nn.relu(style.normed(f"image_norm{stage}")(h, train, labels))
            layer = Conv(self.shape[-1], kernel=3, stride=1, gain=1.0, name=f"image{stage}", **self.layer)
            return jnp.tanh(layer(h, train).astype(jnp.float32))

        maps = [self.attended(self.start_map(z, labels, train, gain=1.0), train)]
        for i, width in enumerate(self.widths[: len(self.widths) - last + stage], start=1):
            maps.append(self.attended(UpBlock(width, style, name=f"block{i}")(maps[-1], train, labels), train))
        if self.is_initializing():  # All image layers.
            return [image(maps[k - last - 1], k) for k in range(self.stages)][-1]
        now = image(maps[-1], stage)
        return now if stage == 0 else mixed(nearest_up(image(maps[-2], stage - 1)), now, alpha)


class Critic(resnet.Critic, kw_only=True):
    """Samples of a stage's side to scores: one convolution 1x1 into the chain of residual blocks.

    Attributes: as in `resnet.Critic`, and
      stages: how many there are.
      stage: which one this is, from 0; None: the last.
    """

    stages: int
    stage: int | None = None

    @nn.compact
    def __call__(self, x: Array, labels: Array | None = None, train: bool = False) -> tuple[Array, Array | None]:
        """`x` float32 `[N, *side, C]`; returns scores float32 `[N]` and, with "auxiliary", logits `[N, classes]`."""
        style, last = self.style(0), self.stages - 1
        stage = last if self.stage is None else self.stage
        alpha = _Growth(last, name="growth")()

        def features(x: Array, i: int) -> Array:
            """What block i takes."""
            x = x.astype(self.activation_dtype)
            if i == 0:  # The first block works on images.
                return x
            layer = Conv(self.widths[i - 1], kernel=1, stride=1, gain=1.0, name=f"image{last - i}", **self.layer)
            return layer(x, train)

        first = last - stage
        if self.is_initializing():  # All image layers.
            for i in range(1, self.stages):
                features(shrunk(x, i), i)
        h = features(x, first)
        for i in range(first, len(self.widths)):
            h = self.attended(DownBlock(self.widths[i], style, first=i == 0, name=f"block{i}")(h, train), train)
            if i == first and stage > 0 and not self.is_initializing():
                h = mixed(features(average_down(x), first + 1), h, alpha)
        return self.judged(h, labels, train)
