"""Presets: Python files that define `get_config(variant) -> Config`, or files that hold a config's values."""

from __future__ import annotations

import importlib.util
import inspect
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxgan.config.preset_files import find_preset, read_values
from jaxgan.config.schema import Config
from jaxgan.errors import ArgumentError, InputError, way_out


def load_config(spec: str) -> Config:
    """The config of a preset.

    Args:
      spec: a preset's name or a Python file with `get_config`, after a colon the argument to call it with; or a JSON
        or YAML file of fields, such as a run's own `config.json`. What a file leaves out is as in the preset that its
        field `preset` names, or keeps its default.

    Raises:
      InputError: no such preset or file, no `get_config` in it, no such variant, or values that do not fit.
    """
    path, variant = find_preset(spec)
    if path.suffix != ".py":
        if variant is not None:
            raise InputError(f"--config {path}: a file of values has no variants; leave :{variant} out")
        values = read_values(path)
        return Config.from_record(values) if "preset" not in values else _on_preset(path, values)
    module = _load(path)
    if not hasattr(module, "get_config"):
        raise InputError(f"--config {spec}: the file does not define get_config()")
    return as_config(_call(module.get_config, variant, spec))


def as_config(value: Config | Mapping[str, Any] | str | os.PathLike) -> Config:
    """What stands for a config, as a `Config`.

    Args:
      value: a `Config`; a preset's name or file, as `load_config` takes it; or nested fields, as a mapping or as an
        `ml_collections.ConfigDict`.

    Raises:
      InputError: it is none of these, or its values do not fit.
    """
    if isinstance(value, Config):
        return value
    if isinstance(value, str | os.PathLike):
        return load_config(os.fspath(value))
    if hasattr(value, "to_dict"):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        raise InputError(f"config={value!r} is not valid: give a Config, nested fields, or the name of a preset")
    return Config.from_dict(value)


def title(spec: str) -> str:
    """A short name for what `--config` names: `mnist:wgan_gp` for `configs/mnist.py:wgan_gp`."""
    path, variant = find_preset(spec)
    return path.stem + (f":{variant}" if variant else "")


def _on_preset(path: Path, values: dict[str, Any]) -> Config:
    """The preset that a file of values begins with, and its values in place of the preset's."""
    base = values.pop("preset")
    if not isinstance(base, str) or find_preset(base)[0].suffix != ".py":
        raise InputError(f"--config {path}: preset={base!r} is not valid: give a preset's name, as in cell256:small")
    merged = load_config(base).to_dict()
    for name, value in values.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = {**merged[name], **value} if both else value
    return Config.from_dict(merged)


def _load(path: Path) -> ModuleType:
    module_spec = importlib.util.spec_from_file_location(f"jaxgan_preset_{path.stem}", path)
    assert module_spec is not None and module_spec.loader is not None, path  # It ends in .py.
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except InputError:
        raise
    except Exception as error:  # The preset is the user's own code: whatever it raises, its file is to be mended.
        raise InputError(f"--config {path} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _call(function: Any, variant: str | None, spec: str) -> Any:
    if variant is None:
        return function()
    if not inspect.signature(function).parameters:
        raise InputError(f"--config {spec}: this preset has no variants; leave :{variant} out")
    return function(variant)


class _NoSuchVariant(ArgumentError):
    def __init__(self, variant: str, variants: Sequence[str]):
        super().__init__("config", "", f": no variant {variant!r}: {way_out(variant, variants)}")
        self.variants = variants


def choose(variants: dict[str, Any], variant: str) -> Any:
    """The entry of a preset's table of variants; raises `InputError` that lists them when there is no such one."""
    if variant not in variants:
        raise _NoSuchVariant(variant, tuple(variants))
    return variants[variant]


def variants_of(spec: str) -> tuple[str, ...]:
    """The variants that a preset chooses among; empty for one without."""
    path, _ = find_preset(spec)
    get_config = _load(path).get_config
    if not inspect.signature(get_config).parameters:
        return ()
    try:
        get_config("")
    except _NoSuchVariant as error:
        return tuple(error.variants)
    return ()
