"""How a critic uses the class of a sample, beside its score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan.models.layers import Dense

Array = jax.Array
# `(h [N, F], labels int [N], num_classes, train, layer) -> (to add to the scores: float32 [N] or None, logits
# float32 [N, classes] or None)`, called inside the critic, whose layers it makes with the attributes `layer`.
Conditioning = Callable[[Array, Any, int, bool, dict[str, Any]], tuple[Any, Any]]


def _none(h: Array, labels: Any, num_classes: int, train: bool, layer: dict[str, Any]) -> tuple[None, None]:
    return None, None


def _projection(h: Array, labels: Array, num_classes: int, train: bool, layer: dict[str, Any]) -> tuple[Array, None]:
    # <embedding(label), features>: a critic that meets the label only in its norms may ignore it.
    weights = Dense(num_classes, use_bias=False, gain=1.0, name="projection", **layer)(h, train)
    return jnp.take_along_axis(weights, labels[:, None], axis=1)[:, 0].astype(jnp.float32), None


def _auxiliary(h: Array, labels: Array, num_classes: int, train: bool, layer: dict[str, Any]) -> tuple[None, Array]:
    return None, Dense(num_classes, gain=1.0, name="classes", **layer)(h, train).astype(jnp.float32)


CONDITIONINGS: dict[str, Conditioning] = {
    "none": _none,
    # Miyato & Koyama 2018, arXiv:1802.05637.
    "projection": _projection,
    # Odena et al. 2017, arXiv:1610.09585.
    "auxiliary": _auxiliary,
}
