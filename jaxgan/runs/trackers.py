"""Where a run's metrics go besides its folder: Weights & Biases or MLflow, each in an extra of its own name.

Both are configured as their own documentation says (WANDB_MODE, WANDB_PROJECT, MLFLOW_TRACKING_URI,
MLFLOW_EXPERIMENT_NAME, ...), and work without a network: `WANDB_MODE=offline`, and MLflow's store in a local database.
A tracker that fails is warned of and left out from there on: it ends no training.
"""

from __future__ import annotations

import importlib.util
import json
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxgan.errors import ArgumentError, one_line, way_out
from jaxgan.files import write_json

# The runs' names at the trackers, so that a resumed run goes on with them.
FILE_NAME = "tracking.json"
PROJECT = "jaxgan"


class Tracker(Protocol):
    """What metrics, pictures and settings are handed to."""

    def settings(self, fields: Mapping[str, Any]) -> None:
        """The configuration, by field."""

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """The values of one iteration, by name."""

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """A uint8 image, `[H, W, 1]` or `[H, W, 3]`."""

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """Values of any shape, of which the distribution is shown."""

    def rewind(self, step: int, rollbacks: int = 0) -> None:
        """The iterations after `step` come once more."""

    def close(self, failed: bool = False) -> None:
        """Hands over what is left."""


class WandB:
    """Weights & Biases. Repeated iterations of a run that was put back are there twice: it forgets nothing."""

    def __init__(self, run_dir: Path, known: str | None):
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), name=run_dir.name, dir=str(run_dir), id=known,
            resume="allow", settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip
        self.id = self._run.id
        # Its own count of steps may not go back, ours does when a run is resumed.
        self._run.define_metric("*", step_metric="iteration")

    def settings(self, fields: Mapping[str, Any]) -> None:
        """See `Tracker`."""
        self._run.config.update(dict(fields), allow_val_change=True)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        self._run.log({**values, "iteration": step})

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """See `Tracker`."""
        self._run.log({name: self._wandb.Image(_shown(image)), "iteration": step})

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """See `Tracker`."""
        self._run.log({name: self._wandb.Histogram(np.ravel(values)), "iteration": step})

    def rewind(self, step: int, rollbacks: int = 0) -> None:
        """See `Tracker`."""

    def close(self, failed: bool = False) -> None:
        """See `Tracker`."""
        self._run.finish(exit_code=int(failed))


class MLflow:
    """MLflow. Values of repeated iterations of a run that was put back are there twice; histograms it has none."""

    def __init__(self, run_dir: Path, known: str | None):
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        if known is not None:
            self.id = known
            self._client.update_run(known, "RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        experiment = self._client.create_experiment(name) if found is None else found.experiment_id
        self.id = self._client.create_run(experiment, run_name=run_dir.name).info.run_id

    def settings(self, fields: Mapping[str, Any]) -> None:
        """See `Tracker`. What a resumed run does differently stands in a file: parameters cannot be changed."""
        from mlflow.entities import Param

        there = self._client.get_run(self.id).data.params
        new = [Param(name, str(value)) for name, value in fields.items() if name not in there]
        for first in range(0, len(new), 100):  # As many as it takes at once.
            self._client.log_batch(self.id, params=new[first : first + 100])
        self._client.log_dict(self.id, dict(fields), "config.json")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """See `Tracker`."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self.id, [Metric(name, value, now, step) for name, value in values.items()])

    def image(self, name: str, image: np.ndarray, step: int) -> None:
        """See `Tracker`."""
        self._client.log_image(self.id, _shown(image), key=name, step=step)

    def histogram(self, name: str, values: np.ndarray, step: int) -> None:
        """See `Tracker`."""

    def rewind(self, step: int, rollbacks: int = 0) -> None:
        """See `Tracker`."""

    def close(self, failed: bool = False) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self.id, "FAILED" if failed else "FINISHED")


TRACKERS: dict[str, Any] = {"wandb": WandB, "mlflow": MLflow}


class _Lenient:
    """A tracker whose first failure is a warning, and that is told nothing more afterwards."""

    def __init__(self, name: str, tracker: Tracker):
        self._name, self._tracker = name, tracker

    def __getattr__(self, method: str) -> Any:
        def call(*arguments: Any, **named: Any) -> None:
            if self._tracker is not None:
                try:
                    getattr(self._tracker, method)(*arguments, **named)
                except Exception as error:  # Whatever a server or a client of another's making may raise.
                    self._tracker = None  # type: ignore[assignment]
                    warnings.warn(f"--track {self._name}: {one_line(error)}: it gets no more of this run", stacklevel=2)

        return call


def check_trackers(names: Sequence[str]) -> None:
    """Raises `InputError` where a tracker is not known or not installed."""
    for name in names:
        if name not in TRACKERS:
            raise ArgumentError("track", name, f" is not known: {way_out(name, TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            raise ArgumentError("track", name, f" is not installed: pip install 'jaxgan[{name}]', or leave it out")


def open_trackers(names: Sequence[str], run_dir: Path) -> list[Tracker]:
    """Those of that name, each with a run of its own, or the one that this folder's run has there already.

    Raises:
      InputError: a tracker cannot be reached, or refuses.
    """
    path = run_dir / FILE_NAME
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    opened: list[Tracker] = []
    for name in names:
        try:
            tracker = TRACKERS[name](run_dir, known.get(name))
        except Exception as error:  # Of another's making, as above.
            raise ArgumentError("track", name, f": {one_line(error)}: mend that, or leave it out") from error
        known[name] = tracker.id
        opened.append(_Lenient(name, tracker))
    if names:
        write_json(path, known)
    return opened


def _shown(image: np.ndarray) -> np.ndarray:
    return image[..., 0] if image.shape[-1] == 1 else image
