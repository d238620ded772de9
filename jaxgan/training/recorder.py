"""Everything the loop writes down: log lines, the best model, checkpoints, samples, figures."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.data.dataset import Dataset
from jaxgan.evaluation import Evaluator
from jaxgan.files import atomic_files, write_json
from jaxgan.gan.averaging import with_own_statistics
from jaxgan.gan.step import GAN
from jaxgan.inference.sampling import batch_size_for, generate, interpolate, latents
from jaxgan.pictures import image_grid, labelled_grid, write_grid, write_png
from jaxgan.reporting.report import write_report
from jaxgan.reporting.run_figures import make_figures
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.metrics_log import MetricsLog
from jaxgan.training.best import BestTracker
from jaxgan.training.schedule import Schedule

# Figures take some seconds: they are drawn again at a sampling only after so long, and at the end.
FIGURES_EVERY_SECONDS = 600.0
# A penalty that was not due is no number; these always are, or what was computed is worth nothing.
_MUST_BE_FINITE = {"critic_loss", "generator_loss", "critic_gradient_norm", "generator_gradient_norm"}
# Samples and reals kept as numbers, for the figures.
_KEPT = 16
_INTERPOLATION_STEPS = 10


class RunRecorder:
    """Everything the loop writes down: log lines, the best model, checkpoints, samples."""

    def __init__(self, config, schedule, gan, run_dir, checkpoints, log, best, record, dataset, evaluator):
        self.config: Config = config
        self.schedule: Schedule = schedule
        self.gan: GAN = gan
        self.run_dir: Path = run_dir
        self.checkpoints: Checkpoints = checkpoints
        self.metrics_log: MetricsLog | None = log
        self.best: BestTracker = best
        self.record: dict[str, Any] = record
        self.evaluator: Evaluator | None = evaluator
        self._evaluation_epochs = config.evaluate.every_images / schedule.epoch_images if evaluator is not None else 0.0
        self.folder = run_dir / "samples"
        self._figures_at = time.monotonic()
        self.num_classes = dataset.num_classes if config.critic.conditioning != "none" else 0
        if log is not None:
            self._write_reals(dataset)

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
        if self.evaluator is None or not self.schedule.is_due(step, every_epochs=self._evaluation_epochs):
            return {}
        values = dict.fromkeys(self.evaluator.names, math.nan)
        if self.metrics_log is not None:
            average = self._average(state)
            batch_size = batch_size_for(self.config.data.shape)

            def make(count: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
                z = latents(seed, count, self.gan.latent_dim)
                return generate(self.gan.generator, *average, z, labels, batch_size)

            values |= self.evaluator(make, self._labels(self.evaluator.num_samples))
        return parallel.from_main_process(values)

    def log(
        self, first: int, count: int, metrics: Mapping[str, np.ndarray], rate: float, evaluated: Mapping[str, float]
    ) -> None:
        """Counts every iteration; writes those that are due, each with the values of that one iteration.

        What was evaluated after the last of them stands in its line.
        """
        tracked = metrics.get(self.config.train.best_metric)
        for i in range(count):
            step = first + i + 1
            values = {name: float(series[i]) for name, series in metrics.items()}
            broken = [name for name, value in values.items() if name in _MUST_BE_FINITE and not math.isfinite(value)]
            if broken:
                raise FloatingPointError(
                    f"{' and '.join(broken)} not finite at step {step}: lower config.optimizer.lr, or go on from an"
                    f" earlier checkpoint in {self.checkpoints.directory}"
                )
            if tracked is not None:
                self.best.add(float(tracked[i]))
            extra = evaluated if i == count - 1 else {}
            if self.metrics_log is not None and (extra or step % self.config.train.log_every_iterations == 0):
                position = {"step": step, "images": self.schedule.images(step), "epoch": self.schedule.epoch(step)}
                self.metrics_log.write({**position, **values, "images_per_second": rate, **extra})

    def summary(self, metrics: Mapping[str, np.ndarray], i: int, rate: float) -> dict[str, str]:
        """What the bar shows."""
        return {
            "critic": f"{metrics['critic_loss'][i]:.3f}",
            "generator": f"{metrics['generator_loss'][i]:.3f}",
            "images/s": f"{rate:.0f}",
        }

    def judge(self, step: int, evaluated: Mapping[str, float]) -> bool:
        """Whether there is a new best model, by an evaluated metric or an epoch's mean; counts patience."""
        settings, best = self.config.train, self.best
        value = evaluated.get(settings.best_metric)
        if self.schedule.is_due(step, every_epochs=1.0):
            mean = best.epoch_mean()
            value = mean if value is None else value
        if value is None:
            return False
        improved = best.judge(value, step, settings.best_direction)
        since = max(best.best_step or step, best.patience_from)
        stale = round(self.schedule.epoch(step)) - round(self.schedule.epoch(since))
        if settings.early_stopping_patience and stale >= settings.early_stopping_patience and not best.complete:
            best.complete = best.stopped_early = True
            parallel.say(
                f"stopping early at step {step}: {settings.best_metric} has not improved on {best.best_value}"
                f" for {stale} epochs"
            )
        return improved

    def is_regular(self, step: int) -> bool:
        """Whether a checkpoint is due at a step by its interval."""
        settings = self.config.train
        return self.schedule.is_due(step, settings.checkpoint_every_iterations, settings.checkpoint_every_epochs)

    def save(self, step: int, state: Any, metrics: Mapping[str, np.ndarray], i: int) -> None:
        """Begins to write a checkpoint of a state in host memory, with the values of the iteration it ends with."""
        progress = self.best.to_dict()
        values = {name: float(series[i]) for name, series in metrics.items()}
        position = {"step": step, "epoch": self.schedule.epoch(step), "images": self.schedule.images(step)}
        values = {name: value if math.isfinite(value) else None for name, value in values.items()}
        record = {**self.record, **position, "progress": progress, "metrics": values}
        self.checkpoints.save(step, self._with_own_statistics(state), record, self.best.best_step)

    def sample(self, step: int, state: Any, last: bool) -> None:
        """Samples of the moving average from latents that stay the same for the whole run; figures now and then."""
        if self.metrics_log is None:
            return
        count = self.config.train.num_samples
        z, labels = latents(self.config.seed, count, self.gan.latent_dim), self._labels(count)
        average = self._average(state)
        make = partial(generate, self.gan.generator, *average, batch_size=batch_size_for(self.config.data.shape))
        samples = make(z, labels)
        grid = image_grid(samples) if labels is None else labelled_grid(samples, labels)
        path = write_png(self.folder / f"step_{step:08d}.png", grid, overwrite=True)
        _write_array(self.folder / f"step_{step:08d}.npy", samples[:_KEPT])
        self.metrics_log.image("samples", grid, step)
        parallel.say(f"step {step} (epoch {self.schedule.epoch(step):.2f}): {path}")
        if last:
            # Within one class, from the first fixed latent to the second.
            way = interpolate(z[0], z[1 % count], _INTERPOLATION_STEPS)
            same = None if labels is None else np.full(_INTERPOLATION_STEPS, labels[0])
            _write_array(self.folder / "interpolation.npy", make(way, same))
        if last or time.monotonic() - self._figures_at > FIGURES_EVERY_SECONDS:
            make_figures(self.run_dir)
            write_report(self.run_dir)
            self._figures_at = time.monotonic()

    def _with_own_statistics(self, state: Any) -> Any:
        gan = self.gan
        return with_own_statistics(
            gan.generator, parallel.to_host(state), gan.latent_dim, self.num_classes, gan.axis_name
        )

    def _average(self, state: Any) -> tuple[Any, Any]:
        state = self._with_own_statistics(state)
        return state.ema_params, state.ema_stats

    def _labels(self, count: int) -> np.ndarray | None:
        """All classes in turn, or None for an unconditional generator."""
        return np.resize(np.arange(self.num_classes), count) if self.num_classes else None

    def _write_reals(self, dataset: Dataset) -> None:
        # Spread over the set, which may lie sorted by class.
        count = min(self.config.train.num_samples, dataset.size)
        chosen = np.linspace(0, dataset.size - 1, count).astype(int)
        reals = np.asarray(dataset.scaling.decode(dataset.read(chosen)))
        write_grid(self.folder / "real.png", reals, overwrite=True)
        _write_array(self.folder / "real.npy", reals[np.linspace(0, count - 1, min(_KEPT, count)).astype(int)])
        write_json(self.folder / "scaling.json", dataset.scaling.to_dict())


def _write_array(path: Path, array: np.ndarray) -> None:
    with atomic_files([path], overwrite=True) as (temporary,):
        np.save(temporary, array, allow_pickle=False)
