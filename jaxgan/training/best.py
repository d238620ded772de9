"""Which model is the best so far: host-side values that travel in every checkpoint."""

from __future__ import annotations

import dataclasses
import math
from typing import Any


@dataclasses.dataclass
class BestTracker:
    """The best value of one metric, and the mean of a training metric over the current epoch.

    Attributes:
      epoch_sum: of the metric over the current epoch's iterations.
      epoch_count: iterations summed.
      best_value: the best value judged, or None before the first.
      best_step: the step at which it was judged.
      patience_from: the step from which patience counts at the earliest: where a finished run was continued.
      complete: whether training has ended, by its length or early.
      stopped_early: whether patience ended it.
    """

    epoch_sum: float = 0.0
    epoch_count: int = 0
    best_value: float | None = None
    best_step: int | None = None
    patience_from: int = 0
    complete: bool = False
    stopped_early: bool = False

    def add(self, value: float) -> None:
        """Counts one iteration; a value that is not finite (a lazy penalty not due) is left out."""
        if math.isfinite(value):
            self.epoch_sum += value
            self.epoch_count += 1

    def epoch_mean(self) -> float | None:
        """The mean since the last call, which it ends; None when nothing was counted."""
        mean = self.epoch_sum / self.epoch_count if self.epoch_count else None
        self.epoch_sum, self.epoch_count = 0.0, 0
        return mean

    def judge(self, value: float, step: int, direction: str) -> bool:
        """Whether a value is the best so far, which it then becomes.

        Args:
          value: of the metric.
          step: iterations done.
          direction: "min" or "max".
        """
        sign = 1.0 if direction == "min" else -1.0
        if not math.isfinite(value) or (self.best_value is not None and sign * value >= sign * self.best_value):
            return False
        self.best_value, self.best_step = value, step
        return True

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which keeps every bit of a float."""
        return dataclasses.asdict(self)
