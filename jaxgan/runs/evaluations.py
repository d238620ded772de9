"""The evaluations that lie in a run's folder, as `jaxgan evaluate` wrote them."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_evaluations(run_dir: str | os.PathLike) -> list[dict[str, Any]]:
    """The records in a run's folder and in its `evaluation/`, the newest first, each with its path as `file`.

    Other JSON that lies there, and what is damaged, is passed over.
    """
    folder, found = Path(run_dir), []
    for path in [*folder.glob("*.json"), *(folder / "evaluation").glob("*.json")]:
        with contextlib.suppress(OSError, ValueError):
            record = json.loads(path.read_text(encoding="utf-8"))
            if _is_evaluation(record):
                found.append({**record, "file": path})
    return sorted(found, key=_made, reverse=True)


def _is_evaluation(record: Any) -> bool:
    metrics = record.get("metrics") if isinstance(record, Mapping) else None
    return isinstance(metrics, Mapping) and bool(metrics) and all(map(_is_measurement, metrics.values()))


def _is_measurement(found: Any) -> bool:
    return isinstance(found, Mapping) and "value" in found and isinstance(found.get("protocol"), Mapping)


def _made(record: Mapping[str, Any]) -> float:
    """When, in seconds: a stamp without an offset is in this machine's time, and a record without one is the oldest."""
    try:
        return datetime.datetime.fromisoformat(record["created"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return 0.0
