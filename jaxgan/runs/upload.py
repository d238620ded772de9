"""What is new in the local copy of a run, sent to its address; and what the run itself dropped, deleted there.

A local copy lies in a cache, which people and cleaners empty. So what is missing there was dropped only where that can
be seen: a checkpoint that was rotated out has a newer one after it, one that the run went back behind lies set aside,
and `config.json` is there, which a run never drops.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from jaxgan.clouds import MARKER, Store, step_of
from jaxgan.errors import Stopped
from jaxgan.files import write_json
from jaxgan.runs.lease import Lease

Files = dict[str, tuple[int, int]]

_SECONDS_TO_SETTLE = 2.0
# Files of a moment: other processes' temporary ones, and the lock, which is of a local process.
_PASSING = re.compile(r"(^|/)(\.tmp-|\.incomplete-)|orbax-checkpoint-tmp|(^|/)lock\.json$")
_ASIDE = re.compile(r"checkpoints_set_aside/(\d+)-")
_NEVER_DROPPED = "config.json"


def note_of(local: Path) -> Path:
    """Beside the copy: what was sent of it (`sent`: size and time by name), which checkpoints were marked, and which of
    these are being deleted (`dropping`)."""
    return local.with_name(f"{local.name}.sent.json")


def number_of(step: str) -> int:
    """`checkpoints/20` is 20."""
    return int(step.rpartition("/")[2])


def steps_of(names: Iterable[str]) -> set[str]:
    """The checkpoints that files are of."""
    return {step for step in map(step_of, names) if step}


def look(local: Path) -> tuple[Files, set[str]]:
    """Size and time of every file that is to be sent, and the checkpoints that have a folder, be it an empty one.

    Raises:
      OSError: something cannot be read; what vanishes meanwhile is only left out.
    """
    files, steps = {}, set()
    for folder, _, names in os.walk(local, onerror=_unless_gone):
        below = Path(folder).relative_to(local)
        steps |= steps_of([(below / "any").as_posix()])
        for name in names:
            path = (below / name).as_posix()
            try:
                status = (local / path).stat()
            except OSError as error:
                _unless_gone(error)
                continue
            if stat.S_ISREG(status.st_mode) and not _PASSING.search(path):
                files[path] = (status.st_size, status.st_mtime_ns)
    return files, steps


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


class Upload:
    """Sends a local folder of a run to a store; a context manager.

    Args:
      store: to send to.
      lease: on it.
      local: the folder, which is there.
      sent: what the store has, by name, as it was when it was sent.
      marked: its whole checkpoints, with `sent`.
    """

    def __init__(self, store: Store, lease: Lease, local: Path, sent: Files, marked: Iterable[str]):
        self._store, self._lease, self._local = store, lease, local
        self._sent, self._marked = sent, set(marked)
        self._cleaned = False

    def __enter__(self) -> Self:
        # Open, so that no folder made anew can have its number.
        self._folder = os.open(self._local, os.O_RDONLY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._folder)

    def send(self) -> None:
        """Uploads what is new, marks the checkpoints that are whole, and deletes what the run dropped.

        The log goes up after the checkpoints that count its lines and before their markers; checkpoints that a run went
        back behind are deleted first, others last, and only when a newer one is whole. One that lost files here, and is
        whole at the address, stays so there.

        Raises:
          InputError: the store cannot be read or written.
          Stopped: another machine has taken the address over, or the folder is gone.
          OSError: the folder cannot be read.
        """
        self._lease.confirm()
        now, steps = self._look()
        lost = [name for name in self._sent if name not in now]
        cleaned = _NEVER_DROPPED in lost
        dropped = (self._marked | steps_of(self._sent)) - steps
        last = max(map(number_of, steps), default=-1)
        aside = {f"checkpoints/{found[1]}" for found in map(_ASIDE.match, now) if found}
        undone = {step for step in dropped & aside if number_of(step) > last}
        self._delete(undone, [])
        if cleaned:
            self._say_cleaned()
            torn = steps_of(lost)
            self._send_new({name: now[name] for name in now if step_of(name) not in torn}, [])
            return
        self._send_new(now, [name for name in lost if step_of(name) in steps])
        newest = max(map(number_of, self._marked & steps), default=-1)
        # What has no marker is half of one, which nobody takes.
        followed = {step for step in dropped - undone if step not in self._marked or number_of(step) < newest}
        self._delete(followed, [name for name in lost if step_of(name) is None])

    def _look(self) -> tuple[Files, set[str]]:
        """What is in the folder; where something is missing, once nothing more vanishes: it may be being emptied."""
        now, steps = self._look_once()
        while any(name not in now for name in self._sent):
            time.sleep(_SECONDS_TO_SETTLE)
            before = now
            now, steps = self._look_once()
            if before.keys() <= now.keys():
                break
        return now, steps

    def _look_once(self) -> tuple[Files, set[str]]:
        found = look(self._local)
        try:
            held = os.path.samestat(os.fstat(self._folder), self._local.stat())
        except FileNotFoundError:
            held = False
        if not held:
            raise Stopped(
                f"{self._store.address}: the local copy, {self._local}, was removed or replaced: what was sent before"
                " is good, nothing is deleted there, and the same command goes on from it"
            )
        return found

    def _send_new(self, now: Files, lost: list[str]) -> None:
        """Uploads and marks.

        Args:
          now: what is in the folder.
          lost: what was sent of checkpoints that are there, and is missing in them.
        """
        new = [name for name in now if self._sent.get(name) != now[name]]
        made_anew = self._marked & steps_of(new)
        self._store.remove(f"{step}/{MARKER}" for step in made_anew)
        self._marked -= made_anew
        incomplete = set()
        try:
            for name in sorted(new, key=lambda name: (step_of(name) is None, name)):
                self._lease.check()
                try:
                    self._store.put(self._local / name, name)
                    self._sent[name] = now[name]
                except FileNotFoundError:  # Deleted meanwhile: a checkpoint that is no longer kept.
                    incomplete.add(step_of(name))
            self._remove(name for name in lost if step_of(name) not in self._marked)
            for step in sorted(steps_of(now) - self._marked - incomplete):
                # All of it is here still: else it is being deleted, and was from the first look on perhaps.
                if all((self._local / name).exists() for name in now if step_of(name) == step):
                    self._lease.check()
                    self._store.write(f"{step}/{MARKER}", b"whole\n")
                    self._marked.add(step)
        finally:
            self._write_note()

    def _delete(self, steps: set[str], files: list[str]) -> None:
        """Deletes checkpoints, their markers first, and files from the store."""
        files = list(dict.fromkeys([*(name for name in self._sent if step_of(name) in steps), *files]))
        if not files and not steps:
            return
        self._write_note(steps)
        self._lease.check()
        self._store.remove(f"{step}/{MARKER}" for step in steps)
        self._marked -= steps
        self._remove(files)
        self._write_note()

    def _remove(self, files: Iterable[str]) -> None:
        for name in list(files):
            self._store.remove([name])
            del self._sent[name]

    def _say_cleaned(self) -> None:
        if not self._cleaned:
            logging.getLogger("jaxgan").warning(
                "%s: something removes files from the local copy, %s: nothing more is deleted at the address; give"
                " $JAXGAN_CACHE a folder that nobody cleans",
                self._store.address,
                self._local,
            )
        self._cleaned = True

    def _write_note(self, dropping: Iterable[str] = ()) -> None:
        note = {"sent": self._sent, "marked": sorted(self._marked), "dropping": sorted(dropping)}
        write_json(note_of(self._local), note)
