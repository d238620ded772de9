"""One trainer at a cloud address: a small object there says who it is, and is renewed for as long as that one lives.

Its age is told by the store's own clock alone, because the clocks of machines differ.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from jaxgan.clouds import PRIVATE, Store
from jaxgan.errors import InputError, Stopped

NAME = f"{PRIVATE}lease.json"
_PROBE = f"{PRIVATE}probe"
_SECONDS_BETWEEN = 60.0
# Four renewals in a row may fail before others take the holder for dead: few networks are away for longer, and nobody
# wants to wait longer for a run whose machine was lost.
_STALE_SECONDS = 300.0


@contextlib.contextmanager
def hold(store: Store, copy: str) -> Iterator[Lease]:
    """Keeps trainers of other machines away from an address; what cannot be written there is said at once.

    Args:
      store: the address.
      copy: a mark of the local copy, which this process alone has: a lease of the same copy on the same machine is
        that of a dead process.

    Raises:
      InputError: another trainer has the address, or nothing can be written or deleted there.
    """
    lease = Lease(store, copy)
    lease.take()
    done = threading.Event()

    def renew() -> None:
        while not done.wait(_SECONDS_BETWEEN):
            # The network comes back, or others take the lease, which whoever sends hears.
            with contextlib.suppress(InputError, Stopped):
                lease.renew()

    # In its own time: one large file may take longer to send than a lease lasts.
    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        done.set()
        thread.join()
        lease.release()


class Lease:
    """The lease of this start; see `hold`.

    Attributes:
      continued: whether the one before was of the same copy, so that no other machine has written since.
    """

    def __init__(self, store: Store, copy: str):
        self._store = store
        start = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        who = {"host": socket.gethostname(), "pid": os.getpid(), "start": start}
        self._record = {**who, "copy": copy, "id": secrets.token_hex(8)}
        self._renewed = 0.0
        self._lost = ""
        self.continued = False

    def take(self) -> None:
        """Raises `InputError` where another trainer has it, or nothing can be written or deleted there."""
        now = self._probe()
        found = self._read()
        self.continued = found.get("copy") == self._record["copy"]
        if found and not (self.continued and found.get("host") == self._record["host"]):
            renewed = self._store.modified(NAME)
            left = 0.0 if now is None or renewed is None else _STALE_SECONDS - (now - renewed).total_seconds()
            if left > 0:
                minutes = math.ceil(left / 60)
                raise InputError(
                    f"{self._store.address}: {_who(found)} trains there: wait until that has ended, or choose another"
                    f" address; if it was killed, wait {minutes} minute{'s' if minutes > 1 else ''}, or remove"
                    f" {self._store.address}/{NAME}"
                )
        self._write()

    def renew(self) -> None:
        """Raises as `confirm` does."""
        self.confirm()
        self._write()

    def confirm(self) -> None:
        """Looks whether it is still held; raises `Stopped` once it is not, `InputError` where that cannot be seen."""
        found = self._read()
        # Where none is there, others may have had it and ended while this machine slept; in a shorter time they could
        # not: somebody removed it.
        asleep = time.time() - self._renewed > _STALE_SECONDS
        if found.get("id") != self._record["id"] and (found or asleep):
            self._lost = (
                f"{self._store.address}: {_who(found) if found else 'another process'} has taken it over, as nothing"
                f" was heard from this one for {_STALE_SECONDS / 60:g} minutes or its lease was removed: nothing more"
                " is sent from here, and what was not sent is in the cache of this machine alone"
            )
        self.check()

    def check(self) -> None:
        """Raises `Stopped` once it is known to be somebody else's."""
        if self._lost:
            raise Stopped(self._lost)

    def release(self) -> None:
        """Removes it, if it is still this one's."""
        with contextlib.suppress(InputError):  # It becomes stale.
            if self._read().get("id") == self._record["id"]:
                self._store.remove([NAME])

    def _probe(self) -> datetime.datetime | None:
        """The time by the store's clock; proves that files can be written and deleted there."""
        try:
            self._store.write(_PROBE, b"")
            now = self._store.modified(_PROBE)
            self._store.remove([_PROBE])
        except InputError as error:
            raise InputError(
                f"{error}: a run needs to read, write, list and delete there: allow that, or choose another address"
            ) from None
        return now

    def _read(self) -> dict[str, Any]:
        try:
            record = json.loads(self._store.read(NAME) or b"{}")
        except ValueError:
            return {}
        return record if isinstance(record, dict) else {}

    def _write(self) -> None:
        # The content differs each time, and so it is seen to be renewed also where a store keeps no times.
        time_now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        self._store.write(NAME, json.dumps({**self._record, "time": time_now}).encode() + b"\n")
        self._renewed = time.time()


def _who(record: dict[str, Any]) -> str:
    return f"process {record.get('pid')} on {record.get('host')}, since {record.get('start')},"
