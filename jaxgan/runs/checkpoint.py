"""Checkpoints: Orbax files, with our own record of what must be in them.

A checkpoint is one Orbax step with two items: `state`, the `GANState` as a tree of arrays, and `meta`, a JSON record
(config, scaling, progress). Orbax writes atomically but keeps no checksum of array payloads, so the record holds a
SHA-256 of every array: damage is noticed, and `restore` walks back to the newest sound checkpoint with a warning.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.errors import InputError, Stopped
from jaxgan.gan.state import GANState
from jaxgan.runs.checkpoint_folder import FOLDER

Tree = Any


class DamagedCheckpoint(Exception):
    """A checkpoint whose content is not what was saved."""


@dataclasses.dataclass
class _KeepLatestAndBest:
    """Orbax's preservation policy: the newest `keep` regular steps (0: all), the best one and the last."""

    keep: int
    is_regular: Callable[[int], bool]
    best_step: int | None = None

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> Sequence[bool]:
        steps = [info.step for info in checkpoints]
        # A best model that was superseded must not push a regular checkpoint out.
        kept = {self.best_step, steps[-1], *[step for step in steps if self.is_regular(step)][-self.keep :]}
        return [step in kept for step in steps]


@contextlib.contextmanager
def _no_warnings_of_orbax() -> Iterator[None]:
    """Orbax warns that what was opened to be read is read only, twice a call."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class Checkpoints:
    """The checkpoints of one run; use as a context manager, else a save under way is lost at exit.

    Of a job of several processes all write together, and each reads by itself.

    Args:
      run_dir: the run's folder; checkpoints lie in `checkpoints/` below it.
      keep: how many of the newest regular checkpoints to keep beside the best and the last; 0 keeps all of them.
      is_regular: which steps count towards `keep`; by default all.
      writable: whether the folder may be made and written to.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike,
        keep: int = 0,
        is_regular: Callable[[int], bool] = lambda step: True,
        writable: bool = False,
    ):
        self.directory = Path(run_dir).absolute() / FOLDER
        self._policy = _KeepLatestAndBest(keep, is_regular)
        all_processes, me = ocp.options.MultiprocessingOptions(), ocp.multihost.process_index()
        # Who reads waits for nobody: a host on which a file cannot be read would leave the others waiting for ever.
        this_process = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me})
        with _no_warnings_of_orbax():
            self._manager = ocp.CheckpointManager(
                self.directory,
                options=ocp.CheckpointManagerOptions(
                    create=writable,
                    read_only=not writable,
                    multiprocessing_options=all_processes if writable else this_process,
                    preservation_policy=self._policy,
                    # Else the threads that write wait five minutes, and Python at its end for them, for folders that a
                    # full or read-only disk has refused to the thread that was to make them.
                    async_options=ocp.AsyncOptions(create_directories_asynchronously=False),
                ),
                item_handlers={"state": ocp.StandardCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()},
            )

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What ends the run already says more than what closing meets on its way.
        with contextlib.suppress(*(() if kind is None else (Stopped,))):
            self.close()

    def close(self) -> None:
        """Waits for a save under way; raises `Stopped` where it failed."""
        with self._storing():
            self._manager.close()

    def wait(self) -> None:
        """Waits for a save under way; its files are complete then. Raises `Stopped` where it failed."""
        with self._storing():
            self._manager.wait_until_finished()

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        """What Orbax and TensorStore raise when a disk is full, gone or read-only, as one line."""
        try:
            yield
        except Exception as error:  # Many kinds, in their own words.
            raise Stopped(
                f"a checkpoint could not be written to {self.directory} ({_reason(error)}); those before it are good:"
                " make room there, and the same command goes on"
            ) from error

    def reload(self) -> None:
        """Looks at the folder again, after checkpoints were moved out of it."""
        self._manager.reload()

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: GANState, meta: Mapping[str, Any], best_step: int | None) -> None:
        """Begins to write a checkpoint; the files are complete after `close` or the next `save`.

        Args:
          step: iterations done.
          state: the state as NumPy arrays.
          meta: JSON-able record to keep beside it.
          best_step: the step to keep whatever its age.

        Raises:
          RuntimeError: there is a checkpoint of this or a later step already.
          Stopped: the disk is full, gone or read-only; this save's failure may be noticed at the next, or at `close`.
        """
        self._policy.best_step = best_step
        arrays = _named(state)
        record = {**meta, "arrays": {name: _describe(array) for name, array in arrays.items()}}
        record["seal"] = _seal(record)
        tree = unflatten_dict({name: np.asarray(array) for name, array in arrays.items()}, sep="/")
        items = ocp.args.Composite(state=ocp.args.StandardSave(tree), meta=ocp.args.JsonSave(record))
        with self._storing():
            saved = self._manager.save(step, args=items)
        if not saved:
            raise RuntimeError(f"checkpoint {step} was refused: {self.directory} holds steps {self.steps()}")

    def meta(self, step: int) -> dict[str, Any]:
        """The JSON record of a checkpoint.

        Raises:
          DamagedCheckpoint: it cannot be read, or is not what was saved.
        """
        try:
            record = self._manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
            sealed = record["seal"] == _seal({k: v for k, v in record.items() if k != "seal"})
        except Exception as error:  # Whatever the readers below raise on damaged files.
            raise DamagedCheckpoint(f"its record cannot be read ({_first_line(error)})") from error
        if not sealed:
            raise DamagedCheckpoint("its record does not match its seal")
        return record

    def read(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """All arrays of a checkpoint by name, verified, and its record.

        Raises:
          DamagedCheckpoint: it cannot be read, or is not what was saved.
        """
        record = self.meta(step)
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore()))
            arrays = {name: np.asarray(leaf) for name, leaf in flatten_dict(restored.state, sep="/").items()}
        except Exception as error:  # Orbax and TensorStore raise many kinds on damaged files.
            raise DamagedCheckpoint(f"its arrays cannot be read ({_first_line(error)})") from error
        for name, described in record["arrays"].items():
            if name not in arrays or _describe(arrays[name]) != described:
                raise DamagedCheckpoint(f"array {name} is not what was saved")
        return arrays, record

    def read_newest(self, at_most: int | None = None) -> tuple[int, dict[str, np.ndarray], dict[str, Any]]:
        """The newest sound checkpoint: (step, arrays, record); warns of each damaged one that it passes over.

        Args:
          at_most: the latest step to look at; None: all.

        Raises:
          InputError: there is none.
        """
        candidates = [step for step in self.steps() if at_most is None or step <= at_most]
        for step in reversed(candidates):
            try:
                return step, *self.read(step)
            except DamagedCheckpoint as error:
                warnings.warn(f"checkpoint {self.directory / str(step)} is damaged: {error}", stacklevel=2)
        where = f"{self.directory} holds no readable checkpoint"
        raise InputError(f"{where}: all {len(candidates)} are damaged" if candidates else f"{where}: train first")


