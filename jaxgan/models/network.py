"""What every network is made with, and the ends that all have alike: from the latent, and to the scores."""

from __future__ import annotations

from math import prod
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.models.conditioning import CONDITIONINGS
from jaxgan.models.layers import Dense
from jaxgan.models.norms import Norm

Array = jax.Array


class NetworkModule(nn.Module):
    """What generators and critics have in common.

    Attributes:
      widths: channels of the feature maps, in the order in which samples pass them.
      norm: one of `norms.NORMS`.
      spectral: divide every layer's weights by their largest singular value, beside any norm.
      num_classes: number of classes, or 0.
      axis_name: mapped axis over which batch norm is synchronised, or None.
      activation_dtype: of the body's activations; parameters and output are float32.
      matmul_dtype: of the operands of its products.
    """

    widths: tuple[int, ...]
    norm: str = "none"
    spectral: bool = False
    num_classes: int = 0
    axis_name: str | None = None
    activation_dtype: Any = jnp.float32
    matmul_dtype: Any = jnp.float32

    @property
    def layer(self) -> dict[str, Any]:
        """What every layer with weights is made with."""
        names = ("spectral", "activation_dtype", "matmul_dtype")
        return {name: getattr(self, name) for name in names}

    def normed(self, name: str, num_classes: int = 0) -> Norm:
        """The network's norm; with `num_classes` above 0 labels choose its scale and bias."""
        return Norm(self.norm, num_classes, self.axis_name, self.activation_dtype, name=name)


class GeneratorModule(NetworkModule, kw_only=True):
    """What generators have in common: called with `z` float32 `[N, latent_dim]`, `labels` int `[N]` or None, and
    `train`, they return float32 `[N, *S, C]` in [-1, 1].

    Attributes: as in `NetworkModule`, and
      shape: of one sample, `(*S, C)`.
    """

    shape: tuple[int, ...]
    norm: str = "batch"

    def start_map(self, z: Array, labels: Array | None, train: bool, **options: Any) -> Array:
        """The coarsest feature map `[N, *base, widths[0]]`: of the latent, joined with the label's embedding."""
        if self.num_classes:
            normal = nn.initializers.normal(1.0)
            embedding = nn.Embed(self.num_classes, z.shape[-1], embedding_init=normal, name="embedding")
            z = jnp.concatenate([z, embedding(labels)], axis=-1)
        base = tuple(side >> len(self.widths) for side in self.shape[:-1])
        h = Dense(self.widths[0] * prod(base), name="project", **options, **self.layer)(z, train)
        return h.reshape(h.shape[0], *base, self.widths[0])


class CriticModule(NetworkModule, kw_only=True):
    """What critics have in common: called with `x` float32 `[N, *S, C]`, `labels` int `[N]` or None, and `train`, they
    return scores float32 `[N]` and, with "auxiliary", logits `[N, classes]`.

    Attributes: as in `NetworkModule`, and
      conditioning: one of `conditioning.CONDITIONINGS`.
    """

    conditioning: str = "none"

    def scores(self, h: Array, labels: Array | None, train: bool) -> tuple[Array, Array | None]:
        """Scores and logits of the coarsest feature map `[N, *base, C]`."""
        h = h.reshape(h.shape[0], -1)
        # Scores have an offset that no loss fixes: in bfloat16 their differences would be lost.
        layer = self.layer | {"activation_dtype": jnp.float32}
        scores = Dense(1, gain=1.0, name="score", **layer)(h, train)[:, 0]
        of_class, logits = CONDITIONINGS[self.conditioning](h, labels, self.num_classes, train, layer)
        return scores if of_class is None else scores + of_class, logits
