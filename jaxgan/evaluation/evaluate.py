"""`evaluate`: two sets of images in, every number with the protocol that it was made by out."""

from __future__ import annotations

import contextlib
import dataclasses
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxgan import files
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.evaluation.gather import summarise
from jaxgan.evaluation.intervals import add_intervals
from jaxgan.evaluation.metric import CannotMeasure, Measurement, Report
from jaxgan.evaluation.metrics.memorisation import Memorisation
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.per_class import per_class
from jaxgan.evaluation.registry import METRICS, default_metrics, parse_metrics
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
      copies: the search for copies by space ("pixels", the extractor's name).
    """

    metrics: dict[str, Measurement]
    per_class: dict[str, dict[str, float]]
    warnings: list[str]
    skipped: dict[str, str]
    real: Summary
    generated: Summary
    copies: dict[str, Memorisation]

    def values(self) -> dict[str, float]:
        """Every value by name."""
        return {name: measurement.value for name, measurement in self.metrics.items()}

    def to_dict(self) -> dict[str, Any]:
        """All but the summaries, ready for JSON."""
        return {
            "metrics": {name: dataclasses.asdict(m) for name, m in self.metrics.items()},
            "per_class": self.per_class,
            "warnings": self.warnings,
            "skipped": self.skipped,
        }


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
      heldout_batches: real images that were held out of the training, for what needs them.
      resamples: draws behind the 95% interval of each number; 0: no intervals.

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
    real = _summarise_real(real_batches, needs, extractor, real_fingerprint, cache_folder)
    generated = summarise("generated", generated_batches, needs, extractor)
    if generated.shape != real.shape:
        raise InputError(f"generated images have shape {generated.shape}, the real ones {real.shape}: make them equal")
    heldout = None
    if heldout_batches is not None and (of_heldout := {"pixels", "samples"} & set(needs)):
        heldout = summarise("held-out", heldout_batches, of_heldout, None)
        if heldout.shape != real.shape:
            raise InputError(f"held-out images have shape {heldout.shape}, the real ones {real.shape}: make them equal")
    report = Report(real, generated, extractor, split, scaling, resamples, heldout=heldout)
    for metric in wanted:
        try:
            report.measure(metric)
        except CannotMeasure as reason:
            skipped[metric.name] = str(reason)
    if not report.metrics:
        raise InputError(f"--metrics {','.join(metrics)}: nothing can be measured ({skipped[metrics[0]]})")
    if resamples:
        add_intervals(report, [metric for metric in wanted if metric.halved and metric.name not in skipped])
    classes = per_class(report, class_names) if {"fid", "kid"} & {metric.name for metric in wanted} else {}
    return Evaluation(report.metrics, classes, report.warnings, skipped, real, generated, report.copies)


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
            "layout": 4,
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
