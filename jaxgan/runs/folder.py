"""The folder of a run: its name, and the files that say what it is of."""

from __future__ import annotations

import datetime
import json
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from jaxgan import clouds
from jaxgan.config import Config
from jaxgan.config.presets import load_config, title
from jaxgan.files import write_json

ENVIRONMENT = "environment.json"
# Of a run, and of an exported generator.
CARD = "model_card.md"


def default_name(preset: str) -> Path:
    """`runs/<preset>-YYYYmmdd-HHMMSS`, in local time, below the current folder."""
    return Path("runs") / f"{preset}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def write_config(run_dir: str | os.PathLike, config: Config) -> None:
    """Writes `config.json`, the run's configuration; raises `InputError` where the folder is not writable."""
    write_json(Path(run_dir) / "config.json", config.to_dict())


def write_data_place(run_dir: str | os.PathLike, data: Any) -> None:
    """Writes `data.json`, where the data lie, so that a later evaluation finds them; nothing for data in memory."""
    if isinstance(data, str | os.PathLike):
        is_name = str(data) == "demo" or clouds.is_remote(data)
        place = str(data) if is_name else str(Path(data).absolute())
        write_json(Path(run_dir) / "data.json", {"data_dir": place})


def write_environment(run_dir: str | os.PathLike, preset: str = "") -> None:
    """Writes `environment.json`: versions, devices and the preset that the run's configuration began as.

    Args:
      run_dir: the run's folder.
      preset: as `--config` names it; "" where there was none.
    """
    path = Path(run_dir) / ENVIRONMENT
    now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    try:
        started = str(json.loads(path.read_text(encoding="utf-8"))["started"])  # by an earlier process
    except (OSError, ValueError, KeyError, TypeError):
        started = now
    devices = jax.devices()
    record: dict[str, Any] = {
        "started": started,
        "last_start": now,
        "versions": {name: _version(name) for name in ("jaxgan", "jax", "jaxlib", "flax", "optax", "numpy")},
        "python": platform.python_version(),
        "system": platform.platform(),
        "devices": f"{len(devices)} x {devices[0].device_kind}",
    }
    if preset:
        record["preset"] = title(preset)
        record["preset_config"] = load_config(preset).to_dict()
    write_json(path, record)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        if name == "jaxgan":  # A checkout that is not installed.
            import jaxgan

            return jaxgan.__version__
        return "not installed"
