"""The fields of a config as text: every section's meaning and defaults, as its dataclass has them."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
import typing
from typing import Any

from jaxgan.config.schema import Config


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of a config.

    Attributes:
      name: "" for the fields beside all sections.
      prose: the docstring of its class, and of what it shares with others.
      fields: `{name below "config.": (type, default)}`, both as text.
    """

    name: str
    prose: str
    fields: dict[str, tuple[str, str]]


def sections() -> list[Section]:
    """All sections, in order.

    Read from the classes: a config made here would be validated, and for that JAX would be imported.
    """
    kinds: dict[str, Any] = {
        name: kind for name, kind in typing.get_type_hints(Config).items() if dataclasses.is_dataclass(kind)
    }
    own = {field.name: _described(field) for field in dataclasses.fields(Config) if field.name not in kinds}
    return [Section("", _prose(Config), own)] + [
        Section(name, _prose(kind), {f"{name}.{field.name}": _described(field) for field in dataclasses.fields(kind)})
        for name, kind in kinds.items()
    ]


def describe_fields() -> str:
    """Every field as the flag that sets it, with its default, below the docstring of its section."""
    lines = ["config fields and their defaults (presets set others: --dry_run prints what holds):"]
    for section in sections():
        flags = [f"    --config.{name}={default}" for name, (_, default) in section.fields.items()]
        lines += ["", textwrap.indent(section.prose, "  "), *flags]
    return "\n".join(lines)


def _described(field: dataclasses.Field) -> tuple[str, str]:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return str(field.type), str(value) if value != "" else repr(value)


def _prose(section: type) -> str:
    classes = [cls for cls in section.__mro__ if dataclasses.is_dataclass(cls)]
    return "\n".join(inspect.getdoc(cls) or "" for cls in classes)
