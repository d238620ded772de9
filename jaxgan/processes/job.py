"""The processes of one job: that they are as many as they should be, that they agree, and what became of each.

Before JAX connects them, all processes meet at the coordinator's port (`join`). The connections of that roll call stay
open: what one process has to say to all goes over them (`Job.exchange`), and when a process fails or dies the others
hear of it at once, wherever they are. Nothing here needs a device.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

# Seconds that all processes have to come, by default; a cluster that starts its hosts one by one may need more.
JOIN_SECONDS = 120.0
# A process that was not heard of for so long is given up; each says that it lives every few seconds.
SILENCE_SECONDS = 45.0
_BEAT_SECONDS = 5.0
_MOST_BYTES = 1 << 24


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
        lines: Mapping[int, _Line],
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

    def _read(self, other: int, line: _Line) -> None:
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


class _Line:
    """Messages over a connection: one JSON object a line."""

    def __init__(self, connection: socket.socket):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._received = b""
        self._sending = threading.Lock()

    def send(self, message: Mapping[str, Any]) -> None:
        with self._sending:
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, seconds: float) -> dict[str, Any]:
        """The next message; `TimeoutError` when none comes, `ConnectionError` or `ValueError` when none can come."""
        self._connection.settimeout(seconds)
        while b"\n" not in self._received:
            piece = self._connection.recv(1 << 16)
            if not piece:
                raise ConnectionError("ended")
            self._received += piece
            if len(self._received) > _MOST_BYTES:
                raise ValueError("no message")
        text, self._received = self._received.split(b"\n", 1)
        message = json.loads(text)
        if not isinstance(message, dict):
            raise ValueError("no message")
        return message

    def finish(self) -> None:
        """Nothing more will be sent."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._connection.close()


def join(
    address: str,
    count: int,
    index: int,
    facts: Mapping[str, str],
    on_failure: Callable[[str], None] = lambda line: None,
    seconds: float = JOIN_SECONDS,
) -> Job:
    """Meets the other processes at the coordinator's address, and checks that they fit together.

    Args:
      address: host:port of process 0; the port is free again afterwards.
      count: processes of the job.
      index: of this one.
      facts: what must be the same in all of them, by name, e.g. versions.
      on_failure: see `Job`.
      seconds: how long to wait for all of them.

    Raises:
      JobFailed: in every process, with the reason: one is missing or there twice, or they differ.
    """
    me = {"index": index, "count": count, "host": socket.gethostname(), "pid": os.getpid(), "facts": dict(facts)}
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + seconds
    if index == 0:
        members, lines = _call_the_roll(int(port), me, deadline, seconds)
    else:
        members, lines = _answer(host.strip("[]"), int(port), me, deadline, seconds)
    global current
    current = Job(index, members, lines, on_failure)
    return current


def _call_the_roll(
    port: int, me: dict[str, Any], deadline: float, seconds: float
) -> tuple[list[str], dict[int, _Line]]:
    """In process 0: waits for all, and tells all how it went."""
    count, present = me["count"], {0: me}
    lines: dict[int, _Line] = {}
    try:
        # Both kinds of addresses where the system has them, as JAX's own service, which takes the port afterwards.
        dual = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if dual else socket.AF_INET
        listener = socket.create_server(("", port), family=family, dualstack_ipv6=dual, backlog=count)
    except OSError as error:
        raise JobFailed(
            f"process 0 of {count} cannot listen at port {port} ({error.strerror or error}): is there another process"
            " with index 0?"
        ) from None
    with listener:
        try:
            while len(present) < count:
                listener.settimeout(max(0.01, deadline - time.monotonic()))
                line = _Line(listener.accept()[0])
                try:
                    other = line.receive(max(0.01, min(5.0, deadline - time.monotonic())))
                    known = other["index"] in present
                    wrong = _difference(present.get(other["index"], me), other, known)
                except (OSError, ValueError, KeyError, TypeError):
                    line.close()  # No process of ours.
                    continue
                if wrong:
                    lines[len(lines) + count] = line  # It hears of it too.
                    raise JobFailed(wrong)
                present[other["index"]], lines[other["index"]] = other, line
            members = [_name(present[i]) for i in range(count)]
            for line in lines.values():
                line.send({"members": members})
            return members, lines
        except (TimeoutError, JobFailed) as error:
            missing = ", ".join(str(i) for i in range(count) if i not in present)
            reason = f"process {missing} of {count} did not come within {seconds:g} s: start it, or correct the count"
            if isinstance(error, JobFailed):
                reason = str(error)
            for line in lines.values():
                with contextlib.suppress(OSError):
                    line.send({"refused": reason})
                line.close()
            raise JobFailed(reason) from None


