"""Words while something takes long: a program of large networks compiles for a minute and more."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from jaxgan import parallel

# What is done sooner is not spoken of; what is not is spoken of again and again.
FIRST_SECONDS, EVERY_SECONDS = 5.0, 30.0


@contextlib.contextmanager
def told_when_long(what: str) -> Iterator[None]:
    """Says from time to time that `what` is still under way, and how long it has taken so far."""
    done, began = threading.Event(), time.monotonic()

    def tell() -> None:
        pause = FIRST_SECONDS
        while not done.wait(pause):
            parallel.say(f"{what}: {time.monotonic() - began:.0f} s so far", passing=True)
            pause = EVERY_SECONDS

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
