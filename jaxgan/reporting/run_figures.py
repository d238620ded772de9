"""All figures of a run, from what its folder holds; drawn again whenever asked for."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxgan.files import atomic_files
from jaxgan.pictures import window_of, windowed
from jaxgan.reporting import metric_curves, sample_figures
from jaxgan.reporting.contents import read_contents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Epochs whose samples get a figure of their own, when the run has saved some near them.
MILESTONES = (10, 30)
# What is drawn, and nothing else, is deleted where it cannot be drawn anew.
_NAMES = (
    *(f"{name}.png" for name in ("losses", "wasserstein", "metrics", "epoch_comparison", "training_samples")),
    *("samples_epoch_*.png", "samples_final.png", "real_and_generated.png", "interpolation*.png", "progress.gif"),
)


def make_figures(run_dir: str | os.PathLike) -> list[Path]:
    """Draws every figure that the run's folder has the data for, into its `figures/`; replaces older ones, and deletes
    those that it has the data for no more.

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
    run = read_contents(run_dir)
    objective = run.config.get("objective", {})
    updates = {count for count, _ in run.timetable.layouts} if run.timetable else {objective.get("n_critic")}
    figures: dict[str, Figure | None] = {
        "losses": metric_curves.losses(run.records, updates.pop() if len(updates) == 1 else None),
        "wasserstein": metric_curves.wasserstein(
            run.records, objective.get("weight_clip", 0.0), objective.get("loss", "wgan")
        ),
        "metrics": metric_curves.other_metrics(run.records),
    }
    if run.snapshots:
        figures["epoch_comparison"] = sample_figures.epoch_comparison(
            run.snapshots, partial(run.picture, labelled=False)
        )
        for milestone in MILESTONES:
            near = min(run.snapshots, key=lambda snapshot: abs(snapshot.epoch - milestone))
            if abs(near.epoch - milestone) < 0.5:
                picture = run.picture(near.load(run.shown))
                figures[f"samples_epoch_{milestone}"] = sample_figures.captioned(picture, near.title)
        last = run.snapshots[-1]
        newest = last.load(run.shown)
        figures["samples_final"] = sample_figures.captioned(run.picture(newest), last.moment)
    if run.reals is not None:
        reals = run.reals[: run.shown]
        of_reals = run.picture(reals, "real_labels")
        figures["training_samples"] = sample_figures.captioned(of_reals, "training samples")
        if run.snapshots:
            pictures = (of_reals, run.picture(newest))
            figures["real_and_generated"] = sample_figures.real_and_generated(
                reals, newest, run.scaling, pictures, run.window
            )
    for path, title in run.walks:
        walk = windowed(sample_figures.load_samples(path), run.window)
        figures[path.stem] = sample_figures.strip(walk, title, run.affine)
    folder = run.folder / "figures"
    written = [save(folder / f"{name}.png", figure) for name, figure in figures.items() if figure is not None]
    if len(run.snapshots) > 1:
        film = sample_figures.progress_gif(folder / "progress.gif", run.snapshots, run.picture, run.shown)
        written.append(film)
    # What was drawn before and is not now shows an attempt that was given up.
    for name in _NAMES:
        for path in set(folder.glob(name)).difference(written):
            path.unlink()
    return written


def interpolation_strip(
    path: str | os.PathLike, samples: np.ndarray, title: str = "interpolation", affine: np.ndarray | None = None
) -> Path:
    """Writes samples `[K, ..., C]` on a path between latents as one labelled strip, in a window of their values and
    volumes in anatomical orientation, as grids are; replaces the file."""
    samples = np.asarray(samples)
    return save(Path(path), sample_figures.strip(windowed(samples, window_of(samples)), title, affine))


def save(path: Path, figure: Figure) -> Path:
    """Writes a figure as PNG, replacing the file."""
    with atomic_files([path], overwrite=True) as (temporary,):
        figure.savefig(temporary, format="png")
    return path
