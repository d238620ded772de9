"""Whether training is still worth going on with: a verdict, which the loop acts on.

Losses and gradients that are not finite end a run, or send it back to its last good checkpoint (`config.train.on_nan`).
Samples that are all alike, and a critic that gives the generator nothing to follow, are warned of.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgan.config.schema import TrainConfig

GO_ON, WARN, STOP, ROLLBACK = "go on", "warn", "stop", "rollback"

# A penalty that was not due is no number; these always are, or what was computed is worth nothing.
MUST_BE_FINITE = ("critic_loss", "generator_loss", "critic_gradient_norm", "generator_gradient_norm")
# Samples that spread less than this share of what the reals spread are all alike.
ALIKE_BELOW = 0.01
# Where the generator's gradient was smaller than this in every iteration of a call, the critic says nothing.
DEAD_BELOW = 1e-8


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to do.

    Attributes:
      action: `GO_ON`, `WARN`, `STOP` or `ROLLBACK`.
      step: the iteration that it is about.
      reason: for people; empty when all is well.
    """

    action: str = GO_ON
    step: int = 0
    reason: str = ""

    @property
    def broken(self) -> bool:
        """Whether what was computed must not be kept."""
        return self.action in (STOP, ROLLBACK)


@dataclasses.dataclass
class Health:
    """Judges, and counts how often the run was sent back; the counts travel in every checkpoint.

    All processes of a job judge the same values, so they come to the same verdict.

    Attributes:
      settings: `on_nan`, `max_rollbacks` and `rollback_lr_factor` say what to do.
      rollbacks: how often the run went back.
      rate_factor: of the learning rates; each rollback multiplies it by `rollback_lr_factor`.
    """

    settings: TrainConfig
    rollbacks: int = 0
    rate_factor: float = 1.0

    def of_losses(self, first: int, count: int, metrics: Mapping[str, np.ndarray]) -> Verdict:
        """Of the `count` iterations after `first`, with metrics `[K]` each: the first that is not finite decides."""
        finite = {name: np.isfinite(metrics[name][:count]) for name in MUST_BE_FINITE}
        if all(values.all() for values in finite.values()):
            return Verdict()
        i = min(int(np.argmin(values)) for values in finite.values() if not values.all())
        return self._broken(first + i + 1, " and ".join(name for name, values in finite.items() if not values[i]))

    def of_state(self, step: int, state: Any) -> Verdict:
        """Of a state in host memory that is about to be saved."""
        floats = [x for x in jax.tree.leaves(state) if np.issubdtype(x.dtype, np.floating)]
        return Verdict() if all(np.isfinite(x).all() for x in floats) else self._broken(step, "the networks' state is")

    def rolled_back(self) -> None:
        """Counts a rollback and lowers the learning rates."""
        self.rollbacks += 1
        self.rate_factor *= self.settings.rollback_lr_factor

    def to_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps, for JSON."""
        return {"rollbacks": self.rollbacks, "rate_factor": self.rate_factor}

    def _broken(self, step: int, what: str) -> Verdict:
        reason = f"{what} not finite at step {step}"
        if self.settings.on_nan == "rollback" and self.rollbacks < self.settings.max_rollbacks:
            return Verdict(ROLLBACK, step, reason)
        if self.settings.on_nan == "rollback":
            reason += f" after {self.rollbacks} rollbacks (config.train.max_rollbacks)"
        way_out = "lower config.optimizer.lr, or go on from an earlier checkpoint"
        if self.settings.on_nan == "stop":
            way_out += ", or set config.train.on_nan=rollback"
        return Verdict(STOP, step, f"{reason}: {way_out}")


def spread(samples: np.ndarray, labels: np.ndarray | None = None) -> float:
    """How unlike samples are: the root mean square, over all positions, of their standard deviation, within classes.

    Args:
      samples: `[N, *S, C]`.
      labels: int `[N]`, or None.

    Returns:
      NaN where no class has two samples.
    """
    labels = np.zeros(len(samples), int) if labels is None else labels
    groups = [samples[labels == label] for label in np.unique(labels)]
    variances = [group.var(axis=0, dtype=np.float64, ddof=1).mean() for group in groups if len(group) > 1]
    return math.sqrt(np.mean(variances)) if variances else math.nan


def of_samples(
    step: int, samples: np.ndarray, labels: np.ndarray | None, real_spread: float, gradient_norms: np.ndarray
) -> Verdict:
    """Warns of a collapsed generator and of a dead critic.

    Args:
      step: iterations done.
      samples: `[N, *S, C]`, from different latents.
      labels: their classes, or None.
      real_spread: `spread` of reals.
      gradient_norms: `[K]`, the generator's gradient in the iterations of the last call.
    """
    reasons = []
    share = spread(samples, labels) / real_spread if real_spread > 0 else math.nan
    if share < ALIKE_BELOW:
        reasons.append(
            f"the samples are all alike: they spread {share:.2%} of what the reals do (below {ALIKE_BELOW:.0%});"
            " the generator may have collapsed"
        )
    if len(gradient_norms) and np.max(gradient_norms) < DEAD_BELOW:
        reasons.append(
            f"the critic is dead: the generator's gradient is {np.max(gradient_norms):.1e} (below {DEAD_BELOW:.0e}), so"
            " it learns nothing; lower config.optimizer.critic_lr, or choose another config.objective"
        )
    return Verdict(WARN, step, f"step {step}: {'; '.join(reasons)}") if reasons else Verdict()
