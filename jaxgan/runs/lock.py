"""One trainer at a time in a run's folder."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from jaxgan.errors import ArgumentError, Stopped
from jaxgan.files import remove_left
from jaxgan.processes import ending

FILE_NAME = "lock.json"


@contextlib.contextmanager
def lock_run(run_dir: str | os.PathLike) -> Iterator[Callable[[], None]]:
    """Holds a run's folder for this process; makes the folder, and removes it again if nothing was written to it.

    Yields a function that raises `Stopped` once the folder is no longer the one that is held: whoever writes there
    would make it anew, and the run would go on in two halves.

    `lock.json` says who holds it: host, pid, start. On one host the system's own lock on that file, which ends with its
    process, tells a stale file from one in use; where the file system has no locks, the holder's process does. A file
    that another host left cannot be judged from here.

    Raises:
      InputError: somebody else holds it, or may hold it, or the folder cannot be written.
    """
    run_dir = Path(run_dir)
    made = [folder for folder in (run_dir, *run_dir.parents) if not folder.exists()]
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(run_dir / FILE_NAME)
    except OSError as error:
        raise ArgumentError("workdir", run_dir, f" cannot be written ({error.strerror}): choose another") from None
    for folder in (run_dir, run_dir / "samples", run_dir / "figures"):
        remove_left(folder)
    try:
        with ending.scratch(run_dir / FILE_NAME):
            yield partial(_check_held, run_dir / FILE_NAME, descriptor)
    finally:
        with contextlib.suppress(OSError):
            if _is_file(descriptor, run_dir / FILE_NAME):  # Somebody else's in a folder of the same name, where not.
                (run_dir / FILE_NAME).unlink()
        os.close(descriptor)
        with contextlib.suppress(OSError):
            for folder in made:
                folder.rmdir()  # Refused where there is anything in it.


def _check_held(path: Path, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        if _is_file(descriptor, path):
            return
    raise Stopped(
        f"--workdir {path.parent} was moved, removed or replaced, or its {FILE_NAME} was: what was saved before is good"
        " where it lies now; put it back, or name that folder, and the same command goes on"
    )


def _acquire(path: Path) -> int:
    """The open descriptor that holds the lock, once the file says so."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            locked = _try_lock(descriptor)
            if locked and not _is_file(descriptor, path):
                # Its holder has ended and removed it between our opening and our locking: try again.
                os.close(descriptor)
                continue
            _check_holder(path, _read(descriptor), locked)
            _write(descriptor)
            return descriptor
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise


def _try_lock(descriptor: int) -> bool | None:
    """Whether the system's lock was got; None where the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _check_holder(path: Path, holder: dict[str, Any], locked: bool | None) -> None:
    here = holder.get("host") in (None, socket.gethostname())
    who = f"process {holder.get('pid', '(unknown)')} on {holder.get('host', 'this host')}"
    since = f", since {holder['start']}" if "start" in holder else ""
    if locked is False or (locked is None and here and holder and _is_alive(holder)):
        used = f" is in use by {who}{since}: wait until it has ended, or choose another folder"
        raise ArgumentError("workdir", path.parent, used)
    if not here:
        raise ArgumentError(
            "workdir",
            path.parent,
            f" is in use by {who}{since}, or was when that was killed, which cannot be seen from this host"
            f" ({socket.gethostname()}): if it no longer runs, delete {path}",
        )


def _is_alive(holder: dict[str, Any]) -> bool:
    """Whether the process that wrote the record still runs on this host, as far as its number says.

    A container gives its processes the same numbers at every start, so the number alone does not name a process.
    """
    pid = holder.get("pid")
    began = _began(pid)
    if began and holder.get("began"):
        return began == holder["began"]
    try:
        os.kill(int(pid), 0)  # type: ignore[arg-type]
    except (ProcessLookupError, TypeError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()  # We do not hold it: an earlier process of our number did.


def _began(pid: Any) -> str:
    """When a process began: this start of the system, and ticks since; "" where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Behind its name, which may hold any sign, the 20th field.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, ValueError, IndexError):
        return ""
    return f"{boot}-{ticks}"


def _read(descriptor: int) -> dict[str, Any]:
    try:
        record = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}  # Killed while writing it.
    return record if isinstance(record, dict) else {}


def _write(descriptor: int) -> None:
    start = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
    record = {"host": socket.gethostname(), "pid": os.getpid(), "start": start, "began": _began(os.getpid())}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(record).encode() + b"\n", 0)
