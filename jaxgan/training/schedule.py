"""Steps, images and epochs of a run, and when something is due: pure functions of the step."""

from __future__ import annotations

import dataclasses
import math

from jaxgan.config import Config
from jaxgan.config.timetable import Timetable

# Two epoch counts nearer than this are one: 0.1 + 0.2 epochs are due together with 0.3.
_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Units of progress.

    Attributes:
      timetable: how many reals the critic is shown in every iteration.
      epoch_images: reals that make an epoch: the size of the dataset.
    """

    timetable: Timetable
    epoch_images: int

    def images(self, step: int) -> int:
        """Reals shown to the critic after `step` iterations."""
        return self.timetable.images(step)

    def epoch(self, step: int) -> float:
        """Epochs done after `step` iterations."""
        return self.images(step) / self.epoch_images

    def step_of(self, epoch: float) -> int:
        """The first step at which `epoch` epochs are done."""
        return self.timetable.step_of(epoch * self.epoch_images, _TOLERANCE)

    def next_due(self, step: int, every_iterations: int = 0, every_epochs: float = 0.0) -> float:
        """The first step after `step` at which one of two intervals is due; infinity when both are off (0)."""
        due = math.inf
        if every_iterations:
            due = (step // every_iterations + 1) * every_iterations
        if every_epochs:
            due = min(due, self._next_of_epochs(step, every_epochs))
        return due

    def is_due(self, step: int, every_iterations: int = 0, every_epochs: float = 0.0) -> bool:
        """Whether one of two intervals is due at `step`."""
        return self.next_due(step - 1, every_iterations, every_epochs) == step

    def _next_of_epochs(self, step: int, every: float) -> float:
        images, of_iteration = every * self.epoch_images, math.prod(self.timetable.layout(step))
        if images <= of_iteration:
            return step + 1  # Every iteration passes a multiple.
        if images / of_iteration > 2**62:
            return math.inf
        multiple = math.floor((self.images(step) + _TOLERANCE * of_iteration) / images) + 1
        if self.step_of(multiple * every) <= step:
            multiple += 1  # The division was rounded down, just below a multiple.
        return self.step_of(multiple * every)


def length_of(config: Config, size: int) -> tuple[Schedule, int]:
    """The schedule of a run and its length in iterations.

    Args:
      config: says batch size, critic updates, and how long to train.
      size: of the dataset.
    """
    schedule = Schedule(Timetable.of(config), size)
    return schedule, config.train.iterations or max(1, schedule.step_of(config.train.epochs))
