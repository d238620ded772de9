"""How a run is getting on, for people: a bar on a terminal, else one plain line a tick, which a log can hold."""

from __future__ import annotations

import math
import resource
import sys
import time
from types import TracebackType

from tqdm import tqdm

from jaxgan import parallel
from jaxgan.processes.progress import duration, on_terminal
from jaxgan.training.calls import Call
from jaxgan.training.run import Run

# A tick: the first call and the last have a line too.
TICK_SECONDS = 30.0


class Ticks:
    """Shows every call of a run; use as a context manager.

    Args:
      run: what is trained; its step is where it stands.
    """

    def __init__(self, run: Run):
        self._run = run
        main = parallel.is_main_process()
        bar = main and on_terminal()
        self._lines = main and not bar
        self._bar = tqdm(total=run.total, initial=run.step, unit="it", dynamic_ncols=True, disable=not bar)
        self._told_at = -math.inf
        self._begin()

    def show(self, call: Call) -> None:
        """Moves the bar, or writes a line where one is due."""
        run = self._run
        self._bar.set_postfix(_losses(call), refresh=False)
        self._bar.update(run.step - self._bar.n)
        now = time.monotonic()
        if self._lines and (now - self._told_at >= TICK_SECONDS or run.step >= run.total):
            parallel.say(self._line(call, now), passing=True)
            self._told_at = now
        if math.isnan(call.rate) or run.step < self._step:
            self._begin()  # What compiled, or went back, says nothing of speed.

    def _begin(self) -> None:
        """Measures the speed from here on."""
        self._since, self._step = time.monotonic(), self._run.step

    def _line(self, call: Call, now: float) -> str:
        run, schedule = self._run, self._run.schedule
        last = call.count - 1
        parts = [
            f"step {run.step} of {run.total}",
            f"images {schedule.images(run.step):,}",
            f"epoch {schedule.epoch(run.step):.2f}",
            *(f"{name} {value}" for name, value in _losses(call).items() if name != "images/s"),
            f"gap {call.metrics['wasserstein'][last]:.3f}",
        ]
        known = not math.isnan(call.rate) and run.step > self._step
        rate = (schedule.images(run.step) - schedule.images(self._step)) / (now - self._since)
        parts += [f"{rate:.0f} images/s"] if known else []
        parts.append(f"memory {_peak_memory() / 2**30:.1f} GiB")
        if known and run.step < run.total:
            images_left = schedule.images(run.total) - schedule.images(run.step)
            parts.append(f"{duration(images_left / rate)} left")
        return ", ".join(parts)

    def __enter__(self) -> Ticks:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._bar.close()


def _losses(call: Call) -> dict[str, str]:
    last = {name: call.metrics[f"{name}_loss"][call.count - 1] for name in ("critic", "generator")}
    speed = {} if math.isnan(call.rate) else {"images/s": f"{call.rate:.0f}"}
    return {**{name: f"{value:.3f}" for name, value in last.items()}, **speed}


def _peak_memory() -> int:
    """Of the devices, or, where they do not count (CPU), of the process."""
    of_process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return parallel.peak_memory() or of_process
