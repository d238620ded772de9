"""A run whose folder lies at a cloud address: it is trained in a local copy, and what is new there is sent."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxgan.clouds import MARKER, Store, is_whole, local_copy, read_note, step_of, take
from jaxgan.errors import InputError, Stopped
from jaxgan.processes import ending
from jaxgan.runs import lease as leases
from jaxgan.runs.lease import Lease
from jaxgan.runs.upload import Files, Upload, look, note_of, number_of, steps_of

_SECONDS_BETWEEN = 30.0
_SECONDS_BETWEEN_WARNINGS = 600.0
_LOGGER = logging.getLogger("jaxgan")


@contextlib.contextmanager
def mirrored(address: str) -> Iterator[Path]:
    """A local folder for a run whose files go to a cloud address: every half minute, and at the end of the block, also
    when a signal ends it. Uploads that fail meanwhile are warned of.

    What is at the address is there at the beginning, checkpoints without a marker excepted; but what an earlier block
    could not send is sent first.

    Raises:
      InputError: the client is not installed, the address cannot be read or written (also at the end), another process
        trains there, or the folder holds checkpoints that were never sent while others wrote to the address.
      Stopped: another machine took the address over meanwhile, or the folder is gone (at the end).
    """
    store = Store(address)
    local = local_copy(store, "run")
    with _held(local, store.address) as copy, ending.Hold() as hold, leases.hold(store, copy) as lease:
        _send_left(store, lease, local)
        # What is half taken, should this end here, is nothing that was left unsent.
        note_of(local).unlink(missing_ok=True)
        take(store, store.listing(), local)
        local.mkdir(parents=True, exist_ok=True)
        files, _ = look(local)
        with Upload(store, lease, local, files, steps_of(files)) as upload:
            upload.send()  # From here on all that is new is known to be.
            done = threading.Event()
            thread = threading.Thread(target=_keep_sending, args=(upload, store.address, done), daemon=True)
            thread.start()
            try:
                yield local
            finally:
                done.set()
                hold.activity = f"the upload to {store.address}"
                hold.begin()
                thread.join()
                upload.send()


def _keep_sending(upload: Upload, address: str, done: threading.Event) -> None:
    """Sends now and then, and says when that fails, for how long it has, and when it works again."""
    good, warned = time.monotonic(), None
    while not done.wait(_SECONDS_BETWEEN):
        try:
            upload.send()
        except Stopped as error:
            _LOGGER.error("%s", error)
            return
        except (InputError, OSError) as error:
            now = time.monotonic()
            if warned is None or now - warned >= _SECONDS_BETWEEN_WARNINGS:
                ago = datetime.timedelta(seconds=round(now - good))
                _LOGGER.warning(
                    "%s; the last upload that worked was %s ago, and it is tried again every %g seconds: until then"
                    " what is new is on this machine alone",
                    error,
                    ago,
                    _SECONDS_BETWEEN,
                )
                warned = now
        else:
            if warned is not None:
                _LOGGER.warning("%s: the upload works again, and all is there", address)
            good, warned = time.monotonic(), None


@contextlib.contextmanager
def _held(local: Path, address: str) -> Iterator[str]:
    """Keeps other processes of this machine out of the copy.

    Yields a mark of this copy, which proves that whoever else has it is dead; a new one each time where a file system
    without locks proves nothing.
    """
    local.parent.mkdir(parents=True, exist_ok=True)
    with local.with_name(f"{local.name}.lock").open("a+") as file:
        mark = secrets.token_hex(8)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{address}: another process of this machine trains there; wait for it, or choose another address"
            ) from None
        except OSError:  # A file system without locks: the run's own lock says what it can.
            pass
        else:
            file.seek(0)
            mark = file.read() or mark
            file.truncate(0)
            file.write(mark)
            file.flush()
        yield mark


def _send_left(store: Store, lease: Lease, local: Path) -> None:
    """Sends what an earlier process wrote and could not send, and deletes what it could not delete.

    Where others wrote to the address since, theirs counts: files that a run makes again are put aside.

    Raises:
      InputError: others wrote to the address since, and there are checkpoints here that were never sent.
    """
    note = read_note(note_of(local))
    if not note or not local.is_dir():
        return
    (now, steps), sent = look(local), {name: tuple(state) for name, state in note["sent"].items()}
    left = [name for name in now if sent.get(name) != now[name]]
    if not left and not note["dropping"]:
        return
    listing = store.listing()
    there = {step for name in listing if (step := step_of(name)) and is_whole(name, listing)}
    # One that is made anew here has lost its marker there.
    kept = set(note["marked"]) - set(note["dropping"]) - steps_of(left)
    if (
        there - steps - set(note["marked"])
        or (kept and max(kept, key=number_of) not in there)
        or not (lease.continued or _is_as_sent(listing, sent, now))
    ):
        _yield_to_others(store, local, left)
        return
    # Of checkpoints that are here no longer, what they consist of is known from there alone.
    gone = (there | set(note["dropping"])) - steps
    known = {name: (-1, -1) for name in listing if step_of(name) in gone and not name.endswith(f"/{MARKER}")}
    known |= {name: sent[name] for name in sent if name in listing}
    with Upload(store, lease, local, known, there) as upload:
        upload.send()


def _is_as_sent(listing: dict[str, Any], sent: Files, now: Files) -> bool:
    """Whether the files of no checkpoint have the sizes there that they had when they were sent, or have here."""
    return all(
        listing[name][0] in {files[name][0] for files in (sent, now) if name in files}
        for name in listing
        if step_of(name) is None
    )


def _yield_to_others(store: Store, local: Path, left: list[str]) -> None:
    if not left:
        return
    if steps := steps_of(left):
        raise InputError(
            f"{store.address}: {local} holds {max(steps, key=number_of)}, which was never sent, and the address was"
            " changed since: move that folder away, or choose another address"
        )
    aside = local.with_name(f"{local.name}.unsent-{secrets.token_hex(4)}")
    for name in left:
        (aside / name).parent.mkdir(parents=True, exist_ok=True)
        (local / name).rename(aside / name)
    _LOGGER.warning(
        "%s: was changed since by others, from whose state the run goes on: files that were never sent (%d) lie in %s",
        store.address,
        len(left),
        aside,
    )
