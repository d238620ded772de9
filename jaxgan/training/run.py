"""One run: what it is to be, and where it stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.data.dataset import Dataset, describe_data
from jaxgan.evaluation import Evaluator
from jaxgan.gan.build import build_gan
from jaxgan.gan.game import GAN
from jaxgan.gan.state import GANState
from jaxgan.objectives.perceptual import Features
from jaxgan.runs.checkpoint import into_state
from jaxgan.training.best import BestTracker
from jaxgan.training.frozen import perceptual_features
from jaxgan.training.health import Health
from jaxgan.training.origin import first_origin
from jaxgan.training.resume import check_same, find_resume_point, is_complete, say_complete, tracker_at
from jaxgan.training.resume_point import ResumePoint
from jaxgan.training.sample_files import picture_of
from jaxgan.training.schedule import Schedule, length_of


@dataclasses.dataclass
class Run:
    """What a run is to be, and where it stands.

    Attributes:
      config: what to train.
      run_dir: the run's folder.
      dataset: the reals.
      evaluator: measures the moving average during training, or None.
      schedule: steps, images and epochs.
      total: iterations that the run is to have.
      start: where this process starts from.
      best: the best model so far.
      health: what became of losses that were not finite.
      record: what every checkpoint says about the run, for JSON.
      complete: whether nothing is left to train, but samples are missing that the run should end with.
      step: iterations done.
      check_held: raises `Stopped` once the folder is no longer the one that this process holds.
      gan: what the step closes over.
      state: the game at `step`; given away by every call of the program.
    """

    config: Config
    run_dir: Path
    dataset: Dataset
    evaluator: Evaluator | None
    schedule: Schedule
    total: int
    start: ResumePoint
    best: BestTracker
    health: Health
    record: dict[str, Any]
    complete: bool = False
    step: int = 0
    check_held: Callable[[], None] = lambda: None
    gan: GAN = dataclasses.field(init=False)
    state: GANState = dataclasses.field(init=False)

    def check(self, point: ResumePoint) -> None:
        """Raises `InputError` where the run cannot be put where a checkpoint says; computes nothing."""
        if point.arrays is not None:
            features = perceptual_features(self.config)
            into_state(point.arrays, jax.eval_shape(lambda: self._build(features)[1]))

    def place(self, point: ResumePoint) -> None:
        """Puts the run where a checkpoint says, or at its beginning, with the learning rates that rollbacks left it."""
        self.gan, state = self._build(perceptual_features(self.config))
        self.state = state if point.arrays is None else into_state(point.arrays, state)
        self.step = point.step

    def _build(self, features: Features | None) -> tuple[GAN, GANState]:
        return build_gan(
            self.config,
            self.dataset.num_classes,
            self.total,
            parallel.AXIS,
            rate_factor=self.health.rate_factor,
            features=features,
        )


def plan_run(config: Config, run_dir: Path, dataset: Dataset, evaluator: Evaluator | None, resume: str) -> Run | None:
    """Reads what is in a run's folder and says what is left to do; writes nothing.

    Args:
      config: what to train.
      run_dir: the run's folder.
      dataset: the reals.
      evaluator: measures the moving average during training, or None.
      resume: "auto", "never", or the path of a run or checkpoint; see `resume.find_resume_point`.

    Returns:
      The run, not yet placed, or None when it is complete and its samples are drawn, which is said.

    Raises:
      InputError: folder, checkpoint or data do not fit.
    """
    start = find_resume_point(run_dir, resume)
    data_record = describe_data(dataset)
    check_same(start, config, data_record, run_dir)
    schedule, total = length_of(config, dataset.size)
    complete = is_complete(start, config, total)
    if complete and not (start.is_of(run_dir) and _lacks_samples(run_dir, start.step)):
        say_complete(start, run_dir)
        return None
    best = tracker_at(start, config, run_dir)
    record = {"config": config.to_dict(), "data": data_record, "total_iterations": total}
    if origin := first_origin(start, run_dir):
        record["origin"] = origin
    health = Health(config.train, **start.record.get("health", {}))
    run = Run(config, run_dir, dataset, evaluator, schedule, total, start, best, health, record, complete)
    run.check(start)
    return run


def _lacks_samples(run_dir: Path, step: int) -> bool:
    """As the main process sees it, which draws them; all must call it."""
    return parallel.decided_by_main_process("looking for samples", lambda: not picture_of(run_dir, step).exists())
