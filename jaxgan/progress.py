"""Which model is the best so far and whether to stop early: host-side books that travel in every checkpoint."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


@dataclasses.dataclass
class Progress:
    """The mean of one metric over each epoch, the best of them, and how long it has been so.

    Attributes:
      epoch_sum: of the metric over the current epoch's iterations.
      epoch_count: iterations summed.
      best_value: the best epoch's mean, or None before the first epoch has ended.
      best_step: the step at which that epoch ended.
      stale_epochs: epochs since then.
      complete: whether training has ended, by its length or early.
      stopped_early: whether patience ended it.
    """

    epoch_sum: float = 0.0
    epoch_count: int = 0
    best_value: float | None = None
    best_step: int | None = None
    stale_epochs: int = 0
    complete: bool = False
    stopped_early: bool = False

    def add(self, value: float) -> None:
        """Counts one iteration; a value that is not finite (a lazy penalty not due) is left out."""
        if math.isfinite(value):
            self.epoch_sum += value
            self.epoch_count += 1

    def end_epoch(self, step: int, direction: str) -> bool:
        """Closes an epoch; returns whether it is the best so far.

        Args:
          step: iterations done.
          direction: "min" or "max".
        """
        if not self.epoch_count:
            return False
        mean = self.epoch_sum / self.epoch_count
        self.epoch_sum, self.epoch_count = 0.0, 0
        sign = 1.0 if direction == "min" else -1.0
        if self.best_value is None or sign * mean < sign * self.best_value:
            self.best_value, self.best_step, self.stale_epochs = mean, step, 0
            return True
        self.stale_epochs += 1
        return False

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which keeps every bit of a float."""
        return dataclasses.asdict(self)
