"""A checkpoint to go on from, read alike by all processes of a job.

Hosts may see different things of one folder: a listing that is late, a file that one of them cannot read. So the main
process says which checkpoint is tried, and what became of it in each is told to all, before the next one is.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import parallel
from jaxgan.errors import InputError
from jaxgan.runs.checkpoint import Checkpoints, DamagedCheckpoint
from jaxgan.runs.checkpoint_folder import FOLDER

# How long to look for a checkpoint that the main process sees: network storage may show a new folder late.
_SECONDS_TO_SHOW = 30.0


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

    def is_of(self, run_dir: Path) -> bool:
        """Whether the checkpoint is of the run in this folder, not of another one."""
        return self.origin is not None and self.origin.resolve() == run_dir.resolve()

    def done_in(self, run_dir: Path) -> int:
        """Iterations that the run in this folder has done: what the folder holds of later ones is another attempt's."""
        return self.step if self.is_of(run_dir) else 0


def read_newest(run_dir: Path, steps: Sequence[int]) -> ResumePoint:
    """The newest of some checkpoints that every process of the job reads as it was saved; warns of those passed over.

    Args:
      run_dir: the run's folder.
      steps: to choose from, oldest first; the same in all processes, which all must call this.

    Raises:
      InputError: there is none.
    """
    for step in reversed(steps):
        try:
            return _read(run_dir, step)
        except DamagedCheckpoint as error:
            warnings.warn(f"checkpoint {run_dir / FOLDER / str(step)} is damaged: {error}", stacklevel=2)
    raise InputError(f"{run_dir / FOLDER} holds no readable checkpoint: all {len(steps)} are damaged")


def read_step(run_dir: Path, step: int) -> ResumePoint:
    """One checkpoint; all processes of the job must call it. Raises `InputError` where one of them cannot read it."""
    try:
        return _read(run_dir, step)
    except DamagedCheckpoint as error:
        raise InputError(f"{run_dir / FOLDER / str(step)} is damaged: {error}; choose another step") from None


def _read(run_dir: Path, step: int) -> ResumePoint:
    """Raises `DamagedCheckpoint` in all processes alike where one of them cannot read what was saved."""
    _await(run_dir / FOLDER / str(step))
    point, wrong = ResumePoint(), ""
    try:
        with Checkpoints(run_dir) as checkpoints:
            point = ResumePoint(step, *checkpoints.read(step), origin=run_dir)
    except (DamagedCheckpoint, OSError) as error:
        wrong = str(error)
    outcomes = parallel.gather(f"reading checkpoint {step}", wrong)
    for index, reason in enumerate(outcomes):
        if reason:
            raise DamagedCheckpoint(reason if len(outcomes) == 1 else f"{reason} (in process {index})")
    return point


def _await(folder: Path) -> None:
    end = time.monotonic() + _SECONDS_TO_SHOW
    while not folder.exists() and time.monotonic() < end:
        time.sleep(0.5)
