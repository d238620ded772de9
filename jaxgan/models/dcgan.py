"""DCGAN generator and critic (Radford et al. 2016, arXiv:1511.06434) for squares and cubes of any size.

The side is `base * 2**k` with k the number of widths: 28 = 7 * 4 with two, 256 = 4 * 64 with six.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.config import CriticConfig, GeneratorConfig
from jaxgan.config.parsing import require
from jaxgan.models.layers import Conv, ConvTranspose
from jaxgan.models.network import CriticModule, GeneratorModule
from jaxgan.models.norms import needs_bias

Array = jax.Array


def check_sizes(section: str, settings: GeneratorConfig | CriticConfig, shape: tuple[int, ...]) -> None:
    """Raises `InputError` for widths that do not fit the sample `shape` (*S, C): each halves every side once.

    Args:
      section: how errors call the settings, "generator" or "critic".
      settings: their widths and norm are judged.
      shape: of one sample.
    """
    steps, side = len(settings.widths), min(shape[:-1])
    halvings = min((n & -n).bit_length() - 1 for n in shape[:-1])
    require(
        steps <= halvings,
        f"{section}.widths",
        settings.widths,
        f"config.data.size={side} must divide by 2**{steps} for {steps} widths; give at most {halvings}",
    )
    require(
        settings.norm != "instance" or side >> steps > 1,
        f"{section}.norm",
        "instance",
        f"{steps} widths bring {side} down to one pixel, which instance norm sets to 0: give fewer",
    )


class Generator(GeneratorModule):
    """Latents to samples: dense, then transposed convolutions that double the side, then tanh.

    Attributes: as in `GeneratorModule`, `widths` from the coarsest feature map to the finest.
    """

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, train: bool = False) -> Array:
        """`z` float32 `[N, latent_dim]`, `labels` int `[N]` or None; returns float32 `[N, *S, C]` in [-1, 1]."""
        use_bias = needs_bias(self.norm)
        h = self.start_map(z, labels, train, use_bias=use_bias)
        for i, width in enumerate(self.widths[1:], start=1):
            h = nn.relu(self.normed(f"norm{i}", self.num_classes)(h, train, labels))
            h = ConvTranspose(width, use_bias=use_bias, name=f"up{i}", **self.layer)(h, train)
        last = len(self.widths)
        h = nn.relu(self.normed(f"norm{last}", self.num_classes)(h, train, labels))
        h = ConvTranspose(self.shape[-1], gain=1.0, name=f"up{last}", **self.layer)(h, train)
        return jnp.tanh(h.astype(jnp.float32))


class Critic(CriticModule):
    """Samples to scores: convolutions that halve the side, leaky ReLU, dense; no sigmoid.

    Attributes: as in `CriticModule`, `widths` from the finest feature map to the coarsest; no norm on the first layer,
    as in DCGAN.
    """

    @nn.compact
    def __call__(self, x: Array, labels: Array | None = None, train: bool = False) -> tuple[Array, Array | None]:
        """`x` float32 `[N, *S, C]`; returns scores float32 `[N]` and, with "auxiliary", logits `[N, classes]`."""
        h = x
        for i, width in enumerate(self.widths):
            bias = i == 0 or needs_bias(self.norm)
            h = Conv(width, use_bias=bias, name=f"down{i}", **self.layer)(h, train)
            h = nn.leaky_relu(h if i == 0 else self.normed(f"norm{i}")(h, train), 0.2)
        return self.scores(h, labels, train)
