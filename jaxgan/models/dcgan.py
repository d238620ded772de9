"""DCGAN generator and critic (Radford et al. 2016, arXiv:1511.06434) for squares and cubes of any size.

The side is `base * 2**k` with k the number of widths: 28 = 7 * 4 with two, 256 = 4 * 64 with six.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.layers import Conv, ConvTranspose, Dense, Norm

Array = jax.Array


class Generator(nn.Module):
    """Latents to samples: dense, then transposed convolutions that double the side, then tanh.

    Attributes:
      shape: of one sample, `(*S, C)`.
      widths: channels from the coarsest feature map to the finest.
      norm: one of `config.NORMS`.
      num_classes: above 0, labels are embedded, joined to the latent, and choose scale and bias of the norms.
      axis_name: mapped axis over which batch norm is synchronised, or None.
      dtype: of the body's activations; parameters and output are float32.
      product_dtype: of the operands of its products.
    """

    shape: tuple[int, ...]
    widths: tuple[int, ...]
    norm: str = "batch"
    num_classes: int = 0
    axis_name: str | None = None
    dtype: Any = jnp.float32
    product_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Array, labels: Array | None = None, train: bool = False) -> Array:
        """`z` float32 `[N, latent_dim]`, `labels` int `[N]` or None; returns float32 `[N, *S, C]` in [-1, 1]."""
        spectral = self.norm == "spectral"
        use_bias = self.norm in ("none", "spectral")
        norm = partial(Norm, self.norm, num_classes=self.num_classes, axis_name=self.axis_name, dtype=self.dtype)
        layer = {"spectral": spectral, "dtype": self.dtype, "product_dtype": self.product_dtype}

        if self.num_classes:
            embedding = nn.Embed(
                self.num_classes, z.shape[-1], embedding_init=nn.initializers.normal(1.0), name="embedding"
            )
            z = jnp.concatenate([z, embedding(labels)], axis=-1)
        base = tuple(side >> len(self.widths) for side in self.shape[:-1])
        h = Dense(self.widths[0] * _product(base), use_bias=use_bias, name="project", **layer)(z, train)
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
      norm: one of `config.NORMS`; none on the first layer, as in DCGAN.
      num_classes: number of classes of a conditional critic, or 0.
      conditioning: "none", "projection" (Miyato & Koyama 2018, arXiv:1802.05637) or "auxiliary" classifier (Odena et
        al. 2017, arXiv:1610.09585).
      axis_name: mapped axis over which batch norm is synchronised, or None.
      dtype: of the body's activations; parameters and output are float32.
      product_dtype: of the operands of its products.
    """

    widths: tuple[int, ...]
    norm: str = "none"
    num_classes: int = 0
    conditioning: str = "none"
    axis_name: str | None = None
    dtype: Any = jnp.float32
    product_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Array, labels: Array | None = None, train: bool = False) -> tuple[Array, Array | None]:
        """`x` float32 `[N, *S, C]`; returns scores float32 `[N]` and, with "auxiliary", logits `[N, classes]`."""
        layer = {"spectral": self.norm == "spectral", "dtype": self.dtype, "product_dtype": self.product_dtype}
        h = x
        for i, width in enumerate(self.widths):
            plain = i == 0 or self.norm in ("none", "spectral")
            h = Conv(width, use_bias=plain, name=f"down{i}", **layer)(h, train)
            if not plain:
                h = Norm(self.norm, axis_name=self.axis_name, dtype=self.dtype, name=f"norm{i}")(h, train)
            h = nn.leaky_relu(h, 0.2)
        h = h.reshape(h.shape[0], -1)
        scores = Dense(1, gain=1.0, name="score", **layer)(h, train)[:, 0].astype(jnp.float32)
        logits = None
        if self.conditioning == "projection":
            # <embedding(label), features>: a critic that meets the label only in its norms may ignore it.
            weights = Dense(self.num_classes, use_bias=False, gain=1.0, name="projection", **layer)(h, train)
            scores += jnp.take_along_axis(weights, labels[:, None], axis=1)[:, 0].astype(jnp.float32)
        elif self.conditioning == "auxiliary":
            logits = Dense(self.num_classes, gain=1.0, name="classes", **layer)(h, train).astype(jnp.float32)
        return scores, logits


def _product(values: tuple[int, ...]) -> int:
    result = 1
    for value in values:
        result *= value
    return result
