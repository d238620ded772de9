"""What lies in a run's folder, read once for its report; what is missing is empty."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.config.legacy import present_fields
from jaxgan.config.schema import Config
from jaxgan.config.timetable import Timetable
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.pictures import grid, window_of
from jaxgan.reporting.metric_curves import series
from jaxgan.reporting.sample_figures import Snapshot, load_samples
from jaxgan.runs.evaluations import read_evaluations
from jaxgan.runs.folder import CARD, ENVIRONMENT
from jaxgan.runs.metrics_log import read_metrics

_COUNTED = ("step", "images", "epoch")


@dataclasses.dataclass(frozen=True)
class RunContents:
    """A run as its folder has it.

    Attributes:
      folder: the run's folder.
      records: the lines of its log.
      config: its configuration, nested by section.
      environment: versions, devices and preset.
      about: classes, labels, affine and spacing of the samples.
      scaling: the data's record, or None.
      snapshots: the samples it has saved, oldest first.
      reals: training samples, float32 in [-1, 1], or None.
      evaluation: the newest evaluation with its file under "file"; empty where there is none.
      card: the card of the model in Markdown, "" where there is none.
    """

    folder: Path
    records: list[dict[str, Any]]
    config: dict[str, Any]
    environment: dict[str, Any]
    about: dict[str, Any]
    scaling: Scaling | None
    snapshots: list[Snapshot]
    reals: np.ndarray | None
    evaluation: dict[str, Any]
    card: str

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @cached_property
    def window(self) -> tuple[float, float]:
        """The range of values that pictures show: that of the reals."""
        if self.reals is not None:
            return window_of(self.reals)
        return window_of(self.snapshots[-1].load(16)) if self.snapshots else (-1.0, 1.0)

    @property
    def affine(self) -> np.ndarray | None:
        """4x4, from indices of volumes to RAS+ world coordinates, or None."""
        affine = self.about.get("affine")
        return None if affine is None else np.asarray(affine, np.float64)

    @property
    def class_names(self) -> list[str]:
        """Names of the classes; empty where the data have none."""
        return [str(name) for name in self.about.get("class_names") or []]

    def labels(self, count: int, of: str = "labels") -> np.ndarray | None:
        """Classes of the first samples (`of` "labels") or reals ("real_labels"), `[count]`, or None."""
        labels = self.about.get(of)
        return None if not labels or len(labels) < count else np.asarray(labels[:count])

    @property
    def shown(self) -> int:
        """How many samples the figures have: as many of each class, where there are classes."""
        labels = self.about.get("labels")
        return len(labels) if labels else 16

    def picture(self, samples: np.ndarray, of: str = "labels", side: int = 640, labelled: bool = True) -> np.ndarray:
        """A grid of the first samples (`of` "labels") or reals ("real_labels"), all drawn in one window of values.

        Args:
          samples: `[N, H, W, C]` or `[N, D, H, W, C]`.
          of: where their classes stand.
          side: see `pictures.grid`.
          labelled: with a block of rows for each class, where there are classes.

        Returns:
          uint8 `[H', W', 1|3]`.
        """
        labels = self.labels(len(samples), of) if labelled else None
        return grid(samples, labels=labels, names=self.class_names, affine=self.affine, window=self.window, side=side)

    @cached_property
    def timetable(self) -> Timetable | None:
        """How many images each iteration shows; None where the configuration is not there, or not known here."""
        try:
            return Timetable.of(Config.from_record(self.config)) if self.config else None
        except InputError:  # A network of a preset file, or a field of another version.
            return None

    @cached_property
    def position(self) -> dict[str, float]:
        """Step, images and epoch where the run stands: of its newest checkpoint, samples or line, whichever is last."""
        last = {name: self.records[-1][name] for name in _COUNTED if name in self.records[-1]} if self.records else {}
        saved = [int(path.name) for path in (self.folder / "checkpoints").glob("*") if path.name.isdecimal()]
        step = max([int(last.get("step", 0)), *saved, *(snapshot.step for snapshot in self.snapshots)])
        if last.get("step") and step != last["step"]:
            images = self.timetable.images if self.timetable else float
            share = images(step) / images(last["step"])
            last |= {name: last[name] * share for name in ("images", "epoch") if name in last}
        return last | {"step": step} if last or step else {}

    @property
    def walks(self) -> list[tuple[Path, str]]:
        """The walks between two latents, `samples/interpolation*.npy`, and in words what they are and of which step.

        One of a later step than the run's is of an attempt that was given up.
        """
        found = []
        for path in sorted((self.folder / "samples").glob("interpolation*.npy")):
            step = read_json(path.with_suffix(".json")).get("step")
            if step is None or step <= self.position.get("step", 0):
                title = path.stem.replace("_", " ")
                found.append((path, title if step is None else f"{title}, iteration {step:,}"))
        return found

    @property
    def throughput(self) -> float:
        """Median images a second; NaN where it was not measured."""
        speeds = [record.get("images_per_second") for record in self.records]
        finite = [speed for speed in speeds if isinstance(speed, int | float) and math.isfinite(speed)]
        return float(np.median(finite)) if finite else math.nan


def read_contents(run_dir: str | os.PathLike) -> RunContents:
    """Reads a run's folder; raises `InputError` where one of its files is damaged."""
    folder = Path(run_dir)
    records = read_metrics(folder)
    scaling = read_json(folder / "samples" / "scaling.json")
    reals = folder / "samples" / "real.npy"
    card = folder / CARD
    return RunContents(
        folder=folder,
        records=records,
        config=present_fields(read_json(folder / "config.json")),
        environment=read_json(folder / ENVIRONMENT),
        about=read_json(folder / "samples" / "about.json"),
        scaling=Scaling.from_dict(scaling) if scaling else None,
        snapshots=find_snapshots(folder / "samples", records),
        reals=load_samples(reals) if reals.exists() else None,
        evaluation=next(iter(read_evaluations(folder)), {}),
        card=card.read_text(encoding="utf-8", errors="replace") if card.exists() else "",
    )


def find_snapshots(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[Snapshot]:
    """Samples saved as `step_XXXXXXXX.npy`, oldest first, with the epochs that the metrics tell."""
    steps, epochs = series(records, "epoch", "step")
    if len(steps):
        # Samples may be newer than the last log line: epochs go on as they went.
        steps, epochs = np.append(steps, 2 * steps[-1]), np.append(epochs, 2 * epochs[-1])
    snapshots = []
    for path in sorted(folder.glob("step_*.npy")):
        if match := re.fullmatch(r"step_(\d+)", path.stem):
            step = int(match[1])
            known = len(steps) or not step
            epoch = float(np.interp(step, [0.0, *steps], [0.0, *epochs])) if known else math.nan
            snapshots.append(Snapshot(step, epoch, path))
    return snapshots


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the run; empty when there is no such file, `InputError` when it is damaged."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it or delete it") from None


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration by dotted names."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        values |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return values


def origin(contents: RunContents) -> tuple[str, dict[str, Any]]:
    """What the configuration is compared with: the preset and its values, else the defaults of all fields."""
    preset = contents.environment.get("preset_config")
    if isinstance(preset, Mapping):
        return f"preset {contents.environment.get('preset', '')}", flat(preset)
    try:
        return "defaults", flat(Config().to_dict())
    except InputError:  # A registry without its module: the page is made without.
        return "defaults", {}
