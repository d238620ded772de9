"""Where the things stand that a config calls by name: the names that it accepts are the keys of these dictionaries.

To add one, put it into its dictionary, here in the package or in a preset file of your own:

    from jaxgan.objectives.losses import LOSSES, Loss

    LOSSES["mine"] = Loss(critic=..., generator=...)
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

# Every dictionary and the module that fills it: by name, so that describing a config imports no JAX.
HOMES = {
    "LOSSES": "jaxgan.objectives.losses",
    "PENALTIES": "jaxgan.objectives.penalties",
    "GENERATORS": "jaxgan.models",
    "CRITICS": "jaxgan.models",
    "PRECISIONS": "jaxgan.models",
    "UPSAMPLING": "jaxgan.models.resample",
    "DOWNSAMPLING": "jaxgan.models.resample",
    "NORMS": "jaxgan.models.norms",
    "CONDITIONINGS": "jaxgan.models.conditioning",
    "OPTIMIZERS": "jaxgan.gan.optimizers",
    "SCHEDULES": "jaxgan.gan.optimizers",
    "SOURCES": "jaxgan.data.source",
    "POLICIES": "jaxgan.data.scaling",
    "STRETCHES": "jaxgan.gan.stretch",
    "OPERATIONS": "jaxgan.augment.reals",
    "DIFFAUGMENTATIONS": "jaxgan.augment.diffaugment",
    "METRICS": "jaxgan.evaluation.registry",
    "NORMALISATIONS": "jaxgan.data.preparing.convert",
}


def registry(name: str) -> Mapping[str, Any]:
    """The dictionary of that name, a key of `HOMES`; its module is imported at the first look-up."""
    return getattr(importlib.import_module(HOMES[name]), name)
