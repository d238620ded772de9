"""An exported generator read back: its configuration, its weights and what its samples mean."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.config import Config
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError

WEIGHTS, CONFIG = "weights.safetensors", "config.json"


@dataclasses.dataclass(frozen=True)
class Exported:
    """What a folder of `jaxgan export` holds, beside the program for others.

    Attributes:
      folder: where it lies.
      config: of the run it came from.
      weights: arrays by path: `params/...`, `stats/...`.
      name: of the run.
      step: iterations the generator was trained for.
      scaling: how [-1, 1] maps to the original units.
      class_names: one a class; empty when the generator takes no labels.
      data_fingerprint: of the data it was trained on.
      affine: 4x4 matrix from array indices to RAS+ world coordinates of volumes, or None.
      spacing: mm along each spatial axis, or None where it is not known.
    """

    folder: Path
    config: Config
    weights: dict[str, np.ndarray]
    name: str
    step: int
    scaling: Scaling
    class_names: tuple[str, ...]
    data_fingerprint: str
    affine: np.ndarray | None
    spacing: tuple[float, ...] | None


def is_export(folder: Path) -> bool:
    """Whether a folder holds an exported generator; a run has checkpoints instead."""
    return (folder / WEIGHTS).is_file()


def read_export(folder: Path) -> Exported:
    """Reads a folder that `jaxgan export` wrote.

    Raises:
      InputError: a file is missing or damaged, or was not written by `jaxgan export`.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS
    try:
        config = Config.from_record(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{folder / CONFIG}: cannot be read ({error.strerror}); export the run again") from None
    except ValueError as error:  # InputError is one: the config's own word says which field.
        raise InputError(f"{folder / CONFIG}: is no configuration ({error}); export the run again") from None
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
        return Exported(folder, config, weights, **_meaning(json.loads(metadata["jaxgan"]), folder))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: is damaged, or not written by 'jaxgan export' ({reason}); export again") from None


def _meaning(facts: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The header's record as fields of `Exported`."""
    affine = None if facts["affine"] is None else np.asarray(facts["affine"], np.float64).reshape(4, 4)
    return {
        "name": str(facts.get("run", folder.name)),  # Exports of early versions do not say.
        "step": int(facts["step"]),
        "scaling": Scaling.from_dict(facts["scaling"]),
        "class_names": tuple(map(str, facts["class_names"])),
        "data_fingerprint": str(facts["data_fingerprint"]),
        "affine": affine,
        "spacing": None if facts["spacing"] is None else tuple(map(float, facts["spacing"])),
    }


def named(tree: Any) -> dict[str, Any]:
    """The leaves of `{"params": ..., "stats": ...}` by path: `params/dense/kernel`, `stats/...`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def fill(like: Any, exported: Exported) -> Any:
    """The weights as the tree of a generator.

    Args:
      like: the tree, of arrays or of their shapes.
      exported: with the same leaves; those in half precision become `like`'s type.

    Raises:
      InputError: a name or a shape does not fit.
    """
    wanted, path = named(like), exported.folder / WEIGHTS
    odd = sorted(wanted.keys() ^ exported.weights.keys())
    odd += [name for name in wanted if not odd and exported.weights[name].shape != wanted[name].shape]
    if odd:
        raise InputError(
            f"{path}: its array {odd[0]} does not fit {exported.folder / CONFIG}: export the run again, or give"
            " --config PRESET if your preset file adds the network"
        )
    return jax.tree.unflatten(
        jax.tree.structure(like), [exported.weights[name].astype(leaf.dtype) for name, leaf in wanted.items()]
    )