def _answer(
    host: str, port: int, me: dict[str, Any], deadline: float, seconds: float
) -> tuple[list[str], dict[int, _Line]]:
    """In the other processes: comes to process 0, and hears how it went."""
    who = f"process {me['index']} of {me['count']}"
    while True:
        try:
            connection = socket.create_connection((host, port), timeout=max(0.1, deadline - time.monotonic()))
            break
        except OSError as error:
            if time.monotonic() > deadline:
                reason = error.strerror or error
                raise JobFailed(
                    f"{who}: process 0 did not answer at {host}:{port} within {seconds:g} s ({reason})"
                ) from None
            time.sleep(0.2)
    line = _Line(connection)
    try:
        line.send(me)
        # A little longer than process 0 waits, so that its word comes first.
        answer = line.receive(max(0.1, deadline - time.monotonic()) + 5.0)
        if "refused" in answer:
            raise JobFailed(answer["refused"])
        return answer["members"], {0: line}
    except (OSError, ValueError, KeyError):
        line.close()
        raise JobFailed(
            f"{who}: the job at {host}:{port} has begun without it, or ended: is an index given twice, or the number of"
            " processes wrong?"
        ) from None


def _difference(one: dict[str, Any], other: dict[str, Any], known: bool) -> str | None:
    """Why a process does not fit to another, or None."""
    if known:
        return f"there are two processes with the index {other['index']}: {_name(one)} and {_name(other)}"
    if other["count"] != one["count"]:
        return f"{_name(other)} and {_name(one)} were told different numbers of processes: give all the same"
    if not (isinstance(other["index"], int) and 0 <= other["index"] < one["count"]):
        return f"there is no place for {_name(other)}"
    differing = [name for name in one["facts"] | other["facts"] if one["facts"].get(name) != other["facts"].get(name)]
    if differing:
        pairs = "; ".join(
            f"{name} {one['facts'].get(name)} and {other['facts'].get(name)}" for name in sorted(differing)
        )
        return f"{_name(one)} and {_name(other)} differ: {pairs}: make them the same"
    return None


def _name(member: dict[str, Any]) -> str:
    return f"process {member['index']} of {member['count']} ({member['host']}, pid {member['pid']})"


class Forwarder:
    """A port on this host through which a client reaches another one, and which stays open when that host is lost.

    JAX's client ends its process with a stack trace as soon as the coordinator's connection closes. Through a forwarder
    it notices nothing until its own time limit, so that the process can say in one line what happened, and end.

    Args:
      host: to reach.
      port: to reach.
    """

    def __init__(self, host: str, port: int):
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                near = self._listener.accept()[0]
                try:
                    far = socket.create_connection(self._target, timeout=10.0)
                except OSError:
                    near.close()  # JAX tries again.
                    continue
                far.settimeout(None)
                threading.Thread(target=self._pump, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, ends: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(1 << 16):
                target.sendall(piece)
        if ends:  # Our own client has closed it. What the other host closes stays open here.
            with contextlib.suppress(OSError):
                target.shutdown(socket.SHUT_RDWR)
