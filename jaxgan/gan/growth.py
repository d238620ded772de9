"""Progressive growing as a plan: which stage and how far faded in, as functions of the iterations done.

Per stage there is one game and one compiled program, in which alpha is computed from the state's step. So a run that
goes on in the middle of a fade is exact without anything remembered.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.config import Config
from jaxgan.config.timetable import Timetable
from jaxgan.gan.state import ApplyFn, GANState, NetState, Tree, make_apply
from jaxgan.models.growing import enlarged, faded, shrunk

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Growth:
    """A stage fades in and is held, before the next begins; the first is only held.

    Attributes:
      timetable: when each stage begins, for how many iterations it fades in, and what its iterations are.
      reset_optimizer: whether both optimizers start anew when a fade begins and when it ends.
      rate_factors: of the learning rates, one a stage.
    """

    timetable: Timetable
    reset_optimizer: bool = True
    rate_factors: tuple[float, ...] = ()

    @classmethod
    def of(cls, config: Config) -> Growth | None:
        """The plan that a config asks for, or None where its networks do not grow."""
        if not config.generator.grows:
            return None
        return cls(Timetable.of(config), config.growing.reset_optimizer, config.growing.rate_factors)

    @property
    def stages(self) -> int:
        """How many."""
        return len(self.timetable.begins)

    def begin(self, stage: int) -> int:
        """The iterations done when a stage begins."""
        return self.timetable.begins[stage]

    def stage(self, step: float) -> int:
        """The stage in which the iteration after `step` iterations lies."""
        return self.timetable.part(step)

    def next_begin(self, step: int) -> float:
        """The step at which the next stage begins; infinity in the last."""
        stage = self.stage(step)
        return math.inf if stage == self.stages - 1 else self.begin(stage + 1)

    def alpha(self, step: Array, stage: int) -> Array:
        """How far a stage has faded in after `step` iterations, float32: 0 when it begins, 1 when its fade is over."""
        fade = self.timetable.fades[stage]
        if fade == 0:
            return jnp.float32(1)
        return jnp.clip((step - self.begin(stage)).astype(jnp.float32) / fade, 0, 1)


def sampler(module: nn.Module, stages: int) -> ApplyFn:
    """A growing generator as a pure function that gives the full side at every stage, which its statistics name."""

    def apply(params: Tree, stats: Tree, x: Array, labels: Array | None, train: bool) -> tuple[Array, Tree]:
        def at(stage: int, params: Tree, stats: Tree) -> tuple[Array, Tree]:
            images, stats = make_apply(module.clone(stage=stage))(params, stats, x, labels, train)
            return enlarged(images, stages - 1 - stage), stats

        # Rounded: means over devices and parts leave a whole number a little off.
        chosen = jnp.round(stats["growth"]["stage"]).astype(jnp.int32)
        return jax.lax.switch(chosen, [partial(at, stage) for stage in range(stages)], params, stats)

    return apply


@dataclasses.dataclass(frozen=True)
class Stage:
    """What growing adds to the game of one stage.

    Attributes:
      plan: of all stages.
      stage: which one this is.
    """

    plan: Growth
    stage: int

    def enter(
        self,
        state: GANState,
        generator_optimizer: optax.GradientTransformation,
        critic_optimizer: optax.GradientTransformation,
    ) -> GANState:
        """The state as an iteration of this stage takes it: alpha set, optimizers reset at both ends of a fade."""
        alpha, begin = self.plan.alpha(state.step, self.stage), self.plan.begin(self.stage)
        reset = (state.step == begin) | (state.step == begin + self.plan.timetable.fades[self.stage])
        growth = {"growth": {"stage": jnp.float32(self.stage), "alpha": alpha}}

        def placed(net: NetState, optimizer: optax.GradientTransformation) -> NetState:
            opt_state = net.opt_state
            if self.plan.reset_optimizer and self.stage > 0:
                fresh = _with_counts_of(opt_state, optimizer.init(net.params))
                opt_state = jax.tree.map(partial(jnp.where, reset), fresh, opt_state)
            return net._replace(stats={**net.stats, **growth}, opt_state=opt_state)

        return state._replace(
            generator=placed(state.generator, generator_optimizer), critic=placed(state.critic, critic_optimizer)
        )

    def shown(self, step: Array, images: Array) -> Array:
        """Reals of the full side `[N, *S, C]` as this stage sees them after `step` iterations."""
        images = shrunk(images, self.plan.stages - 1 - self.stage)
        return images if self.stage == 0 else faded(images, self.plan.alpha(step, self.stage))

    def scaled(self, optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
        """The optimizer with this stage's factor of the learning rate; its state is laid out as before."""
        if not self.plan.rate_factors:
            return optimizer
        factor = self.plan.rate_factors[self.stage]

        def update(gradient: Tree, state: Tree, params: Tree | None = None) -> tuple[Tree, Tree]:
            updates, state = optimizer.update(gradient, state, params)
            return jax.tree.map(lambda leaf: factor * leaf, updates), state

        return optax.GradientTransformation(optimizer.init, update)


def _with_counts_of(old: Tree, fresh: Tree) -> Tree:
    """A fresh optimizer state whose schedules go on: they count iterations of the run, while moments start anew."""

    def merge(old: Tree, fresh: Tree) -> Tree:
        return old if isinstance(old, optax.ScaleByScheduleState) else fresh

    return jax.tree.map(merge, old, fresh, is_leaf=lambda node: isinstance(node, optax.ScaleByScheduleState))
