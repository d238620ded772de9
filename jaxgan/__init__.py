"""jaxgan: generative adversarial networks on scientific images, in JAX and Flax, at accelerator speed."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "train": "jaxgan.training.loop",
    "open_data": "jaxgan.data.open",
    "load_trained_model": "jaxgan.inference.trained_model",
    "generate_samples": "jaxgan.inference.trained_model",
    "generate_interpolation": "jaxgan.inference.trained_model",
    "TrainedModel": "jaxgan.inference.trained_model",
    "Config": "jaxgan.config",
    "InputError": "jaxgan.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __dir__() -> list[str]:
    # With what Python itself looks for, and without what this file imports.
    return sorted([*(name for name in globals() if name.startswith("__")), *_PUBLIC])


def __getattr__(name: str) -> Any:
    # Looked up on first use: the benchmark, on a bare machine, imports the core without Orbax or tfds.
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")
