"""A run whose folder lies at a cloud address: it is trained in a local copy, and what is new there is sent."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Iterable, Iterator
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
        # What is half taken, should this end here, is nothing that was left unsent.
        _note(local).unlink(missing_ok=True)
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
    """Sends checkpoints that an earlier process saved and could not send, and deletes what it could not delete.

    Raises:
      InputError: others wrote to the address since.
    """
    note = read_note(_note(local))
    if not note:
        return
    now, sent = _state(local), {name: tuple(state) for name, state in note["sent"].items()}
    here = {step for step in map(step_of, now) if step}
    left = {step for name in now if (step := step_of(name)) and sent.get(name) != now[name]}
    if not left and not note["dropping"]:
        return
    listing = store.listing()
    there = {step for name in listing if (step := step_of(name)) and is_whole(name, listing)}
    kept = set(note["marked"]) - set(note["dropping"])
    if there - here - set(note["marked"]) or (kept and _newest(kept) not in there):
        if not left:
            return
        raise InputError(
            f"{store.address}: {local} holds {_newest(left)}, which was never sent, and the address was changed since:"
            " move that folder away, or choose another address"
        )
    # Of checkpoints that are here no longer, what they consist of is known from there alone.
    gone = (there | set(note["dropping"])) - here
    known = {name: (-1, -1) for name in listing if step_of(name) in gone and not name.endswith(f"/{MARKER}")}
    _Mirror(store, local, known | {name: sent[name] for name in sent if name in listing}, there).send()


def _note(local: Path) -> Path:
    """Beside the copy: what was sent of it (`sent`: size and time by name), which checkpoints were marked, and which of
    these are being deleted (`dropping`)."""
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
      sent: what the store has, by name, as it was when it was sent; None: all that is in the folder now.
      marked: its whole checkpoints, with `sent`.
    """

    def __init__(
        self, store: Store, local: Path, sent: dict[str, tuple[int, int]] | None = None, marked: Iterable[str] = ()
    ):
        self._store, self._local = store, local
        self._lock = threading.Lock()
        self._sent = _state(local) if sent is None else sent
        self._marked = {step for step in map(step_of, self._sent) if step} if sent is None else set(marked)

    def send(self) -> None:
        """Uploads what is new, marks the checkpoints that are whole, and deletes what is gone.

        The log goes up after the checkpoints that count its lines and before their markers; checkpoints that a run went
        back behind are deleted first, others last, and only when a newer one is whole.
        """
        with self._lock:
            now = _state(self._local)
            steps = {step for step in map(step_of, now) if step}
            lost = self._marked - steps
            undone = {step for step in lost if _number(step) > max(map(_number, steps), default=-1)}
            self._delete(undone, [])
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
            self._write_note()
            waiting = set() if not steps or self._marked & steps else lost - undone
            gone = [name for name in self._sent if name not in now and step_of(name) not in waiting]
            self._delete(lost - undone - waiting, gone)

    def _delete(self, steps: set[str], files: list[str]) -> None:
        """Deletes checkpoints, their markers first, and files from the store."""
        files = list(dict.fromkeys([*(name for name in self._sent if step_of(name) in steps), *files]))
        if not files and not steps:
            return
        self._write_note(steps)
        self._store.remove(f"{step}/{MARKER}" for step in steps)
        self._store.remove(files)
        self._marked -= steps
        for name in files:
            self._sent.pop(name, None)
        self._write_note()

    def _write_note(self, dropping: Iterable[str] = ()) -> None:
        note = {"sent": self._sent, "marked": sorted(self._marked), "dropping": sorted(dropping)}
        write_json(_note(self._local), note)
