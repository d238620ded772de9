"""The files of a run's samples, whose names say the step: of which there are some, and which are of another attempt."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = "samples"


def picture_of(run_dir: Path, step: int) -> Path:
    """The picture of the samples of a step. It is written last: where it is, all that was due with it was drawn."""
    return run_dir / FOLDER / f"step_{step:08d}.png"


def numbers_of(run_dir: Path, step: int) -> Path:
    """The samples of a step as numbers."""
    return picture_of(run_dir, step).with_suffix(".npy")


def set_samples_aside(run_dir: Path, after: int) -> None:
    """Moves samples of later steps to `samples_set_aside/`, in place of those of the same step that lie there.

    A run that goes on from an earlier step draws them again, and its report and film would show both attempts as one.
    """
    for path in sorted((run_dir / FOLDER).glob("step_*")):
        found = re.fullmatch(r"step_(\d+)\.(png|npy)", path.name)
        if found and int(found[1]) > after:
            target = run_dir / f"{FOLDER}_set_aside" / path.name
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
