"""A lean generator for small sets and short budgets (after Liu et al. 2021, FastGAN, arXiv:2101.04775).

One convolution a doubling, joined with it, so at the cost of a DCGAN's transposed convolution but without its chequered
pattern; and skip-layer excitation: coarse maps choose, channel by channel, how strong fine ones are.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.config import GeneratorConfig
from jaxgan.config.parsing import require
from jaxgan.models import resnet
from jaxgan.models.layers import Dense
from jaxgan.models.resample import UpConv

Array = jax.Array

# A map excites the one whose side is four times its own.
REACH = 2


class Excitation(nn.Module):
    """Factors `[N, 1, .., 1, features]` in (0, 1) for a fine map, from a coarse one.

    Attributes:
      features: channels of the fine map.
      options: what every layer with weights is made with.
    """

    features: int
    options: tuple[tuple[str, Any], ...]

    @nn.compact
    def __call__(self, coarse: Array, train: bool) -> Array:
        """`coarse` `[N, *S, C]`."""
        options = dict(self.options)
        axes = tuple(range(1, coarse.ndim - 1))
        h = jnp.mean(coarse, axis=axes)
        h = nn.leaky_relu(Dense(self.features, name="squeeze", **options)(h, train), 0.1)
        h = nn.sigmoid(Dense(self.features, gain=1.0, name="factors", **options)(h, train))
        return jnp.expand_dims(h, axes)


class Generator(resnet.Generator, kw_only=True):
    """Latents to samples: dense, then one convolution for every doubling of the side, the last to the image, tanh.

    Attributes: as in `resnet.Generator`; `widths` are of the maps before each doubling.
    """

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, train: bool = False) -> Array:
        """`z` float32 `[N, latent_dim]`, `labels` int `[N]` or None; returns float32 `[N, *S, C]` in [-1, 1]."""
        h = self.start_map(z, labels, train, gain=1.0)
        maps: list[Array] = []
        for i, width in enumerate(self.widths):
            if i:
                h = UpConv(width, how=self.resample, name=f"up{i}", **self.layer)(h, train)
            if i >= REACH:
                h = h * Excitation(width, tuple(self.layer.items()), name=f"excite{i}")(maps[i - REACH], train)
            h = nn.relu(self.normed(f"norm{i}", self.num_classes)(self.attended(h, train), train, labels))
            maps.append(h)
        # No map of many channels at the full side: those cost a CPU more time than all other layers together.
        h = UpConv(self.shape[-1], how=self.resample, gain=1.0, name="image", **self.layer)(h, train)
        return jnp.tanh(h.astype(jnp.float32))


def check_sizes(section: str, settings: GeneratorConfig, shape: tuple[int, ...]) -> None:
    """As `resnet.check_sizes`; this network has no map of the full side to attend to."""
    resnet.check_sizes(section, settings, shape)
    side = min(shape[:-1])
    require(side not in settings.attention, f"{section}.attention", settings.attention, f"give sides below {side}")
