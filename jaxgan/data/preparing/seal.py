"""The record of a prepared dataset, `jaxgan.json`: sealed when it is written, verified when it is read."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from jaxgan.errors import InputError

RECORD_FILE = "jaxgan.json"


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Writes `jaxgan.json` with size and SHA-256 of every file beside it, and a seal over all of itself."""
    files = {path.name: [path.stat().st_size, _sha256(path)] for path in sorted(folder.iterdir())}
    record = {**record, "files": files}
    (folder / RECORD_FILE).write_text(json.dumps({**record, "seal": _seal(record)}, indent=1) + "\n")


def load_record(folder: Path) -> dict[str, Any]:
    """The record of a prepared dataset; its seal and the sizes of its files are checked.

    Data that were prepared before there were seals have sizes only.

    Raises:
      InputError: the record was changed, or a file is missing or of another size.
    """
    path = folder / RECORD_FILE
    try:
        record = json.loads(path.read_text())
        seal = record.pop("seal", None)
        files = {name: size if isinstance(size, int) else size[0] for name, size in record["files"].items()}
        if record["format"] != 1 and seal is None:
            raise ValueError("its seal is missing")
        if seal is not None and seal != _seal(record):
            raise ValueError("it is not what was written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: is damaged ({reason}); prepare the data again") from None
    for name, size in files.items():
        file = folder / name
        if Path(name).name != name or not file.is_file() or file.stat().st_size != size:
            state = "has another size than when it was written" if file.is_file() else "is missing"
            raise InputError(f"{file}: {state}; prepare the data again")
    return record


def verify_files(folder: Path, record: dict[str, Any]) -> None:
    """Compares every file with its SHA-256; a file that did not change since is read once a process.

    Raises:
      InputError: a file is not what was written.
    """
    for name, noted in record["files"].items():
        if isinstance(noted, list):
            path = folder / name
            status = path.stat()
            if _sha256_once(path, status.st_size, status.st_mtime_ns, status.st_ino) != noted[1]:
                raise InputError(f"{path}: is not what was written, some of its bytes changed; prepare the data again")


def is_sound(folder: Path) -> bool:
    """Whether a prepared dataset lies there whole and unchanged."""
    try:
        verify_files(folder, load_record(folder))
        return True
    except (InputError, OSError):
        return False


def _seal(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@functools.lru_cache(4096)
def _sha256_once(path: Path, size: int, modified: int, inode: int) -> str:
    return _sha256(path)
