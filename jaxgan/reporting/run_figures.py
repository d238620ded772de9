"""All figures of a run, from what its folder holds; drawn again whenever asked for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgan.config.legacy import present_fields
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.reporting import metric_curves, sample_figures
from jaxgan.runs.metrics_log import read_metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Epochs whose samples get a figure of their own, when the run has saved some near them.
MILESTONES = (10, 30)


def make_figures(run_dir: str | os.PathLike) -> list[Path]:
    """Draws every figure that the run's folder has the data for, into its `figures/`; replaces older ones.

    | reads | draws |
    |---|---|
    | `metrics.jsonl`, `config.json` | `losses.png`, `wasserstein.png`, `metrics.png` |
    | `samples/step_*.npy` | `epoch_comparison.png`, `progress.gif`, `samples_epoch_N`, `samples_final.png` |
    | `samples/real.npy`, `samples/scaling.json` | `training_samples.png`, `real_and_generated.png` |
    | `samples/interpolation*.npy` | `interpolation*.png` |

    Args:
      run_dir: the run's folder.

    Returns:
      the files written.

    Raises:
      InputError: a file of the run is damaged, or the figures cannot be written.
    """
    run_dir = Path(run_dir)
    records = read_metrics(run_dir)
    objective = present_fields(read_json(run_dir / "config.json")).get("objective", {})
    figures: dict[str, Figure | None] = {
        "losses": metric_curves.losses(records, objective.get("n_critic")),
        "wasserstein": metric_curves.wasserstein(
            records, objective.get("weight_clip", 0.0), objective.get("loss", "wgan")
        ),
        "metrics": metric_curves.other_metrics(records),
    }
    snapshots = find_snapshots(run_dir / "samples", records)
    if snapshots:
        figures["epoch_comparison"] = sample_figures.epoch_comparison(snapshots)
        for milestone in MILESTONES:
            near = min(snapshots, key=lambda snapshot: abs(snapshot.epoch - milestone))
            if abs(near.epoch - milestone) < 0.5:
                figures[f"samples_epoch_{milestone}"] = sample_figures.captioned_grid(near.load(16), near.title)
        last = snapshots[-1]
        figures["samples_final"] = sample_figures.captioned_grid(last.load(16), f"{last.title}, iteration {last.step}")
    real_path = run_dir / "samples" / "real.npy"
    if real_path.exists():
        real = sample_figures.load_samples(real_path)
        figures["training_samples"] = sample_figures.captioned_grid(real[:16], "training samples")
        if snapshots:
            record = read_json(run_dir / "samples" / "scaling.json")
            scaling = Scaling.from_dict(record) if record else None
            figures["real_and_generated"] = sample_figures.real_and_generated(real, snapshots[-1].load(16), scaling)
    for path in sorted((run_dir / "samples").glob("interpolation*.npy")):
        figures[path.stem] = sample_figures.strip(sample_figures.load_samples(path), path.stem.replace("_", " "))
    folder = run_dir / "figures"
    written = [save(folder / f"{name}.png", figure) for name, figure in figures.items() if figure is not None]
    if len(snapshots) > 1:
        written.append(sample_figures.progress_gif(folder / "progress.gif", snapshots))
    return written


def interpolation_strip(path: str | os.PathLike, samples: np.ndarray, title: str = "interpolation") -> Path:
    """Writes samples `[K, ..., C]` on a path between latents as one labelled strip, replacing the file."""
    return save(Path(path), sample_figures.strip(np.asarray(samples), title))


def find_snapshots(folder: Path, records: Sequence[Mapping[str, Any]]) -> list[sample_figures.Snapshot]:
    """Samples saved as `step_XXXXXXXX.npy`, oldest first, with the epochs that the metrics tell."""
    steps, epochs = metric_curves.series(records, "epoch", "step")
    if len(steps):
        # Samples may be newer than the last log line: epochs go on as they went.
        steps, epochs = np.append(steps, 2 * steps[-1]), np.append(epochs, 2 * epochs[-1])
    snapshots = []
    for path in sorted(folder.glob("step_*.npy")):
        if match := re.fullmatch(r"step_(\d+)", path.stem):
            step = int(match[1])
            epoch = float(np.interp(step, [0.0, *steps], [0.0, *epochs]))
            snapshots.append(sample_figures.Snapshot(step, epoch, path))
    return snapshots


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of the run; empty when there is no such file, `InputError` when it is damaged."""
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): restore it or delete it") from None


def save(path: Path, figure: Figure) -> Path:
    """Writes a figure as PNG, replacing the file."""
    with atomic_files([path], overwrite=True) as (temporary,):
        figure.savefig(temporary, format="png")
    return path
