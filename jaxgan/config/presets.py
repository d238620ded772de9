"""Presets: files that define `preset(variant) -> Config`, or hold its values, and overrides from the command line."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxgan.config.preset_files import find_preset, read_values
from jaxgan.config.schema import Config, to_config_dict
from jaxgan.errors import InputError


def load_preset(spec: str) -> Any:
    """What the `get_config()` of a preset gives, or the same from a file of values.

    Args:
      spec: a preset's name or a Python file with `get_config`, after a colon the argument to call it with; or a JSON
        or YAML file of fields, such as a run's own `config.json`. What a file leaves out keeps its default.

    Returns:
      An `ml_collections.ConfigDict`.

    Raises:
      InputError: no such preset or file, no `get_config` in it, no such variant, or values that do not fit.
    """
    path, variant = find_preset(spec)
    if path.suffix != ".py":
        return to_config_dict(_config_from_values(path, variant))
    module = _load(path)
    if not hasattr(module, "get_config"):
        raise InputError(f"--config {spec}: the file does not define get_config()")
    return _call(module.get_config, variant, spec)


def load_config(spec: str) -> Config:
    """As `load_preset`, but the `Config` itself: needs no ml_collections, and takes no overrides."""
    path, variant = find_preset(spec)
    if path.suffix != ".py":
        return _config_from_values(path, variant)
    module = _load(path)
    if not hasattr(module, "preset"):
        raise InputError(f"--config {spec}: the file does not define preset()")
    return _call(module.preset, variant, spec)


def title(spec: str) -> str:
    """A short name for what `--config` names: `mnist:wgan_gp` for `configs/mnist.py:wgan_gp`."""
    path, variant = find_preset(spec)
    return path.stem + (f":{variant}" if variant else "")


def _config_from_values(path: Path, variant: str | None) -> Config:
    if variant is not None:
        raise InputError(f"--config {path}: a file of values has no variants; leave :{variant} out")
    return Config.from_dict(read_values(path))


def override(config_dict: Any, arguments: Sequence[str]) -> Config:
    """Applies `--config.any.field=value` arguments and validates the result.

    Args:
      config_dict: from `load_preset`.
      arguments: the command line's remaining arguments.

    Raises:
      InputError: an unknown field or flag, or a value that does not fit.
    """
    from absl import flags
    from ml_collections import config_flags

    for argument in arguments:
        name = argument.split("=")[0].lstrip("-").removeprefix("no")
        if argument.startswith("-") and not name.startswith("config."):
            raise InputError(f"unknown flag {argument.split('=')[0]} (see --help)")
    values = flags.FlagValues()
    # The library looks for overrides in an argv of its own, program name first.
    argv = ["train.py", *arguments]
    try:
        holder = config_flags.DEFINE_config_dict("config", config_dict, flag_values=values, sys_argv=argv)
        rest = values(argv)[1:]
    except (AttributeError, KeyError, TypeError, ValueError, flags.Error) as error:
        return _explain(config_dict, arguments, error)
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}: write overrides as --config.section.field=value")
    return Config.from_dict(holder.value.to_dict())


def _explain(config_dict: Any, arguments: Sequence[str], error: Exception) -> Config:
    """Our own words for what the flag library refuses: an unknown field with the nearest known one, or a value."""
    from ml_collections import ConfigDict

    for argument in arguments:
        path, _, value = argument.lstrip("-").partition("=")
        tree: dict[str, Any] = {}
        node = tree
        *sections, field = path.split(".")[1:] or [""]
        for section in sections:
            node = node.setdefault(section, {})
        known = config_dict
        for section in sections:
            known = known.get(section) if isinstance(known, ConfigDict) else None
        if not isinstance(known, ConfigDict) or field not in known:
            node[field] = value
            Config.from_dict(tree)  # Raises with the name and the nearest known field.
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise InputError(message.removeprefix("flag --")) from None


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


def choose(variants: dict[str, Any], variant: str) -> Any:
    """The entry of a preset's table of variants; raises `InputError` that lists them when there is no such one."""
    if variant not in variants:
        raise InputError(f"--config: no variant {variant!r}: choose one of {', '.join(variants)}")
    return variants[variant]
