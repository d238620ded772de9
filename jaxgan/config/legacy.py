"""Configs written under earlier names, read as what they meant.

A field added since is not in such a record and takes its default: where that would mean something else than before, its
old meaning belongs here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Fields by section: the earlier name and the present one.
FIELDS = {
    "objective": {"drift": "drift_weight", "clip": "weight_clip"},
    "optimizer": {"clip_norm": "grad_clip_norm"},
}

# Values by section and field, and the fields that now say the same. The command line takes them as well.
VALUES: dict[tuple[str, str, str], dict[str, Any]] = {
    ("objective", "loss", "vanilla"): {"loss": "non_saturating"},
    ("objective", "loss", "vanilla_saturating"): {"loss": "saturating"},
    ("generator", "norm", "spectral"): {"norm": "none", "spectral": True},
    ("critic", "norm", "spectral"): {"norm": "none", "spectral": True},
}


def present_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """A config's nested fields, earlier values in present words; what is no mapping is left for others to judge."""
    result: dict[str, Any] = dict(values)
    for (section, field, value), meaning in VALUES.items():
        fields = result.get(section)
        if isinstance(fields, Mapping) and fields.get(field) == value:
            result[section] = {**fields, **meaning}
    return result


def present_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same for the names of fields: only for records, since a user is told the present name."""
    result: dict[str, Any] = dict(values)
    for section, names in FIELDS.items():
        fields = result.get(section)
        if isinstance(fields, Mapping):
            result[section] = {names.get(name, name): value for name, value in fields.items()}
    return result
