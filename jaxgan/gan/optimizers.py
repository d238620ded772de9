"""Optimizers and learning-rate schedules by name, all from optax."""

from __future__ import annotations

from collections.abc import Callable

import optax

from jaxgan.config import OptimizerConfig

OPTIMIZERS: dict[str, Callable[[optax.ScalarOrSchedule, OptimizerConfig], optax.GradientTransformation]] = {
    "adam": lambda rate, config: optax.adam(rate, config.beta1, config.beta2),
    "adamw": lambda rate, config: optax.adamw(rate, config.beta1, config.beta2, weight_decay=config.weight_decay),
    # Epsilon outside the root, as in PyTorch: inside, a clipped critic's tiny gradients would hardly move it.
    "rmsprop": lambda rate, config: optax.rmsprop(rate, decay=config.beta2, eps_in_sqrt=False),
    "sgd": lambda rate, config: optax.sgd(rate, momentum=config.beta1 or None),
}

# `(full rate, updates until the last) -> rate by update`.
SCHEDULES: dict[str, Callable[[float, int], optax.Schedule]] = {
    "constant": lambda lr, updates: optax.constant_schedule(lr),
    "linear": lambda lr, updates: optax.linear_schedule(lr, 0.0, updates),
    "cosine": optax.cosine_decay_schedule,
}


def build_optimizer(
    config: OptimizerConfig, lr: float, warmup_updates: int, total_updates: int
) -> optax.GradientTransformation:
    """The optimizer of one network.

    Args:
      config: name, moments, schedule, clipping.
      lr: the full rate of this network.
      warmup_updates: of this network, in which the rate rises.
      total_updates: of this network in the whole run, where a falling schedule reaches 0.
    """
    rate = _schedule(config, lr, warmup_updates, total_updates)
    rule = OPTIMIZERS[config.name](rate, config)
    return optax.chain(optax.clip_by_global_norm(config.grad_clip_norm), rule) if config.grad_clip_norm else rule


def _schedule(config: OptimizerConfig, lr: float, warmup: int, total: int) -> optax.ScalarOrSchedule:
    if config.schedule == "constant" and not warmup:
        return lr
    rest = max(1, total - warmup)
    falling = SCHEDULES[config.schedule](lr, rest)
    if not warmup:
        return falling
    # Start at lr / warmup, not at 0: a first update of size 0 would be wasted.
    rising = optax.linear_schedule(lr / warmup, lr, warmup)
    return optax.join_schedules([rising, falling], [warmup])
