"""The folder of a run: its name, and the files that say what it is of."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

from jaxgan.config import Config
from jaxgan.files import write_json


def default_name(preset: str) -> Path:
    """`runs/<preset>-YYYYmmdd-HHMMSS`, in local time, below the current folder."""
    return Path("runs") / f"{preset}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def write_config(run_dir: str | os.PathLike, config: Config) -> None:
    """Writes `config.json`, the resolved configuration; raises `InputError` where the folder is not writable."""
    write_json(Path(run_dir) / "config.json", config.to_dict())


def write_data_place(run_dir: str | os.PathLike, data: Any) -> None:
    """Writes `data.json`, where the data lie, so that a later evaluation finds them; nothing for data in memory."""
    if isinstance(data, str | os.PathLike):
        place = "demo" if str(data) == "demo" else str(Path(data).absolute())
        write_json(Path(run_dir) / "data.json", {"data_dir": place})
