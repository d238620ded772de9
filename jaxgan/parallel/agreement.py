"""The processes of a job among each other: they meet, agree, wait for the main one, hear of failures."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.errors import InputError, one_line
from jaxgan.processes import ending, job, roll_call
from jaxgan.processes.cluster import find_place
from jaxgan.processes.line import Forwarder

# How long JAX waits at the end for processes that are still at work.
_SHUTDOWN_SECONDS = 60
_LONGEST_VALUE = 1 << 18


def initialize() -> None:
    """Joins the other processes of a job; does nothing in a job of one process.

    Which job that is, `cluster.find_place` reads from the environment. All processes meet first, and check that they
    fit together (`roll_call.join`); then JAX connects them. Call before anything touches a device.

    Raises:
      InputError: the environment describes half a job.
      JobFailed: a process is missing, there twice, or of another version.
    """
    place = find_place(os.environ)
    if place is None:
        return
    seconds = float(os.environ.get("JAXGAN_JOIN_SECONDS", "") or roll_call.JOIN_SECONDS)
    joined = roll_call.join(place.address, place.count, place.index, _versions(), ending.end_with, seconds)
    ending.before_ending(joined.fail)
    atexit.register(joined.leave)  # Before JAX's own farewell, which waits for those that are still at work.
    address = place.address
    if place.index:
        host, _, port = address.rpartition(":")
        address = Forwarder(host.strip("[]"), int(port)).address
    # JAX's own notice of preemption wants SIGTERM too; `ending` has it, and `any_process` shares it.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        address,
        place.count,
        place.index,
        local_device_ids=place.devices,
        # Without detection: a cluster found around us would limit the process to one of its devices.
        cluster_detection_method="deactivate",
        initialization_timeout=int(seconds) + 1,
        shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
    )


def _versions() -> dict[str, str]:
    names = ("jaxgan", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def is_main_process() -> bool:
    """Whether this process writes logs, samples and messages."""
    return jax.process_index() == 0


def agree(what: str, facts: Mapping[str, Any]) -> None:
    """Returns if all processes of the job have the same facts.

    Args:
      what: names them all, for messages.
      facts: by name, for JSON.

    Raises:
      JobFailed: in every process, with the first that differs.
    """
    everybody = [json.loads(text) for text in _exchange(f"comparing {what}", json.dumps(facts))]
    for index, other in enumerate(everybody):
        for name in everybody[0] | other:
            mine, theirs = everybody[0].get(name), other.get(name)
            if mine != theirs:
                reason = (
                    f"process {index} of {len(everybody)} and process 0 were started with different {what}: {name} is"
                    f" {theirs!r} and {mine!r}; give all the same"
                )
                raise job.JobFailed(reason) if job.current is None else job.current.refuse(reason)


def check_same_folder(file: Path, seconds: float = 30.0) -> None:
    """Returns if all processes of the job see the main process's file as it has written it.

    Args:
      file: of which the main process has just written the content.
      seconds: how long to look: network storage may show a new file late.

    Raises:
      InputError: a process sees another file or none: the folder is not one that all share.
    """
    if jax.process_count() == 1:
        return
    written = _exchange("looking at the folder", file.read_text() if is_main_process() else "")[0]
    end = time.monotonic() + seconds
    while not (file.exists() and file.read_text() == written):
        if time.monotonic() > end:
            raise InputError(
                f"{file.parent} is not the same folder on this host ({socket.gethostname()}) as in process 0: choose"
                " one on storage that all hosts see"
            )
        time.sleep(0.5)
    _exchange("all see the folder")


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process of the job; every process must call this equally often."""
    return flag if jax.process_count() == 1 else "1" in _exchange("asking who stops", str(int(flag)))


def from_main_process(values: dict[str, float]) -> dict[str, float]:
    """The main process's values, as float32, in every process; all must call it with the same names."""
    if jax.process_count() == 1:
        return values
    exact = [float(np.float32(value)) for value in values.values()]
    shared = json.loads(_exchange(f"sharing {', '.join(values)}", json.dumps(exact))[0])
    return dict(zip(values, shared, strict=True))


def gather(what: str, value: Any) -> list[Any]:
    """Every process's value, by process; all must call it at the same place of the program.

    Args:
      what: names that place, for messages.
      value: of this process, for JSON.
    """
    return [json.loads(text) for text in _exchange(what, json.dumps(value))]


def decided_by_main_process(what: str, work: Callable[[], Any]) -> Any:
    """What `work()`, which the main process alone does, gives for JSON: where hosts may see different things.

    Args:
      what: names the place in the program, for messages.
      work: done by the main process; where it raises, the others hear of it, see `sharing_failure`.
    """
    return gather(what, work() if is_main_process() else None)[0]


def main_process_first(work: Callable[[], Any]) -> Any:
    """`work()`, in the other processes only after the main one: what it prepares on shared storage they find ready.

    Where it raises in one process the others hear of it, see `sharing_failure`.
    """
    if jax.process_count() == 1:
        return work()
    result = work() if is_main_process() else None
    _exchange("waiting for the main process")
    return result if is_main_process() else work()


@contextlib.contextmanager
def sharing_failure() -> Iterator[None]:
    """What is raised within the block ends the other processes of the job too, with one line that says so."""
    try:
        yield
    except BaseException as error:
        if job.current is not None and not isinstance(error, job.JobFailed) and not getattr(error, "agreed", False):
            job.current.fail(one_line(error))
        raise


def _exchange(what: str, value: str = "") -> list[str]:
    """Every process's value, by process; raises `JobFailed` when one of them fails or is lost."""
    if job.current is not None:
        return job.current.exchange(what, value)
    if jax.process_count() == 1:
        return [value]
    # Whoever called `jax.distributed.initialize` by themselves: JAX's way, which knows of no failure.
    from jax.experimental import multihost_utils

    room = np.zeros(_LONGEST_VALUE, np.uint8)
    content = np.frombuffer(value.encode(), np.uint8)
    room[: len(content)] = content
    return [row.tobytes().rstrip(b"\0").decode() for row in multihost_utils.process_allgather(room)]


def say(message: str, passing: bool = False) -> None:
    """One line for people, from the main process, that does not tear the progress bar.

    Args:
      message: without the end of the line.
      passing: it tells of progress, as the bar does, and goes to stderr with it; else it is a result.
    """
    if is_main_process():
        from tqdm import tqdm  # Here, so that the benchmark runs on a bare image.

        tqdm.write(message, file=sys.stderr if passing else sys.stdout)
