"""Evaluation during training: the same numbers, every so often, against a summary of the reals made once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.errors import InputError
from jaxgan.evaluation.evaluate import evaluate
from jaxgan.evaluation.networks.extractor import choose_extractor
from jaxgan.evaluation.registry import METRICS, needs_extractor, parse_metrics, reported_names
from jaxgan.evaluation.sources import dataset_source, generator_source
from jaxgan.evaluation.summary import Summary

# All of the sets that the presets were made for: more would cost hours of features on a CPU.
MOST_REALS = 100_000


class Evaluator:
    """Measures a generator against a dataset; call it as often as wanted."""

    def __init__(
        self,
        dataset: Dataset,
        metrics: str | Iterable[str],
        num_samples: int,
        cache_dir: str | Path | None = None,
        inception_weights: str | Path | None = None,
        seed: int = 0,
        training: Dataset | None = None,
        conditional: bool | None = None,
    ):
        """Checks everything that can be wrong, so that training does not fail hours later.

        Args:
          dataset: the reals to compare with: the training data, or what was held out of them.
          metrics: names as for `evaluate`.
          num_samples: generated samples a call.
          cache_dir: where the reals' summary is kept; defaults to the user's cache folder.
          inception_weights: for FID, KID and the Inception Score; without them VGG16 features are used, and the
            distances are called `fd_vgg16` and `kd_vgg16`.
          seed: of the generated samples; the same at every call, so that calls can be compared.
          training: the training data, where `dataset` was held out of them: for what looks for copies, or trains.
          conditional: whether the generator takes classes; None: where the data have some.

        Raises:
          InputError: an unknown metric, one that these data or this generator do not allow, a wrong weights file, VGG16
            weights that are not installed.
        """
        self.metrics = parse_metrics(metrics)
        self._check_fit(dataset, dataset.labels is not None if conditional is None else conditional)
        self._training = None if training is None else dataset_source(training, MOST_REALS)
        self._training_summary: Summary | None = None
        self._trained_on = training
        self.num_samples = num_samples
        self._dataset, self._cache_dir, self._seed = dataset, cache_dir, seed
        folder = None if cache_dir is None else Path(cache_dir)
        self._extractor = choose_extractor(inception_weights, folder) if needs_extractor(self.metrics) else None
        self._real = dataset_source(dataset, MOST_REALS)
        self._summary: Summary | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that every call reports, e.g. to check a `best_metric` before training."""
        heldout, volumes = self._training is not None, len(self._dataset.shape) == 4
        return reported_names(self.metrics, self._extractor, heldout, volumes)

    def _check_fit(self, dataset: Dataset, conditional: bool) -> None:
        """Raises `InputError` in one line for a metric that could only be skipped later."""
        for name in self.metrics:
            metric, reason = METRICS[name], None
            if metric.labelled and dataset.labels is None:
                reason = "needs labelled data"
            elif metric.conditional and not conditional:
                reason = "needs a conditional generator: set config.critic.conditioning"
            elif metric.volumes and len(dataset.shape) != 4:
                reason = "is of volumes alone"
            elif metric.critic:
                reason = "is measured by 'evaluate' after the training"
            if reason:
                raise InputError(f"config.evaluate.metrics: {name} {reason}, or leave it out")

    def __call__(self, generate: Callable[..., np.ndarray], labels: np.ndarray | None = None) -> dict[str, float]:
        """Evaluates a generator.

        Args:
          generate: `generate(n, seed) -> [n, *shape]` in [-1, 1]; with `labels`, `generate(n, seed, labels [n])`.
          labels: `[num_samples]` classes to generate, for a conditional generator.

        Returns:
          Values by reported name, e.g. `{"fd_vgg16": 12.3, "swd": 4.5}`.
        """
        make = generate if labels is not None else lambda n, seed, _: generate(n, seed)
        fake = generator_source(make, self.num_samples, self._dataset.shape, self._seed, labels)
        evaluation = evaluate(
            self._real.batches() if self._summary is None else self._summary,
            fake.batches(),
            self.metrics,
            extractor=self._extractor,
            scaling=self._dataset.scaling,
            class_names=self._dataset.class_names,
            real_fingerprint=self._real.fingerprint,
            cache_folder=self._cache_dir,
            training_batches=self._training_batches(),
            training_fingerprint=None if self._training is None else self._training.fingerprint,
            training_size=(self._dataset if self._trained_on is None else self._trained_on).size,
            spacing=self._dataset.spacing,
        )
        self._summary, self._training_summary = evaluation.real, evaluation.training
        return evaluation.values()

    def _training_batches(self) -> Iterable | Summary | None:
        if self._training is None:
            return None
        return self._training.batches() if self._training_summary is None else self._training_summary
