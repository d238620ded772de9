"""The processes of one job, once they have met (`roll_call`): what one has to say to all, and what became of each.

The connections of the roll call stay open: values go over them (`Job.exchange`), and when a process fails or dies the
others hear of it at once, wherever they are. Nothing here needs a device.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jaxgan.processes.line import Line

# A process that was not heard of for so long is given up; each says that it lives every few seconds.
SILENCE_SECONDS = 45.0
_BEAT_SECONDS = 5.0


# The job that this process has joined, if any.
current: Job | None = None


class JobFailed(Exception):
    """Another process of the job failed, or the processes do not fit together; the message is one line."""


class Job:
    """This process's place in its job, and its line to the others.

    Everything goes through process 0, which gathers and tells. All methods but `fail` and `leave` are for one thread.

    Args:
      index: of this process.
      members: how to name each process, e.g. "process 1 of 2 (host, pid 17)".
      lines: the connections by process: of process 0 to all others, of another one to process 0.
      on_failure: called once, in a thread of its own, with the line that says which process failed and why.

    Attributes:
      failure: that line, or None.
      failed_itself: whether it is this process's own.
    """

    def __init__(
        self,
        index: int,
        members: Sequence[str],
        lines: Mapping[int, Line],
        on_failure: Callable[[str], None] = lambda line: None,
    ):
        self.index, self.members = index, members
        self.failure: str | None = None
        self.failed_itself = False
        self._lines, self._on_failure = lines, on_failure
        self._changed = threading.Condition()
        self._number = 0
        self._given: dict[int, dict[int, Any]] = {}  # in process 0: by exchange and process
        self._results: dict[int, list[str]] = {}  # in the others: by exchange
        self._gone: set[int] = set()  # who has ended well
        self._left = False
        self._readers = [self._start(self._read, other, line) for other, line in lines.items()]
        self._start(self._beat)

    @property
    def count(self) -> int:
        """How many processes the job has."""
        return len(self.members)

    @property
    def name(self) -> str:
        """How this process is called in messages."""
        return self.members[self.index]

    def exchange(self, what: str, value: str = "") -> list[str]:
        """Every process's value, by process; all must call it equally often, in the same order.

        It waits as long as all processes live: one may have much to do before it comes here.

        Args:
          what: names the place in the program, for messages.
          value: of this process.

        Raises:
          JobFailed: a process failed, died, has ended, or is at another place of the program.
        """
        number, self._number = self._number, self._number + 1
        if self.index == 0:
            self._give(0, number, what, value)
            given = self._wait(lambda: self._complete(number), lambda: self._given.get(number, ()))
            names = {name for name, _ in given.values()}
            if len(names) > 1:
                places = "; ".join(f"{self.members[i]}: {name}" for i, (name, _) in sorted(given.items()))
                raise self.refuse(f"the processes are at different places of the program ({places})")
            values = [given[i][1] for i in range(self.count)]
            with self._changed:
                del self._given[number]
            self._tell({"number": number, "values": values})
            return values
        with contextlib.suppress(OSError):  # Its reader notices too, and knows what that means.
            self._lines[0].send({"number": number, "what": what, "value": value})
        return self._wait(lambda: self._results.pop(number, None))

    def refuse(self, reason: str) -> JobFailed:
        """An exception for something that is wrong with the job as a whole; the others hear of it."""
        self._fail(reason)
        return JobFailed(reason)

    def fail(self, reason: str) -> None:
        """Tells the others that this process fails, and why; they end with it. May be called from any thread."""
        self._fail(f"{self.name}: {reason}")

    def _fail(self, line: str) -> None:
        with self._changed:
            if self.failure is not None or self._left:
                return
            self.failure, self.failed_itself = line, True
        self._tell({"failed": line})

    def failure_within(self, seconds: float) -> str | None:
        """Which process failed and why, if that is known within some seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self.failure is not None, seconds)
            return self.failure

    def leave(self, seconds: float = 3.0) -> None:
        """Ends the connections; without a failure before it, this process has ended well.

        Args:
          seconds: how long to wait at most until the others have read what was sent.
        """
        with self._changed:
            if self._left:
                return
            self._left = True
        if self.failure is None:
            self._tell({"done": True})
            return
        for line in self._lines.values():
            line.finish()
        end = time.monotonic() + seconds
        for reader in self._readers:
            reader.join(max(0.0, end - time.monotonic()))

    def _start(self, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        return thread

    def _wait(self, ready: Callable[[], Any], here: Callable[[], Iterable[int]] = lambda: ()) -> Any:
        """What `ready()` gives once it is not None; `here()` are the processes that it does not wait for."""
        with self._changed:
            while True:
                if (found := ready()) is not None:
                    return found
                if self.failure is not None:
                    raise JobFailed(self.failure)
                if gone := self._gone - set(here()):
                    who = " and ".join(self.members[i] for i in sorted(gone))
                    self.failure = f"{who} ended while {self.name} waits for it"
                else:
                    self._changed.wait(1.0)

    def _complete(self, number: int) -> dict[int, Any] | None:
        given = self._given.get(number, {})
        return given if len(given) == self.count else None

    def _give(self, index: int, number: int, what: str, value: str) -> None:
        with self._changed:
            self._given.setdefault(number, {})[index] = (what, value)
            self._changed.notify_all()

    def _tell(self, message: Mapping[str, Any], but: int | None = None) -> None:
        for index, line in self._lines.items():
            if index != but and index not in self._gone:
                with contextlib.suppress(OSError):  # Its reader notices too, and knows what that means.
                    line.send(message)

    def _beat(self) -> None:
        while not self._left:
            time.sleep(_BEAT_SECONDS)
            self._tell({})

    def _read(self, other: int, line: Line) -> None:
        """Hears one process until it ends."""
        try:
            while True:
                self._hear(other, line.receive(SILENCE_SECONDS))
        except TimeoutError:
            self._lost(other, f"{self.members[other]} has not answered for {SILENCE_SECONDS:g} s")
        except (OSError, ValueError, KeyError):
            self._lost(other, f"{self.members[other]} ended without a word: it was killed, or its host is lost")

    def _hear(self, other: int, message: dict[str, Any]) -> None:
        if "failed" in message:
            self._lost(other, message["failed"])
        elif "done" in message:
            with self._changed:
                self._gone.add(other)
                self._changed.notify_all()
        elif "values" in message:
            with self._changed:
                self._results[message["number"]] = message["values"]
                self._changed.notify_all()
        elif "what" in message:
            self._give(other, message["number"], message["what"], message["value"])

    def _lost(self, other: int, line: str) -> None:
        """Another process will come no more."""
        with self._changed:
            if self.failure is not None or self._left or other in self._gone:
                return
            self.failure = line
            self._changed.notify_all()
        if self.index == 0:
            self._tell({"failed": line}, but=other)
        self._start(self._on_failure, line)
