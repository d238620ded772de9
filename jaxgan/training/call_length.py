"""How many iterations one call of the compiled program runs."""

from __future__ import annotations

import jax

from jaxgan import parallel

# A longer call hides more of the host's work, and on a CPU reuses its temporary memory (fresh pages are slow).
LONGEST = {"cpu": 8}
LONGEST_ACCELERATOR = 32
# Between calls a job hears that it is being stopped; schedulers give it half a minute to save.
CALL_SECONDS = 10.0


class CallLength:
    """Learns from the second call (the first one compiles) how many iterations the next ones should run.

    The results do not depend on it: calls cut anywhere give the same bits (`step.train_many`).

    Args:
      fixed: always this many; 0 for as many as fit into `CALL_SECONDS`, at most a platform's `LONGEST`.
      platform: "cpu", "gpu" or "tpu", what runs them; None: what this process computes on.

    Attributes:
      longest: the most that a call will ever run.
      iterations: how many the next call should run; every process of a job has the same number.
    """

    def __init__(self, fixed: int = 0, platform: str | None = None):
        self.longest = fixed or LONGEST.get(platform or jax.default_backend(), LONGEST_ACCELERATOR)
        self._fixed = fixed
        self.learn()

    def learn(self) -> None:
        """Start anew: what comes is another program."""
        self.iterations = self._fixed or 1
        self._calls = -1 if self._fixed else 0

    def ran(self, iterations: int, seconds: float) -> None:
        """Take note of a call. All processes must call it alike."""
        if self._calls < 0 or self._calls > 1:
            return
        self._calls += 1
        if self._calls == 2:
            each = parallel.from_main_process({"seconds": seconds / iterations})["seconds"]
            self.iterations = max(1, min(self.longest, int(CALL_SECONDS / max(each, 1e-6))))
