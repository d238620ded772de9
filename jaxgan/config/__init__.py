"""What a run is made of: validated dataclasses, presets, overrides. No JAX operation is imported here."""

from jaxgan.config.augmentation import Augmentation, DiffAugmentation
from jaxgan.config.schema import (
    Config,
    CriticConfig,
    DataConfig,
    EvaluateConfig,
    GeneratorConfig,
    ObjectiveConfig,
    OptimizerConfig,
    TrainConfig,
)

__all__ = [
    "Augmentation",
    "Config",
    "CriticConfig",
    "DataConfig",
    "DiffAugmentation",
    "EvaluateConfig",
    "GeneratorConfig",
    "ObjectiveConfig",
    "OptimizerConfig",
    "TrainConfig",
]
