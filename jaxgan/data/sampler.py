"""The order of samples, a pure function of (seed, step): a checkpoint needs no iterator and a resume is exact.

Samples stand in one endless line of epochs, each a fresh permutation; batch after batch is cut from the line, so that
every sample is drawn once an epoch and no remainder is dropped.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from jaxgan.config.timetable import Timetable


class Sampler:
    """Indices of the reals of every iteration.

    Args:
      size: number of samples.
      seed: of the order.
      timetable: how many reals every iteration takes.
      labels: int `[size]`; given, an epoch holds every class equally often: the smaller classes are repeated, each
        sample as often as the next within one.
    """

    def __init__(self, size: int, seed: int, timetable: Timetable, labels: np.ndarray | None = None):
        self.size = size
        self.timetable = timetable
        self._seed = seed
        self._classes = None
        if labels is not None:
            classes = [np.flatnonzero(labels == c) for c in np.unique(labels)]
            self._classes = classes
            self._share = -(-size // len(classes))
        self.epoch_size = size if self._classes is None else self._share * len(self._classes)
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def indices(self, step: int) -> np.ndarray:
        """int64 `[n_critic, batch size]`: the samples of iteration `step`, in order."""
        layout = self.timetable.layout(step)
        first = self.timetable.images(step)
        parts, needed = [], math.prod(layout)
        while needed:
            epoch, offset = divmod(first, self.epoch_size)
            part = self._epoch(epoch)[offset : offset + needed]
            parts.append(part)
            first += len(part)
            needed -= len(part)
        return np.concatenate(parts).reshape(layout)

    def _permutation(self, epoch: int) -> np.ndarray:
        if self._classes is None:
            return self._shuffle(self.size, epoch, 0)
        drawn = []
        for number, members in enumerate(self._classes, start=1):
            # Class after class walks through its own endless line of permutations, `share` samples an epoch.
            first = epoch * self._share
            rounds = range(first // len(members), (first + self._share - 1) // len(members) + 1)
            line = np.concatenate([members[self._shuffle(len(members), r, number)] for r in rounds])
            offset = first % len(members)
            drawn.append(line[offset : offset + self._share])
        line = np.concatenate(drawn)
        return line[self._shuffle(len(line), epoch, 0)]

    def _shuffle(self, count: int, epoch: int, stream: int) -> np.ndarray:
        # Sorting raw Philox bits, not Generator.permutation: NumPy promises that the former never change.
        bits = np.random.Philox(key=[self._seed, (epoch << 20) + stream]).random_raw(count)
        return np.argsort(bits, kind="stable")
