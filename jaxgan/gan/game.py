"""What an iteration of the game closes over: networks, optimizers, objective and augmentation, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxgan.gan.growth import Growth, Stage
from jaxgan.gan.state import ApplyFn
from jaxgan.gan.stretch import Stretch
from jaxgan.objectives.losses import Loss
from jaxgan.objectives.penalties import Penalty
from jaxgan.objectives.perceptual import Perceptual

Array = jax.Array
Tree = Any
Metrics = dict[str, Array]


class Augment(NamedTuple):
    """A differentiable change of reals and fakes alike, before the critic sees them.

    Attributes:
      apply: `(state, keys [N], images [N, *S, C]) -> images`, each sample by its own key.
      update: after each iteration, `(state, metrics averaged over devices) -> (state, what it reports of itself)`;
        None: the state never changes.
      initial: the state of a fresh run, arrays; `GANState.augment` holds it.
    """

    apply: Callable[[Tree, Array, Array], Array]
    update: Callable[[Tree, Metrics], tuple[Tree, Metrics]] | None = None
    initial: Callable[[], Tree] = tuple


@dataclasses.dataclass(frozen=True)
class GAN:
    """What an iteration closes over.

    Attributes:
      generator: latents `[N, latent_dim]` to samples `[N, *S, C]`.
      critic: samples to (scores `[N]`, logits `[N, classes]` or None).
      generator_optimizer: optax transformation.
      critic_optimizer: optax transformation.
      loss: the adversarial game.
      latent_dim: length of a latent.
      n_critic: critic updates an iteration.
      ema_decay: `step -> decay` of the generator's moving average.
      penalty: on the critic's input gradient, or None.
      penalty_weight: its factor in the critic's loss.
      penalty_interval: it is applied at every such critic update, that much stronger.
      penalty_before_augment: whether the penalty's gradient is with respect to the images before `augment`, as that of
        R1 is (Karras et al. 2020, arXiv:2006.06676), or as the critic sees them.
      r1_weight: factor of R1 in the critic's loss, beside the penalty and as often as it.
      drift_weight: factor of `mean(score(real)^2)` in the critic's loss (Karras et al. 2018, arXiv:1710.10196).
      weight_clip: bound of every critic parameter after each update, or 0.
      auxiliary_weight: factor of the classifier's cross-entropy, where the critic gives logits.
      perceptual: `(real, fake, axis_name) -> scalar`, what the generator minimises beside the game, or None.
      perceptual_weight: its factor.
      stretch: what is done to each real as it comes, or None; whoever samples the generator undoes it.
      symmetry: `(key, image [*S, C]) -> image`, applied to each real as it comes: what it does, the generator learns.
      augment: applied to reals and fakes, in both networks' updates, so that the generator need not learn it.
      couples_samples: whether the critic mixes the samples of a batch: then reals and fakes pass
        through it apart.
      shares_statistics: whether the generator in training normalises by the samples of all devices.
      accumulate: parts of a device's batch that go through the networks one after another, to save memory; the
        gradient is that of the whole batch up to rounding (no network may couple samples).
      growth: the stages of growing networks, or None; then `generator` samples the full side at every stage, and what
        is trained is the game that `at` gives.
      of_stage: `stage -> fields`: those of this record that a stage of growing networks has otherwise.
      stage: which stage this game is of, or None.
      axis_name: the mapped axis over devices, or None.
      reduce_dtype: to which gradients are rounded on their way between devices; None: they are not.
    """

    generator: ApplyFn
    critic: ApplyFn
    generator_optimizer: optax.GradientTransformation
    critic_optimizer: optax.GradientTransformation
    loss: Loss
    latent_dim: int
    n_critic: int
    ema_decay: Callable[[Array], Array]
    penalty: Penalty | None = None
    penalty_weight: float = 10.0
    penalty_interval: int = 1
    penalty_before_augment: bool = False
    r1_weight: float = 0.0
    drift_weight: float = 0.0
    weight_clip: float = 0.0
    auxiliary_weight: float = 1.0
    perceptual: Perceptual | None = None
    perceptual_weight: float = 0.0
    stretch: Stretch | None = None
    symmetry: Callable[[Array, Array], Array] | None = None
    augment: Augment | None = None
    couples_samples: bool = False
    shares_statistics: bool = False
    accumulate: int = 1
    growth: Growth | None = None
    of_stage: Callable[[int], dict[str, Any]] | None = None
    stage: Stage | None = None
    axis_name: str | None = None
    reduce_dtype: Any = None

    def at(self, step: float) -> GAN:
        """The game that is trained in the iteration after `step`: itself, but for growing networks."""
        if self.growth is None or self.of_stage is None:
            return self
        stage = Stage(self.growth, self.growth.stage(step))
        return dataclasses.replace(
            self,
            **self.of_stage(stage.stage),
            generator_optimizer=stage.scaled(self.generator_optimizer),
            critic_optimizer=stage.scaled(self.critic_optimizer),
            stage=stage,
        )
