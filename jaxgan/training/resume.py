"""Where a run goes on from, as `--resume` says, and whether that is the same run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.config.timetable import Timetable
from jaxgan.errors import ArgumentError, InputError
from jaxgan.runs.checkpoint_folder import find, saved_steps, set_aside, split_path
from jaxgan.runs.metrics_log import FILE_NAME
from jaxgan.training.best import BestTracker
from jaxgan.training.origin import is_origin, read_origin
from jaxgan.training.resume_point import ResumePoint, read_newest, read_step
from jaxgan.training.sample_files import set_samples_aside
from jaxgan.training.schedule import length_of

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
# Fields that say how many reals every iteration shows.
_COUNTING = ("train.batch_size", "objective.n_critic", "objective.loss", "growing.")


def find_resume_point(run_dir: Path, resume: str) -> ResumePoint:
    """Reads the checkpoint to go on from, as `--resume` says; writes nothing. All processes of a job must call it.

    Args:
      run_dir: the run's folder; need not exist.
      resume: "auto" (the newest sound checkpoint here, or a fresh start), "never" (the folder must hold no run), or the
        path of a run or of one of its checkpoints. A run that began with this checkpoint goes on as with "auto", so
        that a scheduler may give the same command again.

    Raises:
      InputError: a run that must not be there, no such checkpoint, or only damaged ones.
    """
    here, occupied, began_with = parallel.decided_by_main_process("looking for a run", partial(_look, run_dir))
    if resume == "never":
        if occupied:
            raise ArgumentError("workdir", run_dir, " holds a run: choose another, or go on with it by resume auto")
        return ResumePoint()
    if resume == "auto":
        return read_newest(run_dir, here) if here else ResumePoint()
    origin, step = split_path(resume)
    own = origin.resolve() == run_dir.resolve()
    if occupied and not own:
        point = read_newest(run_dir, here) if here else None
        if not is_origin(point.record.get("origin") if point else began_with, origin, step):
            find(resume)  # What is wrong with the path itself comes first.
            raise ArgumentError("workdir", run_dir, f" holds a run: to start from {resume} choose an empty folder")
        if point:
            return point
    there = parallel.decided_by_main_process("looking for the checkpoint", lambda: saved_steps(find(resume)[0]))
    if step is None:
        return read_newest(origin, there)
    if own and step != there[-1]:
        later = f": {run_dir} has later checkpoints (up to {there[-1]}), which would be lost: choose another workdir"
        raise ArgumentError("resume", resume, later)
    return read_step(origin, step)


def _look(run_dir: Path) -> tuple[list[int], bool, dict[str, Any] | None]:
    """The checkpoints in a run's folder, whether there is a run, and what that began with, as a file says."""
    try:
        here = saved_steps(run_dir)
        return here, bool(here) or (run_dir / FILE_NAME).exists(), read_origin(run_dir)
    except OSError as error:
        raise ArgumentError("workdir", run_dir, f" cannot be read: {error.strerror}") from None


def check_same(start: ResumePoint, config: Config, data: Mapping[str, Any], run_dir: Path) -> None:
    """Compares a run to go on with what it is asked to be now.

    Warns of changed settings that change what is computed.

    Args:
      start: where the run starts from.
      config: what to train now.
      data: as `describe_data` gives them.
      run_dir: the run's folder.

    Raises:
      InputError: the data are others than those it was trained on, or the iterations that were done in this folder
        would count otherwise.
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
    earlier = Config.from_record(start.record["config"])
    old, new = earlier.fields(), config.fields()
    changed = {
        name: f"config.{name} {old.get(name)} -> {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }
    if start.is_of(run_dir) and not _count_alike(earlier, config, start.step):
        counting = "; ".join(text for name, text in changed.items() if name.startswith(_COUNTING))
        raise InputError(
            f"{counting}: by the earlier value the images and epochs of the first {start.step} iterations are counted;"
            f" set it back, or go on in an empty --workdir with --resume {run_dir}"
        )
    told = [text for name, text in changed.items() if not name.startswith(_FREE) or _sets_the_rates(name, config)]
    if told:
        warnings.warn(f"resuming with changed settings: {'; '.join(told)}", stacklevel=2)


def _count_alike(old: Config, new: Config, step: int) -> bool:
    """Whether each of the first iterations shows as many reals by one config as by the other."""
    timetables = Timetable.of(old), Timetable.of(new)
    begins = {begin for timetable in timetables for begin in timetable.begins if begin < step}
    return all(timetables[0].layout(begin) == timetables[1].layout(begin) for begin in begins)


def _sets_the_rates(name: str, config: Config) -> bool:
    """Whether the length of the run decides what is computed: with a falling learning rate it does."""
    return name in ("train.iterations", "train.epochs") and config.optimizer.schedule != "constant"


def is_complete(start: ResumePoint, config: Config, total: int) -> bool:
    """Whether a run that would start from there has nothing left to train.

    Args:
      start: where the run starts from.
      config: what to train now.
      total: iterations that the run is to have.
    """
    if not start.record:
        return start.step >= total
    best, before = BestTracker(**start.record["progress"]), Config.from_record(start.record["config"]).train
    patience_changed = before.early_stopping_patience != config.train.early_stopping_patience
    done = best.complete and total <= start.record["total_iterations"]
    return start.step >= total or (done and not (best.stopped_early and patience_changed))


def say_complete(start: ResumePoint, run_dir: Path) -> None:
    """Says that nothing is left to do, and the way out."""
    way_out = "raise config.train.iterations or config.train.epochs to go on"
    if start.record["progress"]["stopped_early"]:
        way_out += ", or change config.train.early_stopping_patience"
    parallel.say(f"{run_dir} is complete at step {start.step}: nothing to do; {way_out}")


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
    if not (same_metric and point.is_of(run_dir)):
        # The best so far was judged by something else, or lies in another folder.
        return BestTracker(patience_from=point.step)
    if best.stopped_early:
        best.patience_from = point.step
    best.complete = best.stopped_early = False
    return best


def regular_checkpoints(start: ResumePoint) -> list[int]:
    """The checkpoints that were due when they were saved: whatever is due now, they are kept, and gone back to."""
    record = start.record
    if start.origin is None or "regular_checkpoints" in record:
        return list(record.get("regular_checkpoints", ()))
    # An earlier jaxgan noted those by the clock alone; those by an interval follow from its settings.
    config = Config.from_record(record["config"])
    schedule, every = length_of(config, record["data"]["size"])[0], config.train
    return [
        step
        for step in saved_steps(start.origin)
        if step in record.get("timed_checkpoints", ())
        or schedule.is_due(step, every.checkpoint_every_iterations, every.checkpoint_every_epochs)
    ]


def clear_later(run_dir: Path, step: int) -> None:
    """Moves checkpoints and samples of later steps out of the way; all processes of a job must call it."""

    def move() -> None:
        if parallel.is_main_process():
            for place in set_aside(run_dir, step):
                warnings.warn(f"moved a later checkpoint out of the way, to {place}", stacklevel=4)
            set_samples_aside(run_dir, step)

    parallel.main_process_first(move)
