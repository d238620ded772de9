"""The metrics of a run: `metrics.jsonl` for programs, TensorBoard events for the browser."""

from __future__ import annotations

import contextlib
import json
import math
import os
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.runs.tensorboard import TensorBoard
from jaxgan.runs.trackers import Tracker

FILE_NAME = "metrics.jsonl"
# Of a line: the CRC-32 of what else it says, begun with that of the line before.
CHECKSUM = "crc32"


def read_metrics(run_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads the metrics of a run, oldest first.

    A last line that was cut short (the process was killed while writing) is left out. Values that were not
    finite are `null` in the file, since JSON has no NaN, and come back as NaN. Every line's checksum also covers the
    line before: that a line was changed, or that one is gone between two others, is warned of.

    Args:
      run_dir: the run's folder.

    Returns:
      one dict a record, without its checksum; empty when nothing was logged yet.

    Raises:
      InputError: a line other than the last is damaged.
    """
    path = Path(run_dir) / FILE_NAME
    if not path.exists():
        return []
    lines = _parse(path)
    if changed := _first_changed(lines):
        warnings.warn(
            f"{path} was changed: line {changed} is not what was logged there, or lines before it are gone; restore the"
            " file, or take curves and report for what they are",
            stacklevel=2,
        )
    return [_nan_for_null({k: v for k, v in line.record.items() if k != CHECKSUM}) for line in lines]


class _Line(NamedTuple):
    """Of the file: its number from 1, its text without the newline, and what that says."""

    number: int
    text: str
    record: dict[str, Any]


def _parse(path: Path) -> list[_Line]:
    lines = path.read_bytes().split(b"\n")
    found = []
    for number, line in enumerate(lines, start=1):
        # Only a line that ends in a newline was written to its end.
        if number == len(lines) or not line.strip():
            continue
        try:
            record = json.loads(line)
            if not (isinstance(record, dict) and all(isinstance(record.get(n, 0), int) for n in ("step", "rollbacks"))):
                raise ValueError("not an object with a step")
            if any(isinstance(value, dict | list) for value in record.values()):
                raise ValueError("not scalars")
        except ValueError:
            raise InputError(f"{path} line {number} is damaged: delete that line") from None
        found.append(_Line(number, line.decode(), record))
    return found


def _first_changed(lines: Sequence[_Line]) -> int | None:
    """The number of the first line whose checksum does not fit; lines from before there were any have none."""
    before = None
    for line in lines:
        record = {name: value for name, value in line.record.items() if name != CHECKSUM}
        stated = line.record.get(CHECKSUM)
        if stated is None and before is None:
            continue
        if stated != _checksum(json.dumps(record), before or 0):
            return line.number
        before = stated
    return None


def _checksum(text: str, before: int) -> int:
    return zlib.crc32(text.encode(), before)


def _nan_for_null(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in record.items()}


def _plain(value: Any) -> Any:
    """A NumPy or JAX scalar as a Python one; what is not finite as None."""
    if not isinstance(value, bool | int | float | str):
        value = np.asarray(value).item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


class MetricsLog:
    """Writes `metrics.jsonl` and TensorBoard events into a run's folder; use as a context manager.

    A resumed run gives the step of its checkpoint: what an earlier process logged after that step is dropped,
    because it is about to be computed again. So the file has no step twice, and equals that of a run that was
    never interrupted. What is missing of the lines that a checkpoint remembers is warned of.

    Args:
      run_dir: the run's folder, made if needed.
      start_step: the step that the run starts from; 0 for a new run.
      rollbacks: how often the run had gone back by then (see `rewind`).
      expected: `summary()` as the checkpoint remembers it, or None.
      trackers: where all goes besides the folder; they are closed with the log.
    """

    def __init__(
        self,
        run_dir: str | os.PathLike,
        start_step: int = 0,
        rollbacks: int = 0,
        expected: Mapping[str, int] | None = None,
        trackers: Sequence[Tracker] = (),
    ):
        self.path = Path(run_dir) / FILE_NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._trackers: list[Tracker] = []
        self.rewind(start_step, rollbacks)
        self._trackers = [TensorBoard(self.path.parent, start_step, rollbacks), *trackers]
        if expected is not None and expected != self.summary():
            warnings.warn(self._what_is_missing(expected, start_step), stacklevel=2)

    def rewind(self, step: int, rollbacks: int = 0) -> None:
        """Drops what was logged after a step, and the rollbacks to it beyond the first `rollbacks` of the run."""
        self._lines, self._crc_of_file, self._crc_of_line = 0, 0, 0
        if self.path.exists():
            kept = [
                line
                for line in _parse(self.path)
                if line.record.get("step", 0) <= step and (line.record.get("rollbacks") or 0) <= rollbacks
            ]
            # As they stand: checksums made anew would hide what was changed.
            text = "".join(f"{line.text}\n" for line in kept)
            with atomic_files([self.path], overwrite=True) as (temporary,):
                temporary.write_text(text, encoding="utf-8")
            self._lines, self._crc_of_file = len(kept), _checksum(text, 0)
            last = kept[-1].record.get(CHECKSUM) if kept else 0
            self._crc_of_line = last if isinstance(last, int) else 0
        for tracker in self._trackers:
            tracker.rewind(step, rollbacks)

    def summary(self) -> dict[str, int]:
        """Number and CRC-32 of the lines: what a checkpoint remembers, so that a resumed run notices what is gone."""
        return {"lines": self._lines, "crc32": self._crc_of_file}

    def _what_is_missing(self, expected: Mapping[str, int], step: int) -> str:
        lines = expected["lines"]
        if self._lines < lines:
            gone = f"{lines - self._lines} of the {lines} lines logged up to step {step} are gone"
        else:
            gone = f"its lines up to step {step} are not those that were logged"
        return f"{self.path} was changed: {gone}; restore the file, or take curves and report for what they are"

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record of scalars, `step` among them, and hands it to the system at once."""
        record = {name: _plain(value) for name, value in record.items()}
        text = json.dumps(record, allow_nan=False)
        self._crc_of_line = _checksum(text, self._crc_of_line)
        line = json.dumps({**record, CHECKSUM: self._crc_of_line}) + "\n"
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line)
        self._lines, self._crc_of_file = self._lines + 1, _checksum(line, self._crc_of_file)
        values = {name: value for name, value in record.items() if name != "step" and isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.scalars(values, record["step"])

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Shows a uint8 image `[H, W, 1]` or `[H, W, 3]` in TensorBoard and the trackers."""
        for tracker in self._trackers:
            tracker.image(name, image, step)

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """Shows there how values of any shape are distributed."""
        for tracker in self._trackers:
            tracker.histogram(name, values, step)

    def settings(self, fields: Mapping[str, Any]) -> None:
        """Shows there the configuration, by field."""
        for tracker in self._trackers:
            tracker.settings(fields)

    def close(self, failed: bool = False) -> None:
        """Flushes and closes the TensorBoard events and the trackers; the metrics file is always up to date.

        Args:
          failed: whether the run ended by an error.
        """
        for tracker in self._trackers:
            tracker.close(failed)

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(*(() if kind is None else (OSError,))):
            self.close(kind is not None)
