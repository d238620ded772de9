"""The folder of a run: its name, what is already in it, and where training goes on from."""

from __future__ import annotations

import datetime
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.files import write_json
from jaxgan.runs.checkpoint import FOLDER, Checkpoints, DamagedCheckpoint, find
from jaxgan.runs.metrics_log import FILE_NAME

# Fields that say how long, how often or how fast, not what is computed: changing them on resume is no surprise.
_FREE = (
    "train.iterations",
    "train.epochs",
    "train.steps_per_call",
    "train.keep_checkpoints",
    "data.source",
    "data.resident_budget_gib",
    "train.log_every",
    "train.sample_every",
    "train.checkpoint_every",
    "train.early_stopping_patience",
)


class ResumePoint(NamedTuple):
    """Where a run starts from.

    Attributes:
      step: iterations done before.
      arrays: of the checkpoint, by name; None for a fresh start.
      record: the checkpoint's JSON record; empty for a fresh start.
      origin: the run that the checkpoint is of.
    """

    step: int = 0
    arrays: Mapping[str, np.ndarray] | None = None
    record: Mapping[str, Any] = {}
    origin: Path | None = None


def default_name(preset: str) -> Path:
    """`runs/<preset>-YYYYmmdd-HHMMSS`, in local time, below the current folder."""
    return Path("runs") / f"{preset}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def find_resume_point(run_dir: Path, resume: str) -> ResumePoint:
    """Reads the checkpoint to go on from, as `--resume` says; writes nothing.

    Args:
      run_dir: the run's folder; need not exist.
      resume: "auto" (the newest sound checkpoint here, or a fresh start), "never" (the folder must hold no run), or the
        path of a run or of one of its checkpoints.

    Raises:
      InputError: a run that must not be there, no such checkpoint, or only damaged ones.
    """
    try:
        here = sorted(int(entry.name) for entry in (run_dir / FOLDER).iterdir() if entry.name.isdecimal())
        occupied = bool(here) or (run_dir / FILE_NAME).exists()
    except (FileNotFoundError, NotADirectoryError):
        here, occupied = [], (run_dir / FILE_NAME).exists()
    except OSError as error:
        raise InputError(f"--workdir {run_dir} cannot be read: {error.strerror}") from None
    if resume == "never":
        if occupied:
            raise InputError(f"--workdir {run_dir} holds a run: choose another, or --resume auto to go on with it")
        return ResumePoint()
    if resume == "auto":
        return _read(run_dir, None) if here else ResumePoint()
    origin, step, _ = find(resume)
    if origin.resolve() != run_dir.resolve():
        if occupied:
            raise InputError(f"--workdir {run_dir} holds a run: to start from {resume} choose an empty folder")
    elif step is not None and step != here[-1]:
        raise InputError(
            f"--resume {resume}: {run_dir} has later checkpoints (up to {here[-1]}), which would be lost: choose"
            " another --workdir"
        )
    return _read(origin, step)


def _read(run_dir: Path, step: int | None) -> ResumePoint:
    with Checkpoints(run_dir) as checkpoints:
        if step is None:
            return ResumePoint(*checkpoints.read_newest(), origin=run_dir)
        try:
            return ResumePoint(step, *checkpoints.read(step), origin=run_dir)
        except DamagedCheckpoint as error:
            raise InputError(f"{checkpoints.directory / str(step)} is damaged: {error}; choose another step") from None


def check_same(start: ResumePoint, config: Config, data: Mapping[str, Any]) -> None:
    """Compares a run to go on with what it is asked to be now.

    Warns of changed settings that change what is computed.

    Raises:
      InputError: the data are others than those it was trained on.
    """
    if start.arrays is None:
        return
    before = start.record["data"]
    if before["fingerprint"] != data["fingerprint"] or before["scaling"] != data["scaling"]:
        raise InputError(
            f"the checkpoint was trained on other data ({before['name']}, fingerprint {before['fingerprint']!r}) than"
            f" --data_dir gives now ({data['name']}, {data['fingerprint']!r}): restore the data, or start anew with"
            " another --workdir"
        )
    recorded = Config.from_record(start.record["config"])
    old, new = (flatten_dict(tree.to_dict(), sep=".") for tree in (recorded, config))
    changed = [
        f"config.{name} {old.get(name)} -> {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name) and not (name.startswith(_FREE) and not _sets_the_rates(name, config))
    ]
    if changed:
        warnings.warn(f"resuming with changed settings: {'; '.join(changed)}", stacklevel=2)


def _sets_the_rates(name: str, config: Config) -> bool:
    """Whether the length of the run decides what is computed: with a falling learning rate it does."""
    return name in ("train.iterations", "train.epochs") and config.optimizer.schedule != "constant"


def write_config(run_dir: str | os.PathLike, config: Config) -> None:
    """Writes `config.json`, the resolved configuration; raises `InputError` where the folder is not writable."""
    write_json(Path(run_dir) / "config.json", config.to_dict())


def write_data_place(run_dir: str | os.PathLike, data: Any) -> None:
    """Writes `data.json`, where the data lie, so that a later evaluation finds them; nothing for data in memory."""
    if isinstance(data, str | os.PathLike):
        place = "demo" if str(data) == "demo" else str(Path(data).absolute())
        write_json(Path(run_dir) / "data.json", {"data_dir": place})
