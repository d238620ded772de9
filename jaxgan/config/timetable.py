"""How many critic updates, each of how many reals, every iteration of a run has; fixed, or one pair a growing stage."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from collections.abc import Iterable
from itertools import groupby

from jaxgan.config.schema import Config


@dataclasses.dataclass(frozen=True)
class Timetable:
    """Parts of a run, one after another; each has one pair, and the last has no end.

    Attributes:
      layouts: (n_critic, batch size over all devices) of each part.
      begins: the iterations done when each part begins; the first is 0.
      fades: the iterations in which each part fades in, where networks grow.
    """

    layouts: tuple[tuple[int, int], ...]
    begins: tuple[int, ...] = (0,)
    fades: tuple[int, ...] = (0,)

    @classmethod
    def of(cls, config: Config) -> Timetable:
        """What a config asks for."""
        n_critic, batch_size = config.objective.resolved().n_critic, config.train.batch_size
        plan = config.growing
        if not config.generator.grows:
            return cls(((n_critic, batch_size),))
        stages = plan.stages(config.data.size)
        layouts = tuple(
            zip(plan.n_critics or (n_critic,) * stages, plan.batch_sizes or (batch_size,) * stages, strict=True)
        )
        begins, fades = [0], []
        for stage, (updates, batch) in enumerate(layouts):
            fade, hold = (math.ceil(part / (updates * batch)) for part in (plan.fade_images, plan.hold_images))
            fades.append(fade if stage else 0)
            begins.append(begins[-1] + hold + (fade if stage or plan.fade_first else 0))
        return cls(layouts, tuple(begins[:-1]), tuple(fades))

    @property
    def in_words(self) -> tuple[str, str]:
        """(n_critic, batch size): "5", or where the parts differ "1 then 2"."""
        n_critics, batch_sizes = (
            " then ".join(str(n) for n, _ in groupby(each)) for each in zip(*self.layouts, strict=True)
        )
        return n_critics, batch_sizes

    def part(self, step: float) -> int:
        """Which part the iteration after `step` iterations belongs to."""
        return bisect_right(self.begins, step) - 1

    def layout(self, step: float) -> tuple[int, int]:
        """(n_critic, batch size) of the iteration after `step` iterations."""
        return self.layouts[self.part(step)]

    def images(self, step: int) -> int:
        """Reals that the critic has been shown after `step` iterations."""
        return self._sum(step, (updates * batch for updates, batch in self.layouts))

    def generated(self, step: int) -> int:
        """Images that the generator has been updated with after `step` iterations."""
        return self._sum(step, (batch for _, batch in self.layouts))

    def critic_updates(self, step: int) -> int:
        """Updates that the critic has had after `step` iterations."""
        return self._sum(step, (updates for updates, _ in self.layouts))

    def step_of(self, images: float, tolerance: float = 0.0) -> int:
        """The first step at which so many reals have been shown, to a tolerance in iterations."""
        part = max(k for k, begin in enumerate(self.begins) if k == 0 or self.images(begin) <= images)
        updates, batch = self.layouts[part]
        begin = self.begins[part]
        return begin + math.ceil((images - self.images(begin)) / (updates * batch) - tolerance)

    def _sum(self, step: int, each: Iterable[int]) -> int:
        ends = (*self.begins[1:], step)
        return sum(
            factor * (min(step, end) - begin)
            for factor, begin, end in zip(each, self.begins, ends, strict=True)
            if step > begin
        )


def in_last_stage(config: Config) -> Config:
    """A config whose every iteration is as those of the last stage are: what a step is measured with."""
    n_critic, batch_size = Timetable.of(config).layouts[-1]
    return dataclasses.replace(
        config,
        objective=dataclasses.replace(config.objective, n_critic=n_critic),
        train=dataclasses.replace(config.train, batch_size=batch_size),
        growing=dataclasses.replace(config.growing, batch_sizes=(), n_critics=()),
    )
