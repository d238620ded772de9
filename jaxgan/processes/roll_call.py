"""All processes of a job meet at the coordinator's port before JAX connects them, and check that they fit together."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from jaxgan.processes import job
from jaxgan.processes.job import Job, JobFailed
from jaxgan.processes.line import Line

# Seconds that all processes have to come, by default; a cluster that starts its hosts one by one may need more.
JOIN_SECONDS = 120.0


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
    job.current = Job(index, members, lines, on_failure)
    return job.current


def _call_the_roll(port: int, me: dict[str, Any], deadline: float, seconds: float) -> tuple[list[str], dict[int, Line]]:
    """In process 0: waits for all, and tells all how it went."""
    count, present = me["count"], {0: me}
    lines: dict[int, Line] = {}
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
                line = Line(listener.accept()[0])
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
) -> tuple[list[str], dict[int, Line]]:
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
    line = Line(connection)
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
