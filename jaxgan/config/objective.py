"""What the networks play for, and how they descend."""

from __future__ import annotations

import dataclasses

from jaxgan.config.parsing import at_most, known, not_negative, positive, require
from jaxgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """The game: adversarial loss, penalty on the critic's input gradient, weight clipping.

    `loss` is "wgan", "non_saturating", "saturating", "hinge", "lsgan" or "relativistic". `penalty` is "gp" (WGAN-GP),
    "lp", "r1", "r2", "r1+r2", "dragan" or "none". `penalty="auto"` means "gp" for a Wasserstein loss without clipping,
    otherwise "none"; `n_critic=0` means 5 for a Wasserstein loss, otherwise 1. So switching the loss alone gives a game
    that is known to work, but for "relativistic", which is warned of. `penalty_interval` k applies the penalty at every
    k-th critic update, k times as strong (lazy regularisation). `r1_weight` adds R1, on the reals, beside the penalty.
    `drift_weight` scales the mean square of the reals' scores in the critic's loss; `weight_clip` 0 means no weight
    clipping. `auxiliary_weight` scales the auxiliary classifier's cross-entropy: of reals in the critic's loss (Odena
    et al. 2017, arXiv:1610.09585, train it on fakes too), of fakes in the generator's. `perceptual_weight` scales the
    match of VGG16's moments in the generator's loss (0: off; needs the extra `evaluation`).
    """

    loss: str = "wgan"
    penalty: str = "auto"
    penalty_weight: float = 10.0
    penalty_interval: int = 1
    r1_weight: float = 0.0
    drift_weight: float = 0.0
    weight_clip: float = 0.0
    n_critic: int = 0
    auxiliary_weight: float = 1.0
    perceptual_weight: float = 0.0

    def __post_init__(self):
        known("objective.loss", self.loss, "LOSSES")
        known("objective.penalty", self.penalty, "PENALTIES", "auto", "none")
        positive("objective", self, "penalty_interval")
        not_negative(
            "objective",
            self,
            "n_critic",
            "penalty_weight",
            "r1_weight",
            "drift_weight",
            "weight_clip",
            "auxiliary_weight",
            "perceptual_weight",
        )
        at_most("objective", self, n_critic=1000)
        if self.weight_clip and self.penalty not in ("auto", "none"):
            raise InputError(
                f"config.objective.weight_clip={self.weight_clip} and config.objective.penalty={self.penalty!r} both"
                " bound the critic: choose one (weight_clip=0, or penalty=none)"
            )

    def resolved(self) -> ObjectiveConfig:
        """The same with every automatic value replaced by what it means."""
        wasserstein = self.loss == "wgan"
        penalty = "gp" if wasserstein and not self.weight_clip else "none"
        return dataclasses.replace(
            self,
            penalty=penalty if self.penalty == "auto" else self.penalty,
            n_critic=self.n_critic or (5 if wasserstein else 1),
        )


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Optimizer of both networks. `critic_lr` 0 means the generator's `lr`; `grad_clip_norm` 0 means no clipping.

    `name` is "adam", "adamw", "rmsprop" or "sgd"; `beta1` is the momentum of sgd, `beta2` rmsprop's decay. `schedule`
    is "constant", "linear" or "cosine": the latter fall from the full rate, reached after `warmup_iterations`, to 0 at
    the last iteration.
    """

    name: str = "adam"
    lr: float = 2e-4
    critic_lr: float = 0.0
    beta1: float = 0.5
    beta2: float = 0.999
    schedule: str = "constant"
    warmup_iterations: int = 0
    weight_decay: float = 0.0
    grad_clip_norm: float = 0.0

    def __post_init__(self):
        known("optimizer.name", self.name, "OPTIMIZERS")
        known("optimizer.schedule", self.schedule, "SCHEDULES")
        positive("optimizer", self, "lr")
        not_negative("optimizer", self, "critic_lr", "warmup_iterations", "weight_decay", "grad_clip_norm")
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value < 1, f"optimizer.{name}", value, "give a value in [0, 1)")
        require(
            not self.weight_decay or self.name == "adamw",
            "optimizer.weight_decay",
            self.weight_decay,
            "only adamw decays weights: set config.optimizer.name=adamw",
        )
