"""Adaptive augmentation: how likely the operations are follows from how sure the critic is of the reals.

Karras et al. 2020, "Training generative adversarial networks with limited data", arXiv:2006.06676: where the critic
overfits, the mean sign of its scores of (augmented) reals nears 1; augmentation is then made more likely, else less.
The probability is bounded below 1, since operations that always happen leak into the samples.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array

# Critic updates between two changes of the probability.
UPDATES = 4


class Adaptive(NamedTuple):
    """What the controller remembers; part of `GANState`.

    Attributes:
      probability: float32 scalar, of each operation for each sample.
      sign_sum: float32 scalar, the mean signs since the last change, summed over iterations.
      iterations: int32 scalar, iterations since the last change.
    """

    probability: Array
    sign_sum: Array
    iterations: Array


def initial() -> Adaptive:
    """The state of a fresh run: nothing is augmented yet."""
    return Adaptive(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32), jnp.zeros((), jnp.int32))


def update(
    state: Adaptive,
    metrics: dict[str, Array],
    *,
    target: float,
    highest: float,
    ramp_images: float,
    batch_size: int,
    n_critic: int,
) -> tuple[Adaptive, dict[str, Array]]:
    """What follows from one iteration.

    Args:
      state: before the iteration.
      metrics: of the iteration, the same on every device; `score_sign` is the mean sign of the reals' scores.
      target: the mean sign that is aimed at.
      highest: bound of the probability.
      ramp_images: reals that the critic is shown while the probability rises by 1.
      batch_size: of a critic update, over all devices.
      n_critic: critic updates an iteration; the probability changes after the iteration that completes 4 of them.

    Returns:
      The new state, and `augment_p`, the probability that this iteration had.
    """
    every = -(-UPDATES // n_critic)
    sign_sum, iterations = state.sign_sum + metrics["score_sign"], state.iterations + 1
    change = jnp.sign(sign_sum / every - target) * (every * n_critic * batch_size / ramp_images)
    due = iterations >= every
    changed = Adaptive(
        jnp.clip(state.probability + change, 0.0, highest), jnp.zeros_like(sign_sum), jnp.zeros_like(iterations)
    )
    waiting = Adaptive(state.probability, sign_sum, iterations)
    return jax.tree.map(lambda new, old: jnp.where(due, new, old), changed, waiting), {"augment_p": state.probability}
