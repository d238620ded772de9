"""Adversarial losses, elementwise: each returns one float32 value a sample and the caller reduces."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax

Array = jax.Array


class Loss(NamedTuple):
    """One game.

    Attributes:
      critic: `(real_scores [N], fake_scores [N]) -> [N]`, minimised by the critic.
      generator: `(real_scores [N], fake_scores [N]) -> [N]`, minimised by the generator; only a relative loss
        looks at the real scores.
      relative: whether the generator's loss needs the real scores.
      signed: whether a score above 0 says "real": what adaptive augmentation goes by.
    """

    critic: Callable[[Array, Array], Array]
    generator: Callable[[Array, Array], Array]
    relative: bool = False
    signed: bool = True


def _hinge(real: Array, fake: Array) -> Array:
    return jax.nn.relu(1.0 - real) + jax.nn.relu(1.0 + fake)


def _cross_entropy(real: Array, fake: Array) -> Array:
    # -log sigmoid(real) - log(1 - sigmoid(fake)), without overflow.
    return jax.nn.softplus(-real) + jax.nn.softplus(fake)


def _least_squares(real: Array, fake: Array) -> Array:
    return 0.5 * ((real - 1.0) ** 2 + fake**2)


LOSSES: dict[str, Loss] = {
    # Arjovsky et al. 2017, arXiv:1701.07875.
    "wgan": Loss(lambda real, fake: fake - real, lambda real, fake: -fake, signed=False),
    # Goodfellow et al. 2014, arXiv:1406.2661: the non-saturating generator, and the saturating one of the minimax game.
    "non_saturating": Loss(_cross_entropy, lambda real, fake: jax.nn.softplus(-fake)),
    "saturating": Loss(_cross_entropy, lambda real, fake: -jax.nn.softplus(fake)),
    # Lim & Ye 2017, arXiv:1705.02894.
    "hinge": Loss(_hinge, lambda real, fake: -fake),
    # Mao et al. 2017, arXiv:1611.04076, with targets 0 and 1.
    "lsgan": Loss(_least_squares, lambda real, fake: 0.5 * (fake - 1.0) ** 2, signed=False),
    # Relativistic pairing: Jolicoeur-Martineau 2018, arXiv:1807.00734; Huang et al. 2024, arXiv:2501.05441.
    "relativistic": Loss(
        lambda real, fake: jax.nn.softplus(fake - real),
        lambda real, fake: jax.nn.softplus(real - fake),
        relative=True,
        signed=False,
    ),
}


def classification(logits: Array, labels: Array) -> Array:
    """Cross-entropy of an auxiliary classifier: logits `[N, classes]`, labels int `[N]`; returns float32 `[N]`.

    Source: Odena et al. 2017, arXiv:1610.09585.
    """
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels)
