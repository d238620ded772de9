"""Starts several processes of one job on this machine, and ends all of them when one fails.

    jaxgan launch --num_processes 2 -- train --config mnist --data_dir demo --workdir runs/digits

Each process gets JAXGAN_COORDINATOR, JAXGAN_PROCESSES and JAXGAN_PROCESS. One process drives all GPUs of a machine by
itself: this is for CPUs, and to try out a job of several hosts. Exit status: 0 success, else that of the first process
that failed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jaxgan.commands import flags
from jaxgan.processes import ending

# Seconds that the others have to hear of a failure and to end by themselves, with a line that says so; and, once they
# were told by SIGTERM, to save and end.
OWN_WORDS = 15.0
GRACE = 60.0
# Seconds that they have to remove their temporary files when a second signal ends everything.
AT_ONCE = 2.0


def parser() -> flags.ArgumentParser:
    """The flags."""
    usage = f"{flags.program('launch')} --num_processes N -- COMMAND [flags]"
    own = flags.ArgumentParser(prog=flags.program("launch"), description=__doc__, usage=usage)
    own.add_argument("--num_processes", required=True, type=flags.whole(1, 256), metavar="N", help="how many")
    own.add_argument("command", nargs="+", metavar="COMMAND", help="what each does, as after `jaxgan`")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts the processes and waits for them."""
    args = parser().parse_args(arguments)
    return launch([sys.executable, "-m", "jaxgan", *args.command], args.num_processes)


def launch(command: Sequence[str], count: int, grace: float = GRACE) -> int:
    """Runs a command in `count` processes that know of each other; returns the first failure's exit status, else 0.

    SIGTERM, SIGINT and SIGHUP are passed on as SIGTERM, and all are waited for; a second one ends them at once. When a
    process fails the others hear of it and end; those that have not after `OWN_WORDS` seconds get SIGTERM, and after
    `grace` seconds SIGKILL. A process that a signal ended counts as status 128 plus the signal, as in a shell.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{probe.getsockname()[1]}"
    job = {**os.environ, "JAXGAN_COORDINATOR": coordinator, "JAXGAN_PROCESSES": str(count)}
    processes: list[subprocess.Popen] = []

    def end(*_: object) -> None:
        hold.seen = True
        for process in processes:
            process.terminate()  # Nothing where it has ended.

    ending.before_ending(lambda line: _end_at_once(processes))
    with ending.Hold() as hold, _passing_on(hold, end):
        try:
            for index in range(count):
                # Sessions of their own: the terminal's Ctrl-C comes through us, once.
                processes.append(
                    subprocess.Popen(command, env={**job, "JAXGAN_PROCESS": str(index)}, start_new_session=True)
                )
            if hold.seen:  # A signal came while some were not there yet.
                end()
            return _wait(processes, grace)
        finally:
            for process in processes:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _passing_on(hold: ending.Hold, end: Callable[..., Any]) -> Iterator[None]:
    """Within the block signals call `end`, and this process goes on; what `nohup` or a shell has ignored stays so."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    # The others may save for longer than a signal leaves to a process without a hold, and would have no parent then.
    hold.activity = "all processes have ended"
    hold.begin()
    for number, handler in before.items():
        signal.signal(number, handler if handler is signal.SIG_IGN else end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(processes: Sequence[subprocess.Popen]) -> None:
    """A second SIGTERM, at which each removes its temporary files, and SIGKILL for who is still there soon after."""
    for process in processes:
        process.terminate()
    until = time.monotonic() + AT_ONCE
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until - time.monotonic()))
        process.kill()


def _wait(processes: Sequence[subprocess.Popen], grace: float) -> int:
    """Until all have ended; ends all once one has failed, unless they do so by themselves."""
    first, failed_at, told = 0, float("inf"), False
    while any(process.poll() is None for process in processes) and time.monotonic() < failed_at + OWN_WORDS + grace:
        first = first or _failure(processes)
        if first and failed_at == float("inf"):
            failed_at = time.monotonic()
        if not told and time.monotonic() > failed_at + OWN_WORDS:
            told = True
            for process in processes:
                process.terminate()
        time.sleep(0.05)
    return first or _failure(processes)


def _failure(processes: Sequence[subprocess.Popen]) -> int:
    statuses = [process.poll() or 0 for process in processes]
    return next((128 - status if status < 0 else status for status in statuses if status), 0)
