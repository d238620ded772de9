"""The fields of a config as text: every section's meaning and defaults, as its dataclass has them."""

from __future__ import annotations

import dataclasses
import inspect
import textwrap
from typing import Any

from jaxgan.config.schema import Config


def describe_fields() -> str:
    """Every field as the flag that sets it, with its default, below the docstring of its section."""
    config = Config()
    lines = ["config fields and their defaults (presets set others: --dry_run prints what holds):"]
    sections = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    lines += ["", _prose(config), *(_flag(name, value) for name, value in sections.items() if not _is_section(value))]
    for name, section in sections.items():
        if _is_section(section):
            lines += ["", _prose(section)]
            lines += [
                _flag(f"{name}.{field.name}", getattr(section, field.name)) for field in dataclasses.fields(section)
            ]
    return "\n".join(lines)


def _is_section(value: Any) -> bool:
    return dataclasses.is_dataclass(value)


def _flag(name: str, value: Any) -> str:
    return f"    --config.{name}={value if value != '' else repr(value)}"


def _prose(section: Any) -> str:
    return textwrap.indent(inspect.getdoc(section) or "", "  ")
