"""Where the checkpoints of a run lie, which there are, and what a path given by a user points at; none is opened."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from jaxgan.errors import ArgumentError, InputError

FOLDER = "checkpoints"


def saved_steps(run_dir: str | os.PathLike) -> list[int]:
    """Steps that have a checkpoint in a run's folder, oldest first; raises `OSError` where that cannot be read."""
    try:
        entries = [entry.name for entry in (Path(run_dir) / FOLDER).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(name) for name in entries if name.isdecimal())


def set_aside(run_dir: str | os.PathLike, after: int) -> list[Path]:
    """Moves checkpoints of later steps out of the way, to `checkpoints_set_aside/`: a run that walked back past them
    writes these steps again, and what could not be read now may be readable another day.

    Returns:
      Where they lie.
    """
    moved = []
    for step in saved_steps(run_dir):
        if step > after:
            target = Path(run_dir) / f"{FOLDER}_set_aside" / f"{step}-{secrets.token_hex(4)}"
            target.parent.mkdir(exist_ok=True)
            moved.append((Path(run_dir) / FOLDER / str(step)).rename(target))
    return moved


def split_path(path: str | os.PathLike) -> tuple[Path, int | None]:
    """The run's folder and the step, None where it names none, of a path to a run, its checkpoints or one of them."""
    path = Path(path)
    if path.name.isdecimal() and path.parent.name == FOLDER:
        return path.parent.parent, int(path.name)
    return (path.parent if path.name == FOLDER else path), None


def find(path: str | os.PathLike, step: str | int = "latest") -> tuple[Path, int | None, bool]:
    """What a user's `--checkpoint PATH --step STEP` points at.

    Args:
      path: a run's folder, its `checkpoints` folder, or one step's folder in it.
      step: "latest", "best" or a number; ignored when the path names a step.

    Returns:
      (run folder, step number or None for the latest, whether the best is wanted).

    Raises:
      InputError: no such folder, no checkpoint in it, or no such step.
    """
    path = Path(path)
    run_dir, named = split_path(path)
    folder, step = run_dir / FOLDER, step if named is None else named
    if not folder.is_dir() and (path / "weights.safetensors").is_file():
        raise InputError(f"{path} is an exported generator, without critic and optimizer: give the run's own folder")
    if not folder.is_dir():
        raise InputError(f"{path} is not a run with checkpoints: give the folder of a run (what --workdir named)")
    steps = saved_steps(run_dir)
    if not steps:
        raise InputError(f"{folder} holds no checkpoint yet: train first")
    if step in ("latest", "best"):
        return run_dir, None, step == "best"
    if not str(step).isdecimal():
        raise ArgumentError("step", step, " is not valid: give latest, best or a number")
    if int(step) not in steps:
        raise InputError(f"{folder} has no step {step}: it has {', '.join(map(str, steps))}")
    return run_dir, int(step), False
