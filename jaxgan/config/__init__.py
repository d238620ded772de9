"""What a run is made of: validated dataclasses, presets, overrides. No JAX operation is imported here."""

from jaxgan.config.augmentation import Augmentation, DiffAugmentation
from jaxgan.config.networks import CriticConfig, GeneratorConfig, GrowingConfig
from jaxgan.config.objective import ObjectiveConfig, OptimizerConfig
from jaxgan.config.schema import Config, DataConfig, EvaluateConfig, TrainConfig

__all__ = [
    "Augmentation",
    "Config",
    "CriticConfig",
    "DataConfig",
    "DiffAugmentation",
    "EvaluateConfig",
    "GeneratorConfig",
    "GrowingConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "TrainConfig",
]
