"""A scheduler's signal asks for a clean stop; every process of a job hears of it."""

from __future__ import annotations

from jaxgan import parallel
from jaxgan.errors import Stopped
from jaxgan.processes import ending


class Interrupted(Stopped):
    """A stop signal ended training after a clean save; the run can be resumed."""

    agreed = True


class StopSignal(ending.Hold):
    """From `begin` on SIGTERM (a scheduler's preemption) and SIGINT ask for a clean stop, in any process of the job."""

    def requested(self) -> bool:
        """Whether any process of the job was asked to stop; all get the same answer."""
        return parallel.any_process(self.seen)
