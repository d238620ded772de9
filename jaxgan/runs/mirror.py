"""A run whose folder lies at a cloud address: it is trained in a local copy, and what is new there is sent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from jaxgan.clouds import MARKER, Store, is_whole, local_copy, read_note, step_of, take
from jaxgan.errors import InputError
from jaxgan.files import write_json
from jaxgan.processes import ending

_SECONDS_BETWEEN = 30.0
# Files of a moment: other processes' temporary ones, and the lock, which is of a local process.
_PASSING = re.compile(r"(^|/)(\.tmp-|\.incomplete-)|orbax-checkpoint-tmp|(^|/)lock\.json$")


@contextlib.contextmanager
def mirrored(address: str) -> Iterator[Path]:
    """A local folder for a run whose files go to a cloud address: every half minute, and at the end of the block, also
    when a signal ends it.

    What is at the address is there at the beginning, checkpoints without a marker excepted; but checkpoints of an
    earlier block that could not be sent are sent first.

    Raises:
      InputError: the client is not installed, the address cannot be read or written (also at the end), another process
        of this machine has the folder, or it holds checkpoints that were never sent while others wrote to the address.
    """
    store = Store(address)
    local = local_copy(store, "run")
    with _held(local, store.address):
        _send_left(store, local)
        take(store, store.listing(), local)
        local.mkdir(parents=True, exist_ok=True)
        mirror = _Mirror(store, local)
        mirror.send()  # Here, so that what cannot be written is said before the work.
        done = threading.Event()

        def repeat() -> None:
            while not done.wait(_SECONDS_BETWEEN):
                # The network comes back; if it does not, the last time says so.
                with contextlib.suppress(InputError, OSError):
                    mirror.send()

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        try:
            yield local
        finally:
            done.set()
            with ending.Hold() as hold:
                hold.activity = f"the upload to {store.address}"
                hold.begin()
                thread.join()
                mirror.send()


@contextlib.contextmanager
def _held(local: Path, address: str) -> Iterator[None]:
    """Keeps other processes of this machine out of the copy."""
    local.parent.mkdir(parents=True, exist_ok=True)
    with local.with_name(f"{local.name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{address}: another process of this machine trains there; wait for it, or choose another address"
            ) from None
        except OSError:  # A file system without locks: the run's own lock says what it can.
            pass
        yield


def _send_left(store: Store, local: Path) -> None:
    """Sends checkpoints that an earlier process saved and could not send.

    Raises:
      InputError: others wrote to the address since.
    """
    here = {step for step in map(step_of, _state(local)) if step}
    noted = set(read_note(_note(local)).get("marked", []))
    left = here - noted
    if not left:
        return
    listing = store.listing()
    there = {step for name in listing if (step := step_of(name)) and is_whole(name, listing)}
    if there - noted - here or (noted and _newest(noted) not in there):
        raise InputError(
            f"{store.address}: {local} holds {_newest(left)}, which was never sent, and the address was changed since:"
            " move that folder away, or choose another address"
        )
    _Mirror(store, local, noted & there).send()


def _note(local: Path) -> Path:
    """Says which checkpoints were sent whole."""
    return local.with_name(f"{local.name}.sent.json")


def _newest(steps: set[str]) -> str:
    return max(steps, key=_number)


def _number(step: str) -> int:
    return int(step.rpartition("/")[2])


def _state(local: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file that is to be sent."""
    found = {}
    for folder, _, names in os.walk(local):  # Folders that vanish meanwhile are passed over.
        for path in (Path(folder, name) for name in names):
            name = path.relative_to(local).as_posix()
            with contextlib.suppress(OSError):  # Gone meanwhile.
                if path.is_file() and not _PASSING.search(name):
                    status = path.stat()
                    found[name] = (status.st_size, status.st_mtime_ns)
    return found


class _Mirror:
    """Sends a local folder of a run to a store.

    Args:
      store: to send to.
      local: the folder.
      sent: the checkpoints that the store has; None: it has all that is in the folder.
    """

    def __init__(self, store: Store, local: Path, sent: set[str] | None = None):
        self._store, self._local = store, local
        self._lock = threading.Lock()
        state = _state(local)
        self._sent = state if sent is None else {name: state[name] for name in state if step_of(name) in sent}
        self._marked = {step for step in map(step_of, self._sent) if step}

    def send(self) -> None:
        """Uploads what is new, marks the checkpoints that are whole, and deletes what is gone.

        The log goes up after the checkpoints that count its lines and before their markers; checkpoints that others
        replace go last, those that a run went back behind first.
        """
        with self._lock:
            now = _state(self._local)
            steps = {step for step in map(step_of, now) if step}
            lost = self._marked - steps
            undone = {step for step in lost if _number(step) > max(map(_number, steps), default=-1)}
            self._forget(undone, now)
            new = [name for name in now if self._sent.get(name) != now[name]]
            changed = self._marked & {step for step in map(step_of, new) if step}
            self._store.remove(f"{step}/{MARKER}" for step in changed)
            self._marked -= changed
            incomplete = set()
            for name in sorted(new, key=lambda name: (step_of(name) is None, name)):
                try:
                    self._store.put(self._local / name, name)
                    self._sent[name] = now[name]
                except FileNotFoundError:  # Deleted meanwhile: a checkpoint that is no longer kept.
                    incomplete.add(step_of(name))
            for step in sorted(steps - self._marked - incomplete):
                self._store.mark(f"{step}/{MARKER}")
                self._marked.add(step)
            self._forget(lost - undone, now)
            gone = [name for name in self._sent if name not in now]
            self._store.remove(gone)
            for name in gone:
                del self._sent[name]
            write_json(_note(self._local), {"marked": sorted(self._marked)})

    def _forget(self, steps: set[str], now: dict[str, tuple[int, int]]) -> None:
        """Deletes checkpoints from the store, their markers first."""
        files = [name for name in self._sent if step_of(name) in steps and name not in now]
        self._store.remove(f"{step}/{MARKER}" for step in steps)
        self._marked -= steps
        self._store.remove(files)
        for name in files:
            del self._sent[name]
