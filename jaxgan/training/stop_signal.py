"""A scheduler's signal asks for a clean stop; every process of a job hears of it."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

from jaxgan import parallel


class Interrupted(Exception):
    """A stop signal ended training after a clean save; the run can be resumed."""


class StopSignal:
    """SIGTERM (a scheduler's preemption) and the first SIGINT ask for a clean stop instead of ending the process."""

    def __init__(self):
        self._seen = False

    def __enter__(self) -> StopSignal:
        self._previous = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError):  # Not in the main thread: the embedding program handles signals.
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self._seen and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._seen = True

    def requested(self) -> bool:
        """Whether any process of the job was asked to stop; all get the same answer."""
        return parallel.any_process(self._seen)
