"""How every command ends: exit codes and one-line errors (0 success, 2 wrong input, 1 anything else)."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import resource
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

from jaxgan.errors import ArgumentError, InputError, Stopped, one_line
from jaxgan.processes import ending, job

# What another process's end makes fail here is noticed a moment before that end is known.
_SECONDS_TO_HEAR = 5.0
# What a disk that is full, gone or read-only answers.
_STORAGE = {
    getattr(errno, name)
    for name in (
        "ENOSPC",
        "EDQUOT",
        "EROFS",
        "EIO",
        "ENOENT",
        "EACCES",
        "EPERM",
        "ENOTDIR",
        "ESTALE",
        "EFBIG",
        "EMFILE",
    )
}
_NO_MEMORY = (
    "out of memory: lower config.train.batch_size or --num_samples, or allow more; what was saved before is good"
)
# How XLA, threads, the system and the loader of libraries say it, in lower case.
_OF_MEMORY = ("resource_exhausted", "can't start new thread", "cannot allocate memory", "failed to map segment")
# With less, libraries cannot start their threads, and some wait for these for ever.
_LEAST_ADDRESS_SPACE = 3 * 2**30


def run(main: Callable[[], int | None]) -> None:
    """Calls `main` and leaves the process with the project's exit codes.

    Args:
      main: does the work; returns None or 0 on success, another status (1 = "a check failed") otherwise.
    """
    # Orbax reports every phase of every save, and tifffile logs what it also raises: one line of ours is enough.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    # One line each, as errors are; where in our code a warning arose is no help to the user.
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    hook, unraisable, uncaught = threading.excepthook, sys.unraisablehook, sys.excepthook
    threading.excepthook = partial(_hide_storage_errors, hook)
    sys.unraisablehook = lambda caught: None if _is_aftermath(caught.exc_value) else unraisable(caught)
    sys.excepthook = lambda kind, error, trace: None if _is_aftermath(error) else uncaught(kind, error, trace)
    with ending.on_signals():
        try:
            status, line = _outcome(main)
            ending.is_ending()
        except ending.Terminated as error:  # While the main thread was about to end anyway.
            status, line = 1, f"error: {error}"
        if job.current is not None:
            _leave_job(status, line)
        if line and ending.may_speak():
            print(line, file=sys.stderr)
    if ending.raised():  # Inside a library, perhaps, whose teardown then crashes: XLA's did, after the line was said.
        _leave(status)
    threading.excepthook, sys.unraisablehook, sys.excepthook = hook, unraisable, uncaught
    sys.exit(status)


def _outcome(main: Callable[[], int | None]) -> tuple[int, str]:
    """Exit status, and the one line that says why it is not 0."""
    try:
        _check_address_space()
        status = main() or 0
        sys.stdout.flush()
        if not status:
            _wait_for_others()
        return status, ""
    except Stopped as error:
        if error.agreed:
            with contextlib.suppress(job.JobFailed):
                _wait_for_others()
        return 1, f"error: {one_line(error)}"
    except InputError as error:
        said = error.on_command_line if isinstance(error, ArgumentError) else error
        return (1, f"error: {ending.raised()}") if ending.raised() else (2, f"error: {said}")
    except (job.JobFailed, ending.Terminated, FloatingPointError) as error:
        return 1, f"error: {one_line(error)}"
    except BrokenPipeError:
        # The reader of our output has gone (`... | head`); silence the interpreter's own flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1, ""
    except KeyboardInterrupt:
        return 1, "interrupted"
    except MemoryError:
        return 1, f"error: {_NO_MEMORY}"
    except UnicodeEncodeError:
        return 2, "error: a path is not valid UTF-8: rename the folder"
    except Exception as error:
        if ending.raised():
            return 1, f"error: {ending.raised()}"
        if reason := _systems_word(error):
            return 1, f"error: {reason}"
        # What a collective raises when another process is lost says less than the job knows a moment later.
        if job.current is None:
            raise
        if (failure := job.current.failure_within(_SECONDS_TO_HEAR)) and not job.current.failed_itself:
            return 1, f"error: {failure}"
        job.current.fail(f"{type(error).__name__}: {one_line(error)}")
        traceback.print_exc()
        return 1, ""


def _check_address_space() -> None:
    """OpenBLAS looks for memory for ever, and array_record waits for threads, where there are none: ends before."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < _LEAST_ADDRESS_SPACE:
        raise Stopped(
            f"the address space is limited to {limit / 2**30:.2g} GiB: libraries need"
            f" {_LEAST_ADDRESS_SPACE / 2**30:g} GiB before there is any work, and a training more: raise the limit"
            " (ulimit -v)"
        )


def _wait_for_others() -> None:
    """Who is done waits for the other processes of its job, of which one may still fail."""
    if job.current is not None:
        # A signal, or the one that is being followed, must not end this process meanwhile: that would end the others,
        # of which the first still writes what was due at the end.
        with ending.Hold() as hold:
            hold.activity = "the other processes have ended"
            hold.begin()
            job.current.exchange("ending")
        job.current.leave()


def _systems_word(error: Exception) -> str | None:
    """One line for what the system refused in the middle of the work; None for what may be a fault of ours."""
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return (
            f"{error.filename or 'a file'}: {error.strerror}; what was saved before is good: put this right and go on"
        )
    text = str(error).lower()
    if any(words in text for words in _OF_MEMORY):
        return _NO_MEMORY
    return None


def _is_aftermath(error: BaseException | None) -> bool:
    """What TensorStore's threads meet when the save that they work for has failed; that one has been said."""
    return isinstance(error, RuntimeError) and "Event loop is closed" in str(error)


def _hide_storage_errors(hook: Callable[..., Any], arguments: Any) -> None:
    """A writer's thread that meets a full disk: its main thread hears of it and says so."""
    if not (isinstance(arguments.exc_value, OSError) and arguments.exc_value.errno in _STORAGE):
        hook(arguments)


def _leave_job(status: int, line: str) -> NoReturn:
    """Ends a process of a job, without JAX's own farewell, which waits for those that will never come."""
    assert job.current is not None
    if status:
        job.current.fail(line.removeprefix("error: ") or f"exit status {status}")
    if line and ending.may_speak():
        print(line if job.current.failure is None else f"error: {job.current.failure}", file=sys.stderr)
    job.current.leave()
    _leave(status)


def _leave(status: int) -> NoReturn:
    """Ends the process without Python's and the libraries' own teardown."""
    ending.remove_scratch()
    with contextlib.suppress(OSError):  # Who read it has gone.
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
