"""What medigan (Osuala et al. 2023, doi:10.1117/1.JMI.10.6.061403) needs to list and run a model: two files.

`metadata.json` has the fields of its template; what cannot be known here is empty, for the author to fill in. The
folder is a Python package whose `generate` medigan calls with `model.stablehlo`.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping
from typing import Any

import jaxgan
from jaxgan.inference.trained_model import TrainedModel

PACKAGE = '''"""What medigan calls: `generate`. Needs jax, numpy and flatbuffers (for jax.export)."""

import pathlib

import jax
import jax.export
import numpy as np


def generate(model_file, num_samples, output_path, save_images, seed=None):
    """Samples in original units: as `0.npy`, `1.npy`, ... in output_path, or as a list without save_images."""
    program = jax.export.deserialize(bytearray(pathlib.Path(model_file).read_bytes()))
    latents = np.random.default_rng(seed).standard_normal((num_samples, {latent_dim}), np.float32)
    samples = np.asarray(jax.jit(program.call)(latents{labels_call}))
    if not save_images:
        return list(samples)
    folder = pathlib.Path(output_path)
    folder.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        np.save(folder / f"{number}.npy", sample)
'''


@dataclasses.dataclass(frozen=True)
class About:
    """What only the author knows of a model.

    Attributes:
      licence: of the model, as the hub writes it, e.g. "cc-by-4.0"; "" where it is not stated.
      modality: kinds of image, e.g. MRI.
      organ: what is shown.
      dataset: names of the training data.
      tags: further words to find it by.
    """

    licence: str = ""
    modality: tuple[str, ...] = ()
    organ: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def package(model: TrainedModel) -> str:
    """The text of `__init__.py`."""
    text = PACKAGE.replace("{latent_dim}", str(model.config.generator.latent_dim))
    labels = f", np.arange(num_samples, dtype=np.int32) % {len(model.class_names)}" if model.class_names else ""
    return text.replace("{labels_call}", labels)


def metadata(model: TrainedModel, about: About, numbers: Mapping[str, float] | None = None) -> str:
    """The text of `metadata.json`.

    Args:
      model: which is shared.
      about: what its author says.
      numbers: evaluated metrics by jaxgan's name, of this step; only those that medigan's fields mean are taken.
    """
    shape, numbers = model.config.data.shape, numbers or {}
    performance: dict[str, Any] = dict.fromkeys(("SSIM", "MSE", "NSME", "PSNR", "IS", "FID"))
    performance |= {"IS": numbers.get("inception_score"), "FID": numbers.get("fid"), "turing_test": ""}
    trained: dict[str, Any] = {"trained_on_fake": {}, "trained_on_real_and_fake": {}, "trained_on_real": {}}
    conditional = "class-conditional generation" if model.class_names else "unconditional generation"
    today = datetime.date.today()
    entry = {
        "execution": {
            "package_name": _identifier(model.name),
            "package_link": "",
            "model_name": "model",
            "extension": ".stablehlo",
            "image_size": list(shape[:-1]),
            "dependencies": ["jax>=0.10,<0.13", "numpy", "flatbuffers>=24.3"],
            "generate_method": {
                "name": "generate",
                "args": {"base": ["model_file", "num_samples", "output_path", "save_images"], "custom": {"seed": None}},
            },
        },
        "selection": {
            "performance": performance | {"downstream_task": {"CLF": trained, "SEG": trained}},
            "use_cases": [],
            "organ": list(about.organ),
            "modality": list(about.modality),
            "vendors": [],
            "centres": [],
            "function": ["noise to image", "image generation", conditional],
            "condition": list(model.class_names),
            "dataset": list(about.dataset),
            "augmentations": _augmentations(model),
            "generates": list(model.class_names),
            "height": shape[-3],
            "width": shape[-2],
            "depth": shape[0] if len(shape) == 4 else None,
            "type": f"{model.config.generator.network}, {model.config.objective.loss}",
            "license": about.licence,
            "dataset_type": "",
            "privacy_preservation": "",
            "tags": ["x".join(map(str, shape[:-1])), "jaxgan", *about.tags],
            "year": today.year,
        },
        "description": {
            "title": model.name,
            "provided_date": today.isoformat(),
            "trained_date": "",
            "provided_after_epoch": None,
            "version": "",
            "publication": "",
            "doi": [],
            "comment": f"Made by jaxgan {jaxgan.__version__}, iteration {model.step}; see README.md. Samples are"
            f" float32 arrays in {model.scaling.units or 'the units of the training data'}, channels last.",
        },
    }
    return json.dumps({model.name: entry}, indent=2, ensure_ascii=False) + "\n"


def _augmentations(model: TrainedModel) -> list[str]:
    """The sections of the configuration that changed images while it was trained."""
    config = model.config
    return [*(["symmetries of the data"] if config.augment.active else []), *config.diffaugment.policy]


def _identifier(name: str) -> str:
    """A name that Python can import."""
    plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return plain if plain[:1].isalpha() else f"model_{plain}"
