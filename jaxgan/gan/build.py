"""From a config to what the step closes over: the one place where names become functions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax

from jaxgan.augment import adaptive
from jaxgan.augment.diffaugment import augment_both
from jaxgan.augment.reals import augment
from jaxgan.config import Config
from jaxgan.config.timetable import Timetable
from jaxgan.gan.averaging import ema_decay
from jaxgan.gan.game import GAN, Augment
from jaxgan.gan.growth import Growth, sampler
from jaxgan.gan.optimizers import build_optimizer
from jaxgan.gan.state import GANState, create_state, make_apply
from jaxgan.gan.stretch import STRETCHES
from jaxgan.models import PRECISIONS, build_critic, build_generator, couples_samples
from jaxgan.objectives.losses import LOSSES
from jaxgan.objectives.penalties import BEFORE_AUGMENTATION, PENALTIES
from jaxgan.objectives.perceptual import Features, moment_matching


def build_gan(
    config: Config,
    num_classes: int = 0,
    total_iterations: int = 1,
    axis_name: str | None = None,
    platform: str | None = None,
    rate_factor: float = 1.0,
    features: Features | None = None,
) -> tuple[GAN, GANState]:
    """The networks, optimizers and objective of a config, and a fresh state.

    Args:
      config: a validated config.
      num_classes: classes of the data, 0 without labels.
      total_iterations: length of the run, for learning-rate schedules.
      axis_name: mapped axis over devices, or None.
      platform: what the program is meant for, as in `build_generator`; None: what this process computes on.
      rate_factor: of both learning rates: what rollbacks left of them.
      features: what the perceptual loss sees, see `objectives.perceptual`; None: the game has none.

    Returns:
      The `GAN` and a `GANState` on the default device. Under `jax.eval_shape` nothing is computed.
    """
    generator = build_generator(config, num_classes, axis_name, platform)
    critic = build_critic(config, num_classes, axis_name, platform)
    optimizer, objective = config.optimizer, config.objective.resolved()
    timetable, growth = Timetable.of(config), Growth.of(config)
    warmup = optimizer.warmup_iterations
    generator_optimizer = build_optimizer(optimizer, rate_factor * optimizer.lr, warmup, total_iterations)
    critic_optimizer = build_optimizer(
        optimizer,
        rate_factor * (optimizer.critic_lr or optimizer.lr),
        timetable.critic_updates(warmup),
        timetable.critic_updates(total_iterations),
    )

    def of_stage(stage: int) -> dict[str, Any]:
        networks = {"generator": generator.clone(stage=stage), "critic": critic.clone(stage=stage)}
        return {name: make_apply(module) for name, module in networks.items()} | _iterations(config, timetable, stage)

    gan = GAN(
        generator=make_apply(generator) if growth is None else sampler(generator, growth.stages),
        critic=make_apply(critic),
        generator_optimizer=generator_optimizer,
        critic_optimizer=critic_optimizer,
        loss=LOSSES[objective.loss],
        latent_dim=config.generator.latent_dim,
        **_iterations(config, timetable, 0),
        penalty=None if objective.penalty == "none" else PENALTIES[objective.penalty],
        penalty_weight=objective.penalty_weight,
        penalty_interval=objective.penalty_interval,
        penalty_before_augment=objective.penalty in BEFORE_AUGMENTATION,
        r1_weight=objective.r1_weight,
        drift_weight=objective.drift_weight,
        weight_clip=objective.weight_clip,
        auxiliary_weight=objective.auxiliary_weight,
        perceptual=None if features is None else partial(moment_matching, features),
        perceptual_weight=objective.perceptual_weight,
        stretch=STRETCHES.get(config.data.stretch),
        symmetry=_symmetry(config),
        couples_samples=couples_samples(config),
        shares_statistics=config.generator.norm == "batch",
        accumulate=config.train.accumulate,
        growth=growth,
        of_stage=of_stage,
        axis_name=axis_name,
        reduce_dtype=None if config.train.reduce_dtype == "float32" else PRECISIONS[config.train.reduce_dtype],
    )
    state = create_state(
        config.seed,
        generator,
        critic,
        generator_optimizer,
        critic_optimizer,
        config.data.shape,
        config.generator.latent_dim,
    )
    if gan.augment is not None:
        state = state._replace(augment=gan.augment.initial())
    return gan, state


def _symmetry(config: Config) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    if not config.augment.active:
        return None
    # One sample at a time, each with its own key: see `step`.
    return lambda key, image: augment(key, image[None], config.augment)[0]


def _iterations(config: Config, timetable: Timetable, part: int) -> dict[str, Any]:
    """The fields of the game that follow from how many reals the iterations of a part of the run have."""
    (n_critic, batch_size), begin = timetable.layouts[part], timetable.begins[part]
    decay = partial(
        ema_decay,
        batch_size=batch_size,
        halflife_images=config.train.ema_halflife_images,
        rampup=config.train.ema_rampup,
        shift=timetable.generated(begin) / batch_size - begin,
    )
    return {"n_critic": n_critic, "ema_decay": decay, "augment": _augment(config, n_critic, batch_size)}


def _augment(config: Config, n_critic: int, batch_size: int) -> Augment | None:
    wanted = config.diffaugment
    if not wanted.policy:
        return None
    if not wanted.adaptive:
        return Augment(lambda state, keys, images: augment_both(wanted.policy, wanted.probability, keys, images))
    return Augment(
        lambda state, keys, images: augment_both(wanted.policy, state.probability, keys, images),
        partial(
            adaptive.update,
            target=wanted.target,
            highest=wanted.highest,
            ramp_images=wanted.ramp_images,
            batch_size=batch_size,
            n_critic=n_critic,
        ),
        adaptive.initial,
    )
