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

MOST_REALS = 50_000


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
    ):
        """Checks everything that can be wrong, so that training does not fail hours later.

        Args:
          dataset: the training data.
          metrics: names as for `evaluate`.
          num_samples: generated samples a call.
          cache_dir: where the reals' summary is kept; defaults to the user's cache folder.
          inception_weights: for FID, KID and the Inception Score; without them VGG16 features are used, and the
            distances are called `fd_vgg16` and `kd_vgg16`.
          seed: of the generated samples; the same at every call, so that calls can be compared.

        Raises:
          InputError: an unknown metric, a wrong weights file, VGG16 weights that are not installed.
        """
        self.metrics = parse_metrics(metrics)
        if dataset.labels is None and (labelled := [name for name in self.metrics if METRICS[name].labelled]):
            raise InputError(f"evaluate.metrics: {', '.join(labelled)} needs labelled data: leave it out")
        self.num_samples = num_samples
        self._dataset, self._cache_dir, self._seed = dataset, cache_dir, seed
        folder = None if cache_dir is None else Path(cache_dir)
        self._extractor = choose_extractor(inception_weights, folder) if needs_extractor(self.metrics) else None
        self._real = dataset_source(dataset, MOST_REALS)
        self._summary: Summary | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names that every call reports, e.g. to check a `best_metric` before training."""
        return reported_names(self.metrics, self._extractor)

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
        )
        self._summary = evaluation.real
        return evaluation.values()
