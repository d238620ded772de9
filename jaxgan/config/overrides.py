"""`--config.section.field=value` arguments, applied to a config."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

from jaxgan.config.legacy import FIELDS
from jaxgan.config.parsing import field_type
from jaxgan.config.schema import Config
from jaxgan.errors import InputError, did_you_mean

_BOOLS = {"true": True, "1": True, "false": False, "0": False}


def override(config: Config, arguments: Sequence[str], flags: Iterable[str] = ()) -> Config:
    """Applies arguments and validates the result; of several for one field the last one counts.

    Args:
      config: what to start from.
      arguments: the command line's remaining arguments: `--config.any.field=value` or `--config.any.field value`; a
        bool needs no value to be set. Tuples are written `(8,16)` or `8,16`.
      flags: the command's own, for what errors suggest.

    Raises:
      InputError: an unknown field or flag, or a value that does not fit.
    """
    values, rest = config.to_dict(), list(arguments)
    while rest:
        flag, equals, text = rest.pop(0).partition("=")
        if not flag.startswith("-"):
            raise InputError(f"unexpected argument {flag!r}: write overrides as --config.section.field=value")
        first, *names = flag.lstrip("-").split(".")
        if first != "config" or not names:
            raise InputError(f"unknown flag {flag}{_nearest(flag, config, flags)} (see --help)")
        section: Any = values
        kind, path = _find(names, config)
        for name in names[:-1]:
            section = section[name]
        if not equals and rest and not rest[0].startswith("--"):
            text = rest.pop(0)
        elif not equals and kind is bool:
            text = "true"
        elif not equals:
            raise InputError(f"--{path} has no value: write --{path}=VALUE")
        section[names[-1]] = _parse(kind, text)
    return Config.from_dict(values)


def _nearest(flag: str, config: Config, flags: Iterable[str]) -> str:
    """The question whether a field or a flag was meant: `--batch_size` and `--train.batch_size` are half of one."""
    fields = [f"--config.{name}" for name in config.fields()]
    ending = "." + flag.lstrip("-")
    meant = [field for field in fields if field.endswith(ending)]
    return f": did you mean {meant[0]}?" if meant else did_you_mean(flag, [*flags, *fields])


def _find(names: Sequence[str], config: Config) -> tuple[Any, str]:
    """The type of the field that lies at `names`, and how errors call it."""
    kind, path = Config, "config"
    for name in names:
        if not dataclasses.is_dataclass(kind):
            raise InputError(f"{path} is a value, not a section: write --{path}=VALUE")
        known = {field.name for field in dataclasses.fields(kind)} | set(FIELDS.get(path.removeprefix("config."), ()))
        elsewhere = [f"config.{field}" for field in config.fields() if field.endswith(f".{name}")]
        if name not in known and elsewhere:
            raise InputError(f"{path}.{name} is not a config field: did you mean {' or '.join(elsewhere)}?")
        kind, path = field_type(kind, name, path), f"{path}.{name}"
    if dataclasses.is_dataclass(kind):
        raise InputError(f"{path} is a section: set its fields (--{path}.FIELD=VALUE)")
    return kind, path


def _parse(kind: Any, text: str) -> Any:
    """A word as a value of a field of that type; one that is not stays as it is, for `Config.from_dict` to refuse."""
    if kind is str:
        return text
    if kind is bool:
        return _BOOLS.get(text.lower(), text)
    if kind == tuple[str, ...]:
        return re.findall(r"[^\s,()\[\]'\"]+", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
