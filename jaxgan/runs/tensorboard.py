"""TensorBoard events in a run's folder: scalars, sample grids, histograms of values, the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import Stopped

# What the table of hyperparameters shows beside the settings.
_SHOWN = ("critic_loss", "generator_loss", "wasserstein")


class TensorBoard:
    """Writes events; a `Tracker` (see `trackers`) that is always there.

    Args:
      run_dir: the run's folder.
      step: see `rewind`.
      rollbacks: see `rewind`.
    """

    def __init__(self, run_dir: Path, step: int = 0, rollbacks: int = 0):
        self._folder = run_dir
        self._events: Any = None
        self._end: Any = None
        self.rewind(step, rollbacks)

    def rewind(self, step: int, rollbacks: int = 0) -> None:
        """Hides what was written of the iterations after `step`, which come once more."""
        from tensorboardX import SummaryWriter

        if self._events is not None:
            self._events.close()
        # purge_step hides the dropped steps' events, which lie in an earlier file. The names of files made within one
        # second would be the same but for the suffix.
        suffix = f".{rollbacks}" if rollbacks else ""
        self._events = SummaryWriter(str(self._folder), purge_step=step + 1, filename_suffix=suffix)

    def settings(self, fields: Mapping[str, Any]) -> None:
        """The configuration by field, as text and as hyperparameters to sort and filter runs by."""
        from tensorboardX.summary import hparams

        self._check()
        text = json.dumps(fields, indent=2).replace("\n", "\n    ")
        self._events.add_text("config", f"    {text}")  # An indented block is code in Markdown.
        plain = {name: value if isinstance(value, int | float | str) else str(value) for name, value in fields.items()}
        experiment, start, self._end = hparams(plain, dict.fromkeys(_SHOWN, 0.0))
        self._events.file_writer.add_summary(experiment)
        self._events.file_writer.add_summary(start)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """The values of one iteration, by name."""
        self._check()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """A uint8 image, `[H, W, 1]` or `[H, W, 3]`."""
        self._check()
        self._events.add_image(name, image, step, dataformats="HWC")

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """How often values of any shape occur, in 64 bins."""
        self._check()
        self._events.add_histogram(name, np.ravel(values), step, bins=64)

    def _check(self) -> None:
        """TensorBoard's thread ends when its file cannot be written, and whoever hands it more waits for ever."""
        writer = getattr(getattr(self._events, "file_writer", None), "event_writer", None)
        thread = getattr(writer, "_worker", None)
        if thread is not None and not thread.is_alive():
            raise Stopped(f"TensorBoard's events could not be written to {self._folder}: make room there")

    def close(self, failed: bool = False) -> None:
        """Writes out what is left."""
        if self._end is not None and not failed:
            self._events.file_writer.add_summary(self._end)
        self._events.close()
