"""How a process ends before its work is done: one line, no temporary files, in bounded time.

SIGTERM raises `Terminated` in the main thread. That may be inside a compiler for a minute, where Python hears nothing:
a thread of ours hears the signal at once, and ends the process when the main thread has not within some seconds. A
loop that has something worth saving takes a `Hold` on the process: it finishes what it does first, and the thread says
what that is. A second signal ends the process at once, whatever it does.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

# Seconds that the main thread has to end by itself.
PATIENCE = 5.0
# Signals nearer than this are one: launchers and schedulers both send it.
_ONE_SIGNAL = 0.5

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Terminated(BaseException):
    """SIGTERM came where there is nothing to save, or the job failed; the message is one line."""


class _State:
    """Of the process."""

    holder: Hold | None = None
    listening = False
    reason: str | None = None  # why the job ends this process
    raised: str = ""  # why the main thread was interrupted, once it was
    deadline: float | None = None
    scratch: set[Path] = set()  # noqa: RUF012  what must not be left behind
    before: list[Callable[[str], Any]] = []  # noqa: RUF012  what is told before the process ends
    said = threading.Lock()


class Hold:
    """Work that is worth finishing when a signal comes: from `begin` to the end of the block.

    Attributes:
      seen: whether a signal came, or the job failed.
      activity: what a stop waits for, as said when that takes long.
    """

    def __init__(self):
        self.seen = False
        self.activity = "what is under way"
        self._previous: dict[int, Any] = {}

    def begin(self) -> None:
        """From here on signals are noted only."""
        if not self._previous and _State.holder is None:
            with contextlib.suppress(ValueError):  # Not in the main thread: the embedding program handles signals.
                for number in _SIGNALS:
                    self._previous[number] = signal.signal(number, self._note)
            _State.holder = self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        if _State.holder is self:
            if _State.deadline is not None or self.seen:
                _State.deadline = time.monotonic() + PATIENCE  # What is left to do is little.
            _State.holder = None
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, frame: Any) -> None:
        if self.seen and not _State.listening and _State.reason is None:
            raise KeyboardInterrupt if number == signal.SIGINT else Terminated("stopped by a second SIGTERM")
        self.seen = True


@contextlib.contextmanager
def on_signals() -> Iterator[None]:
    """Within the block a signal ends the process as this module says; for the main thread of a command."""
    if threading.current_thread() is not threading.main_thread() or _State.listening:
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    _State.reason = _State.deadline = None
    _State.raised = ""
    _State.said = threading.Lock()
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    signal.signal(signal.SIGTERM, _raise)
    if previous[signal.SIGINT] is signal.default_int_handler:  # A shell may have it ignored, in the background.
        signal.signal(signal.SIGINT, _raise)
    wakeup = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    _State.listening = True
    unraisable = sys.unraisablehook
    sys.unraisablehook = partial(_hide_termination, unraisable)
    listener = threading.Thread(target=_listen, args=(read,), daemon=True)
    listener.start()
    try:
        yield
    finally:
        _State.listening = False
        sys.unraisablehook = unraisable
        signal.set_wakeup_fd(wakeup)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(write)
        listener.join(1.0)
        os.close(read)


def _raise(number: int, frame: FrameType | None) -> None:
    line = _State.reason or f"stopped by {signal.Signals(number).name}"
    if is_importing(frame):
        end_now(line)
    _State.raised = line
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated(line)


def is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, where C code takes exceptions ill.

    What the initialisation of a C extension imports prints the traceback of what it raises, or crashes.
    """
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def raised() -> str:
    """Why the main thread was interrupted, if it was: what is raised afterwards may be a library's word for it.

    One that is interrupted while it is imported, say, calls that an ImportError.
    """
    return _State.raised


def _hide_termination(hook: Callable[[Any], Any], arguments: Any) -> None:
    """Where the exception is ignored, as in a garbage collector's callback, the thread ends the process soon."""
    if not isinstance(arguments.exc_value, Terminated):
        hook(arguments)


def _listen(read: int) -> None:
    """Hears signals while the main thread may not."""
    first = None
    while True:
        wait = None if _State.deadline is None else max(0.0, _State.deadline - time.monotonic())
        # Half a second at most: a `Hold` may have set another deadline.
        if not select.select([read], [], [], 0.5 if wait is None else min(wait, 0.5))[0]:
            if wait == 0.0:
                _too_long()
            continue
        content = os.read(read, 64)
        if not content:
            return
        if not any(number in _SIGNALS for number in content):
            continue
        now = time.monotonic()
        if first is None or _State.reason is not None:
            first, _State.deadline = now, now + PATIENCE
        elif now - first > _ONE_SIGNAL:
            end_now("stopped at once, by a second signal: what was not saved is lost")


def _too_long() -> None:
    """The main thread has not ended in time."""
    if _State.reason is not None:
        end_now(_State.reason)
    holder = _State.holder
    if holder is None:
        end_now("stopped by a signal")
    else:
        _State.deadline = None
        print(
            f"stopping after {holder.activity}, with a checkpoint; a second signal ends the process at once, without",
            file=sys.stderr,
            flush=True,
        )


def is_ending() -> None:
    """From here on a signal changes nothing: the process says why it ends, and ends."""
    with contextlib.suppress(ValueError):
        for number in _SIGNALS if _State.listening else ():
            signal.signal(number, signal.SIG_IGN)


def end_with(reason: str) -> None:
    """Ends this process because its job ends; from another thread than the main one.

    Args:
      reason: one line.
    """
    _State.reason = reason
    if _State.listening:
        _thread.interrupt_main(signal.SIGTERM)


def end_now(line: str, status: int = 1) -> None:
    """Leaves without a word to the main thread, but without temporary files; says why."""
    for tell in _State.before:
        with contextlib.suppress(Exception):
            tell(line)
    remove_scratch()
    if may_speak():
        # Past the stream, whose lock the main thread may hold.
        os.write(2, f"error: {line}\n".encode(errors="backslashreplace"))
    os._exit(status)


def may_speak() -> bool:
    """Whether nobody has said yet why the process ends: it ends with one line, whoever comes first."""
    return _State.said.acquire(blocking=False)


@contextlib.contextmanager
def scratch(*paths: Path) -> Iterator[None]:
    """Files and folders that go when the process is ended within the block; the block itself removes them else."""
    _State.scratch.update(paths)
    try:
        yield
    finally:
        _State.scratch.difference_update(paths)


def remove_scratch() -> None:
    """Removes what `scratch` names."""
    for path in list(_State.scratch):
        with contextlib.suppress(OSError):
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)


def before_ending(tell: Callable[[str], Any]) -> None:
    """Has `tell(line)` called before the process is ended at once."""
    _State.before.append(tell)
