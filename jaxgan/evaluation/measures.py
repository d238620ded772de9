"""Each metric as a function of two summaries, and the protocol that stands beside its number."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxgan.data.scaling import Scaling
from jaxgan.evaluation.metrics import histogram, inception_score, kernel, msssim, prdc, swd
from jaxgan.evaluation.metrics.frechet import frechet_distance, moments_of
from jaxgan.evaluation.metrics.memorisation import Memorisation, memorisation
from jaxgan.evaluation.metrics.spectrum import spectrum_distance
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.summary import WITH_FEATURES, Summary

FEWEST_PER_CLASS = 20


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number: its value, what else was measured on the way, and how."""

    value: float
    details: dict[str, Any]
    protocol: dict[str, Any]


def reported_name(metric: str, extractor: Extractor | None) -> str:
    """The name under which a metric is reported: FID, KID and their kin are Inception's alone."""
    if extractor is None or extractor.name == "inception" or metric == "inception_score":
        return metric
    return {"fid": "fd", "kid": "kd"}.get(metric, metric) + f"_{extractor.name}"


def reported_names(metrics: tuple[str, ...], extractor: Extractor | None) -> tuple[str, ...]:
    """The names of the values that an evaluation of `metrics` will report, known before it is made."""
    names: list[str] = []
    for metric in metrics:
        if metric in WITH_FEATURES and (extractor is None or (metric == "is" and extractor.name != "inception")):
            continue
        if metric == "nearest":
            names += ["memorisation_pixels", *([f"memorisation_{extractor.name}"] if extractor else [])]
        else:
            parts = {"is": ("inception_score",), "prdc": ("precision", "recall", "density", "coverage")}
            own = extractor if metric in WITH_FEATURES else None
            names += [reported_name(part, own) for part in parts.get(metric, (metric,))]
    return tuple(names)


def higher_is_better(name: str) -> bool:
    """Whether a larger value of a reported metric is the better one."""
    return name.startswith(("inception_score", "precision", "recall", "density", "coverage"))


class Report:
    """Two summaries, and what was measured of them so far."""

    def __init__(
        self, real: Summary, generated: Summary, extractor: Extractor | None, split: str, scaling: Scaling | None
    ):
        import jaxgan

        self.real, self.generated, self.extractor, self.scaling = real, generated, extractor, scaling
        self.metrics: dict[str, Measurement] = {}
        self.warnings: list[str] = []
        self.copies: dict[str, Memorisation] = {}
        self._common = {
            "n_real": self.real.count,
            "n_generated": self.generated.count,
            "split": split,
            "shape": list(self.real.shape),
            "jaxgan": jaxgan.__version__,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        }

    def add(self, metric: str, value: float, features: bool = False, details: dict | None = None, **protocol) -> str:
        """Enters a measurement; `features`: it is made of features. Returns the name it is reported under."""
        name = reported_name(metric, self.extractor) if features else metric
        made_by = self.extractor.protocol(len(self.real.shape) - 1) if features else {"dtype": "float32"}
        self.metrics[name] = Measurement(float(value), details or {}, self._common | made_by | protocol)
        if not np.isfinite(value):
            self.warnings.append(f"{name}: not defined for so few samples")
        return name

    def features(self, axis: int, summary: Summary, per_slice: bool) -> np.ndarray:
        """Kept features `[M, D]` of an axis: every slice a row, or the mean over a sample's slices."""
        features = summary.arrays["features"][:, axis]
        return features.reshape(-1, features.shape[-1]) if per_slice else features.mean(axis=1)


def _measure_fid(report: Report) -> None:
    pairs = list(zip(report.real.moments, report.generated.moments, strict=True))
    distances = [frechet_distance(*pair) for pair in pairs]
    samples = {"real": pairs[0][0].count, "generated": pairs[0][1].count}
    details = {"per_axis": distances} if len(distances) > 1 else {}
    name = report.add("fid", np.mean(distances), True, details, frechet_dtype="float64")
    width = report.extractor.width
    for side, count in samples.items():
        if count <= width:
            report.warnings.append(
                f"{name}: {count} {side} samples for {width} features: the covariance is rank-deficient and the value"
                f" biased; compare at equal counts only, or trust {reported_name('kid', report.extractor)}"
            )


def _measure_kid(report: Report) -> None:
    axes = range(report.real.arrays["features"].shape[1])
    results = [
        kernel.kernel_distance(report.features(a, report.real, True), report.features(a, report.generated, True))
        for a in axes
    ]
    size = kernel.size_of_block(*(len(report.features(0, s, True)) for s in (report.real, report.generated)))
    mean, deviation = np.mean(results, axis=0)
    report.add("kid", mean, True, {"std": deviation}, blocks=kernel.BLOCKS, block_size=size, estimator="unbiased")


