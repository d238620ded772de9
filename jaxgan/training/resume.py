"""Where a run goes on from, as `--resume` says, and whether that is the same run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.errors import ArgumentError, InputError
from jaxgan.runs.checkpoint import FOLDER, Checkpoints, DamagedCheckpoint, find, set_aside
from jaxgan.runs.metrics_log import FILE_NAME
from jaxgan.training.best import BestTracker

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
    "train.on_nan",
    "train.max_rollbacks",
    "train.rollback_lr_factor",
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
        raise ArgumentError("workdir", run_dir, f" cannot be read: {error.strerror}") from None
    if resume == "never":
        if occupied:
            raise ArgumentError("workdir", run_dir, " holds a run: choose another, or go on with it by resume auto")
        return ResumePoint()
    if resume == "auto":
        return read_point(run_dir, None) if here else ResumePoint()
    origin, step, _ = find(resume)
    if origin.resolve() != run_dir.resolve():
        if occupied:
            raise ArgumentError("workdir", run_dir, f" holds a run: to start from {resume} choose an empty folder")
    elif step is not None and step != here[-1]:
        later = f": {run_dir} has later checkpoints (up to {here[-1]}), which would be lost: choose another workdir"
        raise ArgumentError("resume", resume, later)
    return read_point(origin, step)


def read_point(run_dir: Path, step: int | None) -> ResumePoint:
    """A checkpoint of a run, the newest sound one for None; raises `InputError` where there is none."""
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
    old, new = Config.from_record(start.record["config"]).fields(), config.fields()
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


def resume_tracker(start: ResumePoint, config: Config, run_dir: Path, total: int) -> BestTracker | None:
    """The best model so far, as far as it is still the best of what is asked for now.

    Args:
      start: where the run starts from.
      config: what to train now.
      run_dir: the run's folder.
      total: iterations that the run is to have.

    Returns:
      None when there is nothing left to do, which is said.
    """
    settings = config.train
    best = BestTracker(**start.record["progress"]) if start.record else BestTracker()
    before = Config.from_record(start.record["config"]).train if start.record else settings
    patience_changed = before.early_stopping_patience != settings.early_stopping_patience
    done = best.complete and total <= start.record["total_iterations"]
    if start.step >= total or (done and not (best.stopped_early and patience_changed)):
        way_out = "raise config.train.iterations or config.train.epochs to go on"
        if best.stopped_early:
            way_out += ", or change config.train.early_stopping_patience"
        parallel.say(f"{run_dir} is complete at step {start.step}: nothing to do; {way_out}")
        return None
    return tracker_at(start, config, run_dir)


def tracker_at(point: ResumePoint, config: Config, run_dir: Path) -> BestTracker:
    """The best model that a checkpoint knows of, as far as it still is that by what is asked for now, for a run that
    goes on from there.

    Args:
      point: where.
      config: what to train now.
      run_dir: the run's folder.
    """
    if not point.record:
        return BestTracker()
    best, settings = BestTracker(**point.record["progress"]), config.train
    before = Config.from_record(point.record["config"]).train
    same_metric = (settings.best_metric, settings.best_direction) == (before.best_metric, before.best_direction)
    if not (same_metric and point.origin is not None and point.origin.resolve() == run_dir.resolve()):
        # The best so far was judged by something else, or lies in another folder.
        return BestTracker(patience_from=point.step)
    if best.stopped_early:
        best.patience_from = point.step
    best.complete = best.stopped_early = False
    return best


def first_origin(start: ResumePoint, run_dir: Path) -> dict[str, Any] | None:
    """The checkpoint of another run that this run began with, for JSON; None where it began by itself."""
    if start.origin is not None and start.origin.resolve() != run_dir.resolve():
        return {"run": str(start.origin.resolve()), "step": start.step}
    return start.record.get("origin")


def clear_later(run_dir: Path, step: int) -> None:
    """Moves checkpoints of later steps out of the way; all processes of a job must call it."""

    def move() -> None:
        for place in set_aside(run_dir, step) if parallel.is_main_process() else ():
            warnings.warn(f"moved a later checkpoint out of the way, to {place}", stacklevel=4)

    parallel.main_process_first(move)
