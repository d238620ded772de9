"""The checkpoint of another run that a run began with: its checkpoints say so, and until there is one a file does.

So the same command, given again by a scheduler, is known for the same, also when the first start was killed early.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jaxgan.files import write_json
from jaxgan.training.resume_point import ResumePoint

FILE_NAME = "origin.json"


def first_origin(start: ResumePoint, run_dir: Path) -> dict[str, Any] | None:
    """What a run that starts from there began with, for JSON; None where it began by itself."""
    if start.origin is not None and not start.is_of(run_dir):
        return {"run": str(start.origin.resolve()), "step": start.step}
    return start.record.get("origin")


def write_origin(run_dir: Path, origin: dict[str, Any] | None) -> None:
    """Writes the file; removes that of an earlier start where this one begins by itself."""
    if origin is None:
        (run_dir / FILE_NAME).unlink(missing_ok=True)
    else:
        write_json(run_dir / FILE_NAME, origin)


def read_origin(run_dir: Path) -> dict[str, Any] | None:
    """What the file says; None where there is none, or a damaged one."""
    try:
        origin = json.loads((run_dir / FILE_NAME).read_text())
    except (OSError, ValueError):
        return None
    return origin if isinstance(origin, dict) else None


def is_origin(origin: dict[str, Any] | None, run: Path, step: int | None) -> bool:
    """Whether that is a run's checkpoint of a step, or any of its checkpoints for None."""
    return origin is not None and origin.get("run") == str(run.resolve()) and step in (None, origin.get("step"))
