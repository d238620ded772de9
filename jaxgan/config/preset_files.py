"""Where presets lie: in a checkout's `configs/`, among the files of an installed package, or where the user says."""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Any

from jaxgan.errors import ArgumentError, InputError, way_out

# As setup.cfg installs them.
_INSTALLED = "share/jaxgan/configs/"


def preset_files() -> dict[str, Path]:
    """The presets that come with jaxgan, by name."""
    checkout = Path(__file__).parents[2]
    if (checkout / "setup.cfg").is_file() and (checkout / "configs").is_dir():
        found = list((checkout / "configs").glob("*.py"))
    else:
        try:
            files = metadata.files("jaxgan") or []
        except metadata.PackageNotFoundError:
            files = []
        found = [Path(str(file.locate())) for file in files if _INSTALLED in file.as_posix() and file.suffix == ".py"]
    return {path.stem: path for path in sorted(found)}


def find_preset(spec: str) -> tuple[Path, str | None]:
    """The file that `--config` names, and its variant.

    Args:
      spec: the name of a preset (`mnist`), or the path of a Python, JSON or YAML file; after the last colon a variant.
        A path such as `configs/mnist.py` also works from another folder, where there is no such file.

    Raises:
      InputError: there is no such preset or file.
    """
    name, colon, variant = spec.rpartition(":")
    if not colon or "/" in variant or Path(spec).is_file():  # A path may hold colons of its own.
        name, variant = spec, ""
    if Path(name).suffix in (".py", ".json", ".yaml", ".yml") and Path(name).is_file():
        return Path(name), variant or None
    known = preset_files()
    if name in known:
        return known[name], variant or None
    stem = Path(name).stem
    if Path(name).parent.name == "configs" and Path(name).suffix == ".py" and stem in known:
        return known[stem], variant or None
    raise ArgumentError(
        "config", name, f": no such file or preset: {way_out(stem, known)}, or give a .py, .json or .yaml file"
    )


def read_values(path: Path) -> dict[str, Any]:
    """The fields that a JSON or YAML file sets; raises `InputError` where it cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else _parse_yaml(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--config {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"--config {path}: give sections with fields, as a run's config.json has them")
    return values


def _parse_yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads 1e-4 as a number, as everybody but YAML 1.1 does."""

    number = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
