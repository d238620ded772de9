"""The per-user folder for what is costly to compute and safe to lose: converted weights, statistics of real sets."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


def default_folder() -> Path:
    """`$JAXGAN_CACHE`, else `jaxgan` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`)."""
    if folder := os.environ.get("JAXGAN_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgan"


def key_of(record: dict[str, Any]) -> str:
    """A hash of everything that a cached result depends on."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:32]


def write_atomically(path: Path, write: Callable[[Path], None]) -> bool:
    """Calls `write(temporary)` and moves the result to `path`; False when the folder cannot be written.

    A cache that cannot be kept costs time, not correctness, so it is no error.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
        os.close(handle)
    except OSError:
        return False
    try:
        write(Path(temporary))
        os.replace(temporary, path)
        return True
    except OSError:
        return False
    finally:
        Path(temporary).unlink(missing_ok=True)