def remove_unfinished(run_dir: str | os.PathLike) -> None:
    """Removes what processes that were killed while saving left; for who holds the run's lock."""
    for left in (Path(run_dir) / FOLDER).glob(f"*{ocp.utils.TMP_DIR_SUFFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def into_state(arrays: Mapping[str, np.ndarray], like: GANState) -> GANState:
    """Arrays by name as a state of the given structure.

    Args:
      arrays: as `Checkpoints.read` gives them.
      like: a state, or its `jax.eval_shape`, of the structure, shapes and dtypes to fill.

    Raises:
      InputError: a name, shape or dtype does not fit: the checkpoint is of another configuration.
    """
    wanted = _named(like)
    way_out = "the checkpoint is of another configuration: use the config it was saved with"
    for name in wanted.keys() | arrays.keys():
        if name not in arrays:
            raise InputError(f"the checkpoint has no array {name}: {way_out}")
        if name not in wanted:
            raise InputError(f"the checkpoint's array {name} is not in this model: {way_out}")
        have, want = arrays[name], wanted[name]
        if have.shape != want.shape or have.dtype != want.dtype:
            raise InputError(
                f"array {name} is {have.dtype}{list(have.shape)} in the checkpoint, but this model needs"
                f" {want.dtype}{list(want.shape)}: {way_out}"
            )
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])


def _named(state: GANState) -> dict[str, Any]:
    """Leaves by path, e.g. `generator/params/up1/kernel`: a format that no library's class is part of."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _describe(array: np.ndarray) -> dict[str, Any]:
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": digest}


def _seal(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _reason(error: BaseException) -> str:
    """The system's own word if there is one among the causes, else the first line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    found = re.search(r"No space left on device|Read-only file system|Disk quota exceeded|File too large", str(error))
    return found.group() if found else _first_line(error)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
