"""One way to write a file, for everybody: whole or not at all; and the folder for what is costly to compute again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import numbers
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxgan.errors import InputError
from jaxgan.processes import ending

# Formats of one image that are folders on the disk.
FOLDERS = (".zarr",)


@contextlib.contextmanager
def atomic_files(targets: Sequence[str | os.PathLike], overwrite: bool = False) -> Iterator[list[Path]]:
    """Yields one temporary path per target; moves all into place when the block succeeds, else removes them.

    Args:
      targets: the files to make; their folders are made too. One that ends with `.zarr` is a folder itself.
      overwrite: replace files that exist.

    Raises:
      InputError: a target exists and `overwrite` is False (checked before anything is written), or the
        system refuses to write (no permission, disk full, a folder of that name).
    """
    paths = [Path(target) for target in targets]
    check_targets(paths, overwrite)
    # The suffix stays last, because NumPy and nibabel choose the format by it.
    temporary = [target.with_name(f".tmp-{_mark()}-{target.name}") for target in paths]
    stack = contextlib.ExitStack()
    try:
        stack.enter_context(ending.scratch(*temporary))
        for target in paths:
            target.parent.mkdir(parents=True, exist_ok=True)
            _remove_left_once(target.parent)
        yield temporary
        for source, target in zip(temporary, paths, strict=True):
            if target.is_dir():
                old = target.with_name(f".tmp-{_mark()}-old")
                os.rename(target, old)
                os.rename(source, target)
                shutil.rmtree(old, ignore_errors=True)
            else:
                os.replace(source, target)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"cannot write to {paths[0].parent}: {reason}; give another folder") from error
    finally:
        for source in temporary:
            with contextlib.suppress(OSError):
                source.unlink()
            shutil.rmtree(source, ignore_errors=True)
        stack.close()


def check_targets(targets: Sequence[str | os.PathLike], overwrite: bool = False) -> None:
    """What `atomic_files` would refuse: for work that is long, before it. Raises `InputError`."""
    for target in map(Path, targets):
        if target.is_dir() and target.suffix not in FOLDERS:
            raise InputError(f"{target} is a folder: give a file name")
        if target.exists() and not overwrite:
            raise InputError(f"{target} exists: give another output folder, or --overwrite")


def temporary_folder(parent: Path) -> Path:
    """Makes a new folder below `parent`, to be renamed or removed; those that killed processes left there are removed.

    Raises:
      OSError: the system refuses.
    """
    remove_left(parent)
    folder = parent / f".incomplete-{_mark()}"
    folder.mkdir()
    return folder


def remove_left(folder: Path) -> None:
    """Removes the temporary files and folders that dead processes of this host left in a folder."""
    mine = _host()
    for left in [*folder.glob(f".tmp-{mine}-*"), *folder.glob(f".incomplete-{mine}-*")]:
        pid = left.name.split("-")[2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            with contextlib.suppress(OSError):
                left.unlink()
            shutil.rmtree(left, ignore_errors=True)


@functools.lru_cache(1024)
def _remove_left_once(folder: Path) -> None:
    remove_left(folder)


def _mark() -> str:
    """Of a temporary name: host and process, by which its end is seen, and what nobody can guess."""
    return f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"


def _host() -> str:
    """This host and, where there are containers, what its process numbers mean."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as indented JSON in place of what was there; raises as `atomic_files` does."""
    with atomic_files([path], overwrite=True) as (temporary,):
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def finite(value: Any) -> Any:
    """A value with None for every number in it that is not finite: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, numbers.Real) and not math.isfinite(value) else value


def cache_folder() -> Path:
    """`$JAXGAN_CACHE`, else `jaxgan` in the user's cache folder (`$XDG_CACHE_HOME` or `~/.cache`)."""
    if folder := os.environ.get("JAXGAN_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgan"


def cache_key(record: dict[str, Any]) -> str:
    """A hash of everything that a cached result depends on."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, default=str).encode()).hexdigest()[:32]


def write_cache(path: Path, write: Callable[[Path], object]) -> None:
    """Calls `write(temporary)` and moves the result to `path`.

    A cache that cannot be kept costs time, not correctness, so it is no error.
    """
    with contextlib.suppress(InputError), atomic_files([path], overwrite=True) as (temporary,):
        write(temporary)
