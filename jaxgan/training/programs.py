"""The compiled programs of a run: one, or one a stage of growing networks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from jaxgan import parallel
from jaxgan.gan.game import GAN
from jaxgan.gan.step import train_many


class Programs:
    """Gives the program for a step; it is compiled when it is first called.

    Args:
      gan: what the step closes over.
      load_batch: as in `step.train_many`.
      data_axes: as in `parallel.map_train`.
    """

    def __init__(self, gan: GAN, load_batch: Callable[..., Any], data_axes: Any = None):
        self._gan, self._load_batch, self._data_axes = gan, load_batch, data_axes
        self._made: dict[int, Callable[..., Any]] = {}

    def at(self, step: int) -> Callable[..., Any]:
        """The program that runs the iterations from `step` to the next change."""
        stage = 0 if self._gan.growth is None else self._gan.growth.stage(step)
        if stage not in self._made:
            train = partial(train_many, self._gan.at(step), self._load_batch)
            self._made[stage] = parallel.map_train(train, data_axes=self._data_axes)
        return self._made[stage]

    def next_change(self, step: int) -> float:
        """The step from which another program is needed; infinity where there is none."""
        return math.inf if self._gan.growth is None else self._gan.growth.next_begin(step)
