"""The fields of a config as text: every section's meaning and defaults, as its dataclass has them."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
import typing
from typing import Any

from jaxgan.config.schema import Config


def describe_fields() -> str:
    """Every field as the flag that sets it, with its default, below the docstring of its section.

    Read from the classes: a config made here would be validated, and for that JAX would be imported.
    """
    lines = ["config fields and their defaults (presets set others: --dry_run prints what holds):", ""]
    sections: dict[str, Any] = {
        name: kind for name, kind in typing.get_type_hints(Config).items() if dataclasses.is_dataclass(kind)
    }
    lines += [_prose(Config), *(_flag("", field) for field in dataclasses.fields(Config) if field.name not in sections)]
    for name, section in sections.items():
        lines += ["", _prose(section), *(_flag(f"{name}.", field) for field in dataclasses.fields(section))]
    return "\n".join(lines)


def _flag(section: str, field: dataclasses.Field) -> str:
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return f"    --config.{section}{field.name}={value if value != '' else repr(value)}"


def _prose(section: type) -> str:
    """The docstring of a section, and of what it shares with others."""
    classes = [cls for cls in section.__mro__ if dataclasses.is_dataclass(cls)]
    return "\n".join(textwrap.indent(inspect.getdoc(cls) or "", "  ") for cls in classes)
