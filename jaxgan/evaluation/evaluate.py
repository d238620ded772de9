"""`evaluate`: two sets of images in, every number with the protocol that it was made by out."""

from __future__ import annotations

import contextlib
import dataclasses
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxgan import files
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.evaluation.gather import summarise
from jaxgan.evaluation.intervals import add_intervals
from jaxgan.evaluation.metric import CannotMeasure, Critic, Distributions, Measurement, Report
from jaxgan.evaluation.metrics.memorisation import Memorisation
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.per_class import per_class
from jaxgan.evaluation.registry import METRICS, default_metrics, parse_metrics, value_of
from jaxgan.evaluation.summary import Summary


@dataclasses.dataclass
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
      metrics: by reported name, e.g. "fd_vgg16" or "fid".
      per_class: for each class name the kernel and Fréchet distances within the class.
      warnings: what limits the trust in the numbers.
      skipped: metrics asked for that could not be computed, and why.
      real: summary of the real set.
      generated: summary of the generated set.
      training: summary of what was trained on: the real set where nothing else was said.
      copies: the search for copies by space ("pixels", the extractor's name).
      distributions: what was measured of each sample of both sets, by reported name.
    """

    metrics: dict[str, Measurement]
    per_class: dict[str, dict[str, float]]
    warnings: list[str]
    skipped: dict[str, str]
    real: Summary
    generated: Summary
    training: Summary
    copies: dict[str, Memorisation]
    distributions: dict[str, Distributions]

    def values(self) -> dict[str, float]:
        """Every value by name."""
        return {name: measurement.value for name, measurement in self.metrics.items()}

    def to_dict(self) -> dict[str, Any]:
        """All but the summaries, ready for JSON."""
        return {
            "metrics": {name: dataclasses.asdict(m) | _record_of(name) for name, m in self.metrics.items()},
            "per_class": self.per_class,
            "warnings": self.warnings,
            "skipped": self.skipped,
        }


def _record_of(name: str) -> dict[str, str]:
    value = value_of(name)
    assert value is not None  # what was measured is registered
    return {"better": value.better, "aspect": value.aspect}


def evaluate(
    real_batches: Iterable | Summary,
    generated_batches: Iterable,
    metrics: Iterable[str] | None = None,
    *,
    extractor: Extractor | None = None,
    scaling: Scaling | None = None,
    class_names: tuple[str, ...] = (),
    split: str = "train",
    real_fingerprint: str | None = None,
    cache_folder: str | Path | None = None,
    resamples: int = 0,
    heldout_batches: Iterable | None = None,
    training_batches: Iterable | Summary | None = None,
    training_fingerprint: str | None = None,
    training_size: int | None = None,
    critic: Critic | None = None,
    spacing: tuple[float, ...] | None = None,
    progress: Callable[[str], object] | None = None,
) -> Evaluation:
    """Compares generated with real images.

    Args:
      real_batches: iterable of `[n, *shape]` float32 in [-1, 1], or of pairs of these and labels `[n]`; 2D or 3D. Or
        the `Evaluation.real` of an earlier call with the same metrics and extractor, which saves the pass.
      generated_batches: as the first kind.
      metrics: names from `registry.METRICS`; None: the default ones.
      extractor: from `choose_extractor`; None leaves out the metrics that need features.
      scaling: gives the histogram distance in original units; None: in units of [-1, 1].
      class_names: for the per-class report; without them classes are numbered.
      split: of the real data, for the protocol.
      real_fingerprint: hash of everything that decides the real batches' content and order; with it the real
        summary is cached, and `real_batches` is not read when it is known.
      cache_folder: defaults to `files.cache_folder()`.
      resamples: draws behind the 95% interval of each number; 0: no intervals.
      heldout_batches: real images that were held out of the training, for what needs them.
      training_batches: the images that were trained on, when the real ones are not these, but were held out.
      training_fingerprint: as `real_fingerprint`, of these.
      training_size: how many images were trained on, where the batches are some of them.
      critic: scores `[n]` of images `[n, *shape]` and classes `[n]` (-1: none) by the run's critic.
      spacing: length of a pixel or voxel along each axis in mm; None: lengths are in pixels.
      progress: is told in a line what is being done.

    Returns:
      The `Evaluation`.

    Raises:
      InputError: no images, mixed shapes, values that are not finite or outside [-1, 1], no metric that can be
        measured.
    """
    metrics = parse_metrics(default_metrics() if metrics is None else metrics)
    skipped = {name: obstacle for name in metrics if (obstacle := METRICS[name].obstacle(extractor))}
    wanted = [METRICS[name] for name in metrics if name not in skipped]
    if not wanted:
        raise InputError(f"--metrics {','.join(metrics)}: nothing can be measured ({skipped[metrics[0]]})")
    needs = {need for metric in wanted for need in metric.needs}
    needs = tuple(sorted(needs | ({"each"} if resamples and "statistics" in needs else set())))
    say = progress or (lambda line: None)
    say("gathering the real images")
    real = _summarise_real(real_batches, needs, extractor, real_fingerprint, cache_folder)
    say("gathering the generated images")
    generated = summarise("generated", generated_batches, needs, extractor)
    training, heldout = real, None
    of_training = tuple(sorted({"pixels", "samples"}.intersection(needs)))
    if training_batches is not None and any(metric.of_training for metric in wanted):
        say("gathering the training images")
        training = _summarise_real(training_batches, of_training, extractor, training_fingerprint, cache_folder)
        heldout = real
    if heldout_batches is not None and of_training:
        say("gathering the held-out images")
        heldout = summarise("held-out", heldout_batches, of_training, None)
    for name, summary in (("generated", generated), ("training", training), ("held-out", heldout)):
        if summary is not None and summary.shape != real.shape:
            raise InputError(f"{name} images have shape {summary.shape}, the real ones {real.shape}: make them equal")
    report = Report(real, generated, extractor, split, scaling, resamples, False, heldout, training, critic, spacing)
    report.training_size = max(training_size or 0, training.count)
    for metric in wanted:
        start = time.perf_counter()
        try:
            report.measure(metric)
        except CannotMeasure as reason:
            skipped[metric.name] = str(reason)
        say(f"{metric.name}: {'skipped' if metric.name in skipped else f'{time.perf_counter() - start:.1f} s'}")
    if not report.metrics:
        raise InputError(f"--metrics {','.join(metrics)}: nothing can be measured ({skipped[metrics[0]]})")
    if resamples:
        say("drawing intervals")
        add_intervals(report, [metric for metric in wanted if metric.halved and metric.name not in skipped])
    classes = per_class(report, class_names) if {"fid", "kid"} & {metric.name for metric in wanted} else {}
    return Evaluation(
        report.metrics,
        classes,
        report.warnings,
        skipped,
        real,
        generated,
        training,
        report.copies,
        report.distributions,
    )


def _summarise_real(batches, needs, extractor, fingerprint, cache_folder) -> Summary:
    if isinstance(batches, Summary):
        return batches
    if fingerprint is None:
        return summarise("real", batches, needs, extractor)
    import jaxgan

    key = files.cache_key(
        {
            "data": fingerprint,
            "needs": needs,
            "extractor": extractor.protocol(2) if extractor else None,
            "version": jaxgan.__version__,
            "layout": 5,
        }
    )
    folder = files.cache_folder() if cache_folder is None else Path(cache_folder)
    path = folder / "real" / f"{key}.npz"
    if path.is_file():
        # A damaged file is made again.
        with contextlib.suppress(OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return Summary.load(path)
    summary = summarise("real", batches, needs, extractor)
    files.write_cache(path, summary.save)
    return summary
