"""The registry: networks by the name that the config gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.config import Config, CriticConfig, GeneratorConfig
from jaxgan.models import dcgan, growing, lean, resnet


class Network(NamedTuple):
    """A kind of generator or critic.

    Attributes:
      module: the flax module, or a function that makes it, called with the attributes that `build_generator` or
        `build_critic` lists.
      check: `(section, settings, shape)` raises `InputError` for sizes and widths that it does not take, as
        `dcgan.check_sizes` does.
      options: which of `NetworkConfig.OPTIONS` it takes, each an attribute of the same name.
      grows: whether it is trained in stages; then it has the attributes `stages` and `stage`.
      couples: `settings -> bool`: whether the samples of a batch meet in it, as in batch norm.
    """

    module: Callable[..., nn.Module]
    check: Callable[..., None] = lambda section, settings, shape: None
    options: tuple[str, ...] = ()
    grows: bool = False
    couples: Callable[[Any], bool] = lambda settings: settings.norm == "batch"


_RESIDUAL = ("equalized", "resample", "attention", "branch_start")
_RESIDUAL_CRITIC = (*_RESIDUAL, "minibatch_std")


def _couples(settings: CriticConfig) -> bool:
    return settings.norm == "batch" or settings.minibatch_std > 0


GENERATORS: dict[str, Network] = {
    "dcgan": Network(dcgan.Generator, dcgan.check_sizes),
    "resnet": Network(resnet.Generator, resnet.check_sizes, _RESIDUAL),
    "lean": Network(lean.Generator, lean.check_sizes, ("equalized", "resample", "attention")),
    "growing": Network(growing.Generator, resnet.check_sizes, _RESIDUAL, grows=True),
}
CRITICS: dict[str, Network] = {
    "dcgan": Network(dcgan.Critic, dcgan.check_sizes),
    "resnet": Network(resnet.Critic, resnet.check_sizes, _RESIDUAL_CRITIC, couples=_couples),
    "growing": Network(growing.Critic, resnet.check_sizes, _RESIDUAL_CRITIC, grows=True, couples=_couples),
}
PRECISIONS = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def build_generator(
    config: Config, num_classes: int, axis_name: str | None = None, platform: str | None = None
) -> nn.Module:
    """The generator that a config asks for.

    Args:
      config: a validated config.
      num_classes: classes of the data; used when the critic is conditional.
      axis_name: mapped axis over which batch norm is synchronised, or None.
      platform: "cpu", "gpu" or "tpu", what the program is meant for; None: what this process computes on.
    """
    return GENERATORS[config.generator.network].module(
        shape=config.data.shape,
        widths=config.generator.widths,
        norm=config.generator.norm,
        spectral=config.generator.spectral,
        num_classes=num_classes if config.critic.conditioning != "none" else 0,
        axis_name=axis_name,
        **_options(GENERATORS[config.generator.network], config.generator, config),
        **_dtypes(config.train.precision, platform),
    )


def build_critic(
    config: Config, num_classes: int, axis_name: str | None = None, platform: str | None = None
) -> nn.Module:
    """The critic that a config asks for; arguments as in `build_generator`."""
    return CRITICS[config.critic.network].module(
        widths=config.critic.widths,
        norm=config.critic.norm,
        spectral=config.critic.spectral,
        num_classes=num_classes,
        conditioning=config.critic.conditioning,
        axis_name=axis_name,
        **_options(CRITICS[config.critic.network], config.critic, config),
        **_dtypes(config.train.precision, platform),
    )


def couples_samples(config: Config) -> bool:
    """Whether the critic that a config asks for mixes the samples of a batch."""
    return CRITICS[config.critic.network].couples(config.critic)


def _options(network: Network, settings: GeneratorConfig | CriticConfig, config: Config) -> dict[str, Any]:
    options = {name: getattr(settings, name) for name in network.options}
    return options | ({"stages": config.growing.stages(config.data.size)} if network.grows else {})


def _dtypes(precision: str, platform: str | None) -> dict[str, Any]:
    """What a precision means here: a CPU multiplies bfloat16 fast but emulates every other operation on it."""
    matmul = jnp.dtype(PRECISIONS[precision])
    activation = jnp.dtype(jnp.float32) if (platform or jax.default_backend()) == "cpu" else matmul
    return {"activation_dtype": activation, "matmul_dtype": matmul}