def _measure_is(report: Report) -> None:
    (mean, deviation), (real, _) = (s.arrays["inception_score"].mean(axis=0) for s in (report.generated, report.real))
    report.add("inception_score", mean, True, {"std": deviation, "real": real}, splits=inception_score.SPLITS)


def _measure_prdc(report: Report) -> None:
    axes = range(report.real.arrays["features"].shape[1])
    results = [
        prdc.precision_recall(report.features(a, report.real, False), report.features(a, report.generated, False))
        for a in axes
    ]
    for name in results[0]:
        report.add(name, np.mean([r[name] for r in results]), True, k=prdc.NEIGHBOURS)


def _measure_swd(report: Report) -> None:
    levels = swd.sliced_wasserstein(report.real.patches, report.generated.patches)
    used = {"images_used": [len(s.patches[0]) for s in (report.real, report.generated)]}
    report.add("swd", np.mean(levels), details={"per_level": levels}, normalised_by="real deviation", **used)


def _measure_msssim(report: Report) -> None:
    generated, real = (float(s.arrays["similarity"]) for s in (report.generated, report.real))
    levels = msssim.scales(min(report.real.shape[:-1]))
    report.add("msssim", generated, details={"real": real, "gap": generated - real}, scales=levels, pairs=1000)


def _measure_spectrum(report: Report) -> None:
    value = spectrum_distance(report.real.arrays["power"], report.generated.arrays["power"])
    report.add("spectrum", value, units="dB")


def _measure_histogram(report: Report) -> None:
    scaling = report.scaling
    low, high, units = (scaling.low, scaling.high, scaling.units) if scaling else (-1.0, 1.0, "")
    real, generated = (s.arrays["histogram"] for s in (report.real, report.generated))
    details = {}
    for name, counts in (("real", real), ("generated", generated)):
        mean, deviation = histogram.value_moments(counts)
        details[f"{name}_mean"] = (mean + 1) / 2 * (high - low) + low
        details[f"{name}_std"] = deviation * (high - low) / 2
    value = histogram.wasserstein(real, generated, high - low)
    report.add("histogram", value, details=details, units=units or "original values", range=[low, high])


def _measure_nearest(report: Report) -> None:
    spaces = {"pixels": "pixels"}
    if "vectors" in report.real.arrays:
        spaces[report.extractor.name] = "vectors"
    for space, array in spaces.items():
        found = memorisation(report.real.arrays[array], report.generated.arrays[array])
        report.copies[space] = found
        name = f"memorisation_{space}"
        details = {"baseline": found.baseline, "authenticity": found.authenticity, "flagged": found.flagged}
        searched = len(report.real.arrays[array])
        report.add(name, found.score, False, details, searched=searched, rule="nearest <= second nearest / 3")
        if found.flagged:
            report.warnings.append(
                f"{name}: {found.score:.0%} of the samples are copies of training images"
                f" ({found.baseline:.0%} among the training images themselves)"
            )


MEASURES = {
    "fid": _measure_fid,
    "kid": _measure_kid,
    "is": _measure_is,
    "prdc": _measure_prdc,
    "swd": _measure_swd,
    "msssim": _measure_msssim,
    "spectrum": _measure_spectrum,
    "histogram": _measure_histogram,
    "nearest": _measure_nearest,
}


def per_class(report: Report, class_names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Fréchet and kernel distance within each class that both sets have 20 or more samples of."""
    real, generated, extractor = report.real, report.generated, report.extractor
    rows = {}
    for label in np.unique(real.arrays["labels"][real.arrays["labels"] >= 0]):
        ours, theirs = (s.arrays["features"][s.arrays["labels"] == label] for s in (real, generated))
        if min(len(ours), len(theirs)) < FEWEST_PER_CLASS:
            continue
        pairs = [[f[:, a].reshape(-1, f.shape[-1]) for f in (ours, theirs)] for a in range(ours.shape[1])]
        rows[class_names[label] if label < len(class_names) else str(label)] = {
            reported_name("fid", extractor): float(np.mean([frechet_distance(*map(moments_of, p)) for p in pairs])),
            reported_name("kid", extractor): float(np.mean([kernel.kernel_distance(*p, blocks=10)[0] for p in pairs])),
            "n_real": len(ours),
            "n_generated": len(theirs),
        }
    return rows
