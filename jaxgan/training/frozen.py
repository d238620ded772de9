"""Frozen networks that a game looks through while it trains."""

from __future__ import annotations

from functools import partial

from jaxgan.config import Config
from jaxgan.evaluation.networks.vgg import load_vgg16
from jaxgan.objectives.perceptual import STAGES, Features, vgg16_features


def perceptual_features(config: Config) -> Features | None:
    """The features of the perceptual loss, or None for a game without.

    Raises:
      InputError: the weights (extra `evaluation`) are not installed.
    """
    if not config.objective.perceptual_weight:
        return None
    params = load_vgg16()[0]["params"]
    # No more than is used: the weights become constants of the compiled iteration, 7 MB of them.
    return partial(vgg16_features, {f"Conv_{i}": params[f"Conv_{i}"] for i in range(sum(STAGES))})
