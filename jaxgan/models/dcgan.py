"""DCGAN generator and critic (Radford et al. 2016, arXiv:1511.06434) for squares and cubes of any size.

The side is `base * 2**k` with k the number of widths: 28 = 7 * 4 with two, 256 = 4 * 64 with six.
"""

from __future__ import annotations

from functools import partial
from math import prod
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.config import CriticConfig, GeneratorConfig
from jaxgan.config.parsing import require
from jaxgan.models.conditioning import CONDITIONINGS
from jaxgan.models.layers import Conv, ConvTranspose, Dense
from jaxgan.models.norms import Norm, needs_bias

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


class Generator(nn.Module):
    """Latents to samples: dense, then transposed convolutions that double the side, then tanh.

    Attributes:
      shape: of one sample, `(*S, C)`.
      widths: channels from the coarsest feature map to the finest.
      norm: one of `norms.NORMS`.
      spectral: divide every layer's weights by their largest singular value, beside any norm.
      num_classes: above 0, labels are embedded, joined to the latent, and choose scale and bias of the norms.
      axis_name: mapped axis over which batch norm is synchronised, or None.
      activation_dtype: of the body's activations; parameters and output are float32.
      matmul_dtype: of the operands of its products.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...]
    norm: str = "batch"
    spectral: bool = False
    num_classes: int = 0
    axis_name: str | None = None
    activation_dtype: Any = jnp.float32
    matmul_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, train: bool = False) -> Array:
        """`z` float32 `[N, latent_dim]`, `labels` int `[N]` or None; returns float32 `[N, *S, C]` in [-1, 1]."""
        dtypes = {"activation_dtype": self.activation_dtype}
        norm = partial(Norm, self.norm, num_classes=self.num_classes, axis_name=self.axis_name, **dtypes)
        layer = {"spectral": self.spectral, "matmul_dtype": self.matmul_dtype, **dtypes}
        use_bias = needs_bias(self.norm)

        if self.num_classes:
            embedding = nn.Embed(
                self.num_classes, z.shape[-1], embedding_init=nn.initializers.normal(1.0), name="embedding"
            )
            z = jnp.concatenate([z, embedding(labels)], axis=-1)
        base = tuple(side >> len(self.widths) for side in self.shape[:-1])
        h = Dense(self.widths[0] * prod(base), use_bias=use_bias, name="project", **layer)(z, train)
        h = h.reshape(h.shape[0], *base, self.widths[0])
        for i, width in enumerate(self.widths[1:], start=1):
            h = nn.relu(norm(name=f"norm{i}")(h, train, labels))
            h = ConvTranspose(width, use_bias=use_bias, name=f"up{i}", **layer)(h, train)
        h = nn.relu(norm(name=f"norm{len(self.widths)}")(h, train, labels))
        h = ConvTranspose(self.shape[-1], gain=1.0, name=f"up{len(self.widths)}", **layer)(h, train)
        return jnp.tanh(h.astype(jnp.float32))


class Critic(nn.Module):
    """Samples to scores: convolutions that halve the side, leaky ReLU, dense; no sigmoid.

    Attributes:
      widths: channels from the finest feature map to the coarsest.
      norm: one of `norms.NORMS`; none on the first layer, as in DCGAN.
      spectral: divide every layer's weights by their largest singular value, beside any norm.
      num_classes: number of classes of a conditional critic, or 0.
      conditioning: one of `conditioning.CONDITIONINGS`.
      axis_name: mapped axis over which batch norm is synchronised, or None.
      activation_dtype: of the body's activations; parameters and output are float32.
      matmul_dtype: of the operands of its products.
    """

    widths: tuple[int, ...]
    norm: str = "none"
    spectral: bool = False
    num_classes: int = 0
    conditioning: str = "none"
    axis_name: str | None = None
    activation_dtype: Any = jnp.float32
    matmul_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, labels: Array | None = None, train: bool = False) -> tuple[Array, Array | None]:
        """`x` float32 `[N, *S, C]`; returns scores float32 `[N]` and, with "auxiliary", logits `[N, classes]`."""
        dtypes = {"activation_dtype": self.activation_dtype}
        layer = {"spectral": self.spectral, "matmul_dtype": self.matmul_dtype, **dtypes}
        h = x
        for i, width in enumerate(self.widths):
            norm = "none" if i == 0 else self.norm
            h = Conv(width, use_bias=needs_bias(norm), name=f"down{i}", **layer)(h, train)
            h = Norm(norm, axis_name=self.axis_name, name=f"norm{i}", **dtypes)(h, train)
            h = nn.leaky_relu(h, 0.2)
        h = h.reshape(h.shape[0], -1)
        scores = Dense(1, gain=1.0, name="score", **layer)(h, train)[:, 0].astype(jnp.float32)
        of_class, logits = CONDITIONINGS[self.conditioning](h, labels, self.num_classes, train, layer)
        return scores if of_class is None else scores + of_class, logits
