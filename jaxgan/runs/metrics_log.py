"""The metrics of a run: `metrics.jsonl` for programs, TensorBoard events for the browser."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import InputError
from jaxgan.files import atomic_files

FILE_NAME = "metrics.jsonl"


def read_metrics(run_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads the metrics of a run, oldest first.

    A last line that was cut short (the process was killed while writing) is left out. Values that were not
    finite are `null` in the file, since JSON has no NaN, and come back as NaN.

    Args:
      run_dir: the run's folder.

    Returns:
      one dict a record; empty when nothing was logged yet.

    Raises:
      InputError: a line other than the last is damaged.
    """
    path = Path(run_dir) / FILE_NAME
    if not path.exists():
        return []
    return [_nan_for_null(record) for record in _parse(path)]


def _parse(path: Path) -> list[dict[str, Any]]:
    lines = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        # Only a line that ends in a newline was written to its end.
        if number == len(lines) or not line.strip():
            continue
        try:
            record = json.loads(line)
            if not (isinstance(record, dict) and isinstance(record.get("step", 0), int)):
                raise ValueError("not an object with a step")
            if any(isinstance(value, dict | list) for value in record.values()):
                raise ValueError("not scalars")
        except ValueError:
            raise InputError(f"{path} line {number} is damaged: delete that line") from None
        records.append(record)
    return records


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
    never interrupted.

    Args:
      run_dir: the run's folder, made if needed.
      start_step: the step that the run starts from; 0 for a new run.
    """

    def __init__(self, run_dir: str | os.PathLike, start_step: int = 0):
        from tensorboardX import SummaryWriter

        self.path = Path(run_dir) / FILE_NAME
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            kept = [record for record in _parse(self.path) if record.get("step", 0) <= start_step]
            with atomic_files([self.path], overwrite=True) as (temporary,):
                temporary.write_text("".join(_line(record) for record in kept))
        # purge_step hides the dropped steps' events, which lie in the earlier process's file.
        self._events = SummaryWriter(str(run_dir), purge_step=start_step + 1)

    def write(self, record: Mapping[str, Any]) -> None:
        """Appends one record of scalars, `step` among them, and hands it to the system at once."""
        record = {name: _plain(value) for name, value in record.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_line(record))
        for name, value in record.items():
            if name != "step" and isinstance(value, int | float):
                self._events.add_scalar(name, value, record["step"])

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """Shows a uint8 image `[H, W, 1]` or `[H, W, 3]` in TensorBoard."""
        self._events.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Flushes and closes the TensorBoard events; the metrics file is always up to date."""
        self._events.close()

    def __enter__(self) -> MetricsLog:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
