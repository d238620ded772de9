"""Calls of the compiled program, and the reals of the next one, read while the devices work."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgan import parallel
from jaxgan.data.source import ResidentSource, StreamingSource
from jaxgan.training.call_length import CallLength
from jaxgan.training.patience import told_when_long
from jaxgan.training.programs import Programs
from jaxgan.training.run import Run

_COMPILING = "compiling the iteration, which a later start finds in the cache"


@dataclasses.dataclass(frozen=True)
class Call:
    """What one call of the program did.

    Attributes:
      first: iterations done before it.
      count: iterations that it ran.
      metrics: by name, `[K]` each; the first `count` are of its iterations.
      rate: reals shown to the critic a second; NaN for a call that compiled the program.
    """

    first: int
    count: int
    metrics: dict[str, np.ndarray]
    rate: float


class Calls:
    """Runs a run's program, one call after another; to be made anew when the run was put elsewhere.

    Args:
      run: its step and state move on with every call.
      source: gives the reals.
      length: how many iterations a call runs.
      next_boundary: the next step after a given one at which the host has something to do.
    """

    def __init__(
        self,
        run: Run,
        source: ResidentSource | StreamingSource,
        length: CallLength,
        next_boundary: Callable[[int], float],
    ):
        self._run, self._source, self._length, self._next_boundary = run, source, length, next_boundary
        self._programs = Programs(run.gan, source.load_batch, source.data_axes)
        self._program: Callable[..., Any] | None = None
        run.state = parallel.replicate(run.state)
        self._ahead = self._load()

    def run(self) -> Call:
        """Runs the iterations up to the next boundary, or as many as a call takes."""
        run, (count, batch_refs) = self._run, self._ahead
        program = self._programs.at(run.step)
        compiled, self._program = program is self._program, program
        began = time.perf_counter()
        waiting = contextlib.nullcontext() if compiled else told_when_long(_COMPILING)
        with waiting:
            run.state, metrics = program(run.state, self._source.data, batch_refs, count)
        run.step += count
        changed = run.step == self._programs.next_change(run.step - count)
        if changed:
            self._length.learn()  # The next iteration takes another time.
        if run.step < run.total:
            self._ahead = self._load()  # While the devices work.
        metrics = parallel.to_host(metrics)
        seconds = time.perf_counter() - began
        if not changed:
            self._length.ran(count, seconds)
        shown = run.schedule.images(run.step) - run.schedule.images(run.step - count)
        rate = shown / seconds if compiled else math.nan
        return Call(run.step - count, count, metrics, rate)

    def _load(self) -> tuple[int, Any]:
        """How many iterations the next call runs, and their reals on the way to the devices."""
        step = self._run.step
        boundary = min(self._run.total, self._next_boundary(step), self._programs.next_change(step))
        count = int(min(self._length.iterations, boundary - step))
        return count, parallel.split_batch(self._source.batch_refs(step, count, self._length.longest))
