"""Everything the loop writes down: log lines, the best model, checkpoints, samples."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import parallel
from jaxgan.data.dataset import Dataset
from jaxgan.files import atomic_files, write_json
from jaxgan.gan.averaging import STATISTICS_SAMPLES, with_own_statistics
from jaxgan.inference.sampling import batch_size_for, generate, interpolate, latents
from jaxgan.pictures import grid, window_of, write_png
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.metrics_log import MetricsLog
from jaxgan.training import sample_files
from jaxgan.training.calls import Call
from jaxgan.training.drawing import Drawing
from jaxgan.training.health import Verdict, of_samples, spread
from jaxgan.training.run import Run

# Samples and reals kept as numbers, for the figures.
_KEPT = 16
_INTERPOLATION_STEPS = 10


class RunRecorder:
    """Everything the loop writes down: log lines, the best model, checkpoints, samples.

    Args:
      run: what is trained.
      regular: steps whose checkpoints were due when an earlier process saved them.

    Attributes:
      checkpoints: of the run; to be set before anything is saved.
      metrics_log: in the process that writes, else None.
    """

    def __init__(self, run: Run, regular: Sequence[int] = ()):
        self.run = run
        self.config = run.config
        self.schedule = run.schedule
        self.checkpoints: Checkpoints
        self.metrics_log: MetricsLog | None = None
        evaluate = run.config.evaluate.every_images / run.schedule.epoch_images
        self._evaluation_epochs = evaluate if run.evaluator is not None else 0.0
        self._folder = run.run_dir / sample_files.FOLDER
        self._saved_at = time.monotonic()
        self._drawing = Drawing(run.run_dir)
        self._window: tuple[float, float] | None = None
        self._regular = list(regular)
        self._real_spread = math.nan
        self.num_classes = run.dataset.num_classes if run.config.critic.conditioning != "none" else 0
        self._learnt_mix = self._labels_as_learnt(STATISTICS_SAMPLES)

    def open_log(self, log: MetricsLog) -> None:
        """Makes this the process that writes: logs, samples and figures."""
        self.metrics_log = log
        log.settings(self.config.fields())
        self._write_reals(self.run.dataset, log)

    def next_boundary(self, step: int) -> float:
        """The next step at which the host has something to do."""
        settings = self.config.train
        return min(
            self.schedule.next_due(step, settings.checkpoint_every_iterations, settings.checkpoint_every_epochs),
            self.schedule.next_due(step, settings.sample_every_iterations, settings.sample_every_epochs),
            self.schedule.next_due(step, every_epochs=1.0),
            self.schedule.next_due(step, every_epochs=self._evaluation_epochs),
        )

    def evaluate(self, step: int, state: Any) -> dict[str, float]:
        """Measures the moving average when that is due; returns values by name, the same in every process."""
        if self.run.evaluator is None or not self.schedule.is_due(step, every_epochs=self._evaluation_epochs):
            return {}
        values = dict.fromkeys(self.run.evaluator.names, math.nan)
        if self.metrics_log is not None:
            average = self._average(state)
            batch_size = batch_size_for(self.config.data.shape)

            def make(count: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
                z = latents(seed, count, self.run.gan.latent_dim)
                return generate(self.run.gan.generator, *average, z, labels, batch_size, stretch=self.run.gan.stretch)

            count = self.run.evaluator.num_samples
            labels = self.run.dataset.drawn_labels(count, self.config.seed) if self.num_classes else None
            values |= self.run.evaluator(make, labels)
        return parallel.from_main_process(values)

    def log(
        self,
        first: int,
        count: int,
        metrics: Mapping[str, np.ndarray],
        rate: float,
        evaluated: Mapping[str, float],
    ) -> None:
        """Counts every iteration; writes those that are due and the run's last, each with the values of that one.

        What was evaluated after the last of them stands in its line.
        """
        tracked = metrics.get(self.config.train.best_metric)
        every, total = self.config.train.log_every_iterations, self.run.total
        for i in range(count):
            step = first + i + 1
            values = {name: float(series[i]) for name, series in metrics.items()}
            if tracked is not None:
                self.run.best.add(float(tracked[i]))
            extra = evaluated if i == count - 1 else {}
            if self.metrics_log is not None and (extra or step % every == 0 or step == total):
                self.metrics_log.write({**self._position(step), **values, "images_per_second": rate, **extra})

    def judge(self, step: int, evaluated: Mapping[str, float]) -> bool:
        """Whether there is a new best model, by an evaluated metric or an epoch's mean; counts patience."""
        settings, best = self.config.train, self.run.best
        value = evaluated.get(settings.best_metric)
        in_between = value is not None
        if self.schedule.is_due(step, every_epochs=1.0):
            mean = best.epoch_mean()
            value = mean if value is None else value
        if value is None:
            return False
        improved = best.judge(value, step, settings.best_direction)
        since = max(best.best_step or step, best.patience_from)
        begin, end = (self.schedule.epoch(which) + 1e-9 for which in (since, step))
        # The mean of an epoch is judged in the iteration that completes it, others at any part of an epoch.
        stale = math.floor(end - begin + 1e-9) if in_between else math.floor(end) - math.floor(begin)
        if settings.early_stopping_patience and stale >= settings.early_stopping_patience and not best.complete:
            best.complete = best.stopped_early = True
            parallel.say(
                f"stopping early at step {step}: {settings.best_metric} has not improved on {best.best_value}"
                f" for {stale} epochs"
            )
        return improved

    def is_regular(self, step: int) -> bool:
        """Whether the checkpoint of a step was due when it was saved: by what was asked for then, not now."""
        return step in self._regular

    def is_save_due(self, step: int) -> bool:
        """Whether a checkpoint is due, by its interval or the first process's clock, which is remembered.

        All processes of a job must call it, and get the same answer.
        """
        settings = self.config.train
        due = self.schedule.is_due(step, settings.checkpoint_every_iterations, settings.checkpoint_every_epochs)
        if minutes := settings.checkpoint_every_minutes:
            passed = time.monotonic() - self._saved_at >= 60.0 * minutes
            due |= parallel.any_process(parallel.is_main_process() and passed)
        if due:
            self._regular.append(step)
        return due

    def save(self, step: int, state: Any, metrics: Mapping[str, np.ndarray], i: int) -> None:
        """Begins to write a checkpoint of a state in host memory, with the values of the iteration it ends with."""
        values = {name: float(series[i]) for name, series in metrics.items()}
        record = {
            **self.run.record,
            "step": step,
            "epoch": self.schedule.epoch(step),
            "images": self.schedule.images(step),
            "progress": self.run.best.to_dict(),
            "health": self.run.health.to_dict(),
            "metrics": {name: value if math.isfinite(value) else None for name, value in values.items()},
        }
        there = {*self.checkpoints.steps(), step}
        record["regular_checkpoints"] = self._regular = [regular for regular in self._regular if regular in there]
        if self.metrics_log is not None:
            record["log"] = self.metrics_log.summary()
        self.checkpoints.save(step, self._with_own_statistics(state), record, self.run.best.best_step)
        self._saved_at = time.monotonic()

    def roll_back(self, broken: int) -> None:
        """Forgets what was logged after the step that the run was put back to, and logs that it was.

        Args:
          broken: the iteration that was not finite.
        """
        self._regular = [step for step in self._regular if step <= self.run.step]
        if self.metrics_log is not None:
            health = self.run.health
            self.metrics_log.rewind(self.run.step, health.rollbacks)
            event = {"rollbacks": health.rollbacks, "rolled_back_from": broken, "rate_factor": health.rate_factor}
            self.metrics_log.write({**self._position(self.run.step), **event})

    def sample(self, step: int, state: Any, last: bool, call: Call | None = None) -> Verdict:
        """Samples of the moving average from latents that stay the same for the whole run; figures now and then.

        Args:
          step: iterations done.
          state: the game at that step.
          last: whether the run ends there: then with interpolation, figures and report.
          call: what ended there; None where this process has not trained yet.
        """
        if self.metrics_log is None:
            return Verdict()
        count = self._shown
        z, labels = latents(self.config.seed, count, self.run.gan.latent_dim), self._labels(count)
        average = self._average(state)
        gan, size = self.run.gan, batch_size_for(self.config.data.shape)
        make = partial(generate, gan.generator, *average, batch_size=size, stretch=gan.stretch)
        samples = make(z, labels)
        _write_array(sample_files.numbers_of(self.run.run_dir, step), samples[: self._kept])
        if last:
            # Within one class, from the first fixed latent to the second.
            way = interpolate(z[0], z[1 % count], _INTERPOLATION_STEPS)
            same = None if labels is None else np.full(_INTERPOLATION_STEPS, labels[0])
            _write_array(self._folder / "interpolation.npy", make(way, same))
            write_json(self._folder / "interpolation.json", {"step": step})
        self._drawing.now_and_then(last)
        self._show(step, samples, labels, self.metrics_log)
        gradient_norms = np.zeros(0) if call is None else call.metrics["generator_gradient_norm"][: call.count]
        return of_samples(step, samples, labels, self._real_spread, gradient_norms)

    def sample_what_is_missing(self, complete: bool) -> Verdict:
        """What was due where this process starts from, and an earlier one did not come to.

        Args:
          complete: whether the run ended there.
        """
        step, every = self.run.step, self.config.train
        due = complete or self.schedule.is_due(step, every.sample_every_iterations, every.sample_every_epochs)
        if not due or sample_files.picture_of(self.run.run_dir, step).exists():
            return Verdict()
        return self.sample(step, self.run.state, complete)

    def _show(self, step: int, samples: np.ndarray, labels: np.ndarray | None, log: MetricsLog) -> None:
        picture = self._grid(samples, labels)
        log.image("samples", picture, step)
        log.histogram("values/samples", self.run.dataset.scaling.restore(samples), step)
        path = write_png(sample_files.picture_of(self.run.run_dir, step), picture, overwrite=True)
        parallel.say(f"step {step} (epoch {self.schedule.epoch(step):.2f}): {path}")

    def _position(self, step: int) -> dict[str, float]:
        return {"step": step, "images": self.schedule.images(step), "epoch": self.schedule.epoch(step)}

    def _with_own_statistics(self, state: Any) -> Any:
        gan = self.run.gan
        return with_own_statistics(
            gan.generator, parallel.to_host(state), gan.latent_dim, self._learnt_mix, gan.axis_name
        )

    def _average(self, state: Any) -> tuple[Any, Any]:
        state = self._with_own_statistics(state)
        return state.ema_params, state.ema_stats

    def _grid(self, samples: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        dataset = self.run.dataset
        return grid(samples, labels=labels, names=dataset.class_names, affine=dataset.affine, window=self._window)

    def _labels(self, count: int) -> np.ndarray | None:
        """All classes in turn, or None for an unconditional generator."""
        return np.resize(np.arange(self.num_classes, dtype=np.int32), count) if self.num_classes else None

    def _labels_as_learnt(self, count: int) -> np.ndarray | None:
        """Classes in the shares that training shows, or None for an unconditional generator."""
        if not self.num_classes or self.config.data.balanced:
            return self._labels(count)
        return self.run.dataset.drawn_labels(count, self.config.seed)

    @property
    def _shown(self) -> int:
        """Samples in a grid: `num_samples`, or somewhat fewer, so that it has as many of each class."""
        count = self.config.train.num_samples
        return count - count % self.num_classes if 0 < self.num_classes <= count else count

    @property
    def _kept(self) -> int:
        """Samples kept as numbers: 16, or somewhat more, so that there are as many of each class."""
        classes = max(1, self.num_classes)
        return min(self._shown, classes * math.ceil(_KEPT / classes))

    def _write_reals(self, dataset: Dataset, log: MetricsLog) -> None:
        """Training samples for comparison, of the same classes as the samples, and what both are."""
        labels = self._labels(self._shown)
        chosen = _spread(dataset, min(self._shown, dataset.size), labels)
        reals = np.asarray(dataset.scaling.decode(dataset.read(chosen)))
        self._real_spread, self._window = spread(reals), window_of(reals)
        log.histogram("values/reals", dataset.scaling.restore(reals), self.run.step)
        of_reals = None if labels is None or dataset.labels is None else dataset.labels[chosen]
        write_png(self._folder / "real.png", self._grid(reals, of_reals), overwrite=True)
        kept = np.linspace(0, len(reals) - 1, min(self._kept, len(reals))).astype(int)
        if of_reals is not None:
            kept = np.arange(min(self._kept, len(reals)))  # in the order of the samples
        _write_array(self._folder / "real.npy", reals[kept])
        write_json(self._folder / "scaling.json", dataset.scaling.to_dict())
        about = {
            "data": dataset.name,
            "data_size": dataset.size,
            "class_names": list(dataset.class_names),
            "labels": None if labels is None else labels[: self._kept].tolist(),
            "real_labels": None if of_reals is None else of_reals[kept].tolist(),
            "affine": None if dataset.affine is None else np.asarray(dataset.affine).tolist(),
            "spacing": None if dataset.spacing is None else [float(side) for side in dataset.spacing],
        }
        write_json(self._folder / "about.json", about)


def _spread(dataset: Dataset, count: int, labels: np.ndarray | None) -> np.ndarray:
    """Indices of `count` samples from all over the set, which may lie sorted by class; with labels, of these classes.

    A class of which there are too few samples shows some of them again; one without any is left out.
    """
    if labels is None or dataset.labels is None:
        return np.linspace(0, dataset.size - 1, count).astype(int)
    chosen = np.full(len(labels), -1)
    for label in np.unique(labels):
        members, places = np.flatnonzero(dataset.labels == label), np.flatnonzero(labels == label)
        if len(members):
            chosen[places] = members[np.linspace(0, len(members) - 1, len(places)).astype(int)]
    return chosen[chosen >= 0]


def _write_array(path: Path, array: np.ndarray) -> None:
    with atomic_files([path], overwrite=True) as (temporary,):
        np.save(temporary, array, allow_pickle=False)
