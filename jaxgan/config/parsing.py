"""From nested mappings to typed dataclasses: every value is checked against its field, every error names the field."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from jaxgan.config.legacy import FIELDS
from jaxgan.config.registry import registry
from jaxgan.errors import InputError, did_you_mean, way_out


def plain(value: Any) -> Any:
    """Mappings, tuples and scalars as dicts, lists and scalars, for JSON."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value


def build(cls: type, values: Any, path: str) -> Any:
    """A dataclass from a mapping of its fields.

    Args:
      cls: a dataclass whose fields are bool, int, float, str, tuples of these, or such dataclasses.
      values: a mapping by field name; what is missing keeps its default.
      path: how errors call it, e.g. "config.train".

    Raises:
      InputError: an unknown field (with the nearest known one), or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{path}={values!r} is not valid: it is a section, set its fields ({path}.FIELD=VALUE)")
    return cls(
        **{name: _convert(field_type(cls, name, path), value, f"{path}.{name}") for name, value in values.items()}
    )


def field_type(cls: type, name: str, path: str) -> Any:
    """The type of a dataclass's field; raises `InputError` with the present or the nearest name if it has none such."""
    names = [field.name for field in dataclasses.fields(cls)]
    if name not in names:
        if renamed := FIELDS.get(path.removeprefix("config."), {}).get(name):
            raise InputError(f"{path}.{name} is not a config field: it is {path}.{renamed} now")
        hint = did_you_mean(name, names).replace(" mean ", f" mean {path}.") or f": known fields: {', '.join(names)}"
        raise InputError(f"{path}.{name} is not a config field{hint}")
    return typing.get_type_hints(cls)[name]


def _convert(kind: Any, value: Any, path: str) -> Any:
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return build(kind, value, path)
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        items = value if isinstance(value, tuple | list) else (value,)
        return tuple(_convert(element, item, path) for item in items)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise InputError(f"{path}={value!r} is not valid: give a value of type {kind.__name__}")
    return value


def require(condition: bool, field: str, value: Any, must: str) -> None:
    """Raises `InputError` for `config.<field>` unless the condition holds; `must` is the way out."""
    if not condition:
        raise InputError(f"config.{field}={value!r} is not valid: {must}")


def one_of(field: str, value: str, choices: Iterable[str]) -> None:
    """Requires one of some words."""
    require(value in (names := list(choices)), field, value, way_out(value, names))


def known(field: str, value: str, names: str, *also: str) -> None:
    """Requires a key of the registry called `names`, or one of the words that stand beside it."""
    if value not in also:  # Then no module need be imported.
        one_of(field, value, (*also, *registry(names)))


def positive(section: str, record: Any, *names: str) -> None:
    """Requires fields of a section to be above 0."""
    for name in names:
        value = getattr(record, name)
        require(value > 0, f"{section}.{name}", value, "give a value above 0")


def at_most(section: str, record: Any, **limits: int) -> None:
    """Requires fields of a section not to be far beyond what can be run: more is a slip of the keyboard."""
    for name, limit in limits.items():
        value = getattr(record, name)
        require(value <= limit, f"{section}.{name}", value, f"give at most {limit}")


def not_negative(section: str, record: Any, *names: str) -> None:
    """Requires fields of a section to be 0 or more."""
    for name in names:
        value = getattr(record, name)
        require(value >= 0, f"{section}.{name}", value, "give 0 or more")
