"""What a metric is: one record, from which the command line, the reports and the documentation all derive."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import numpy as np

from jaxgan.data.scaling import Scaling
from jaxgan.evaluation.bootstrap import FEWEST, bootstrap, centred_interval, half
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.summary import Summary

# What `summarise` can gather of a set, see `Summary`. Of these, the first row is made of an extractor's features.
OF_FEATURES = ("moments", "features", "logits")
NEEDS = (*OF_FEATURES, "patches", "similarity", "statistics", "pixels", "samples", "each")

Critic = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Value:
    """One number that a metric reports.

    Attributes:
      name: under which it is reported; for a number made of features, when these are Inception's.
      better: which way is better: "lower", "higher", or "real" when the real set's own value is best.
      reading: one line on how to read it; may name details and the protocol's units, e.g. "real images: {real:.3f}".
      elsewhere: the name with features of another extractor, e.g. "fd_{extractor}"; empty: not made of features.
      same: what a set compared with itself gives; None when that depends on the set.
      bounds: between which the value lies whatever the sets.
      heldout: whether it is reported only when there are real images that were held out of the training.
      aspect: under which heading a model card lists it.
    """

    name: str
    better: Literal["lower", "higher", "real"]
    reading: str
    elsewhere: str = ""
    same: float | None = None
    bounds: tuple[float, float] = (-np.inf, np.inf)
    heldout: bool = False
    aspect: Literal["fidelity", "diversity", "utility", "privacy"] = "fidelity"

    def named(self, extractor: Extractor | None) -> str:
        """The name with this extractor: FID, KID and their kin are Inception's alone."""
        if not self.elsewhere or extractor is None or extractor.name == "inception":
            return self.name
        return self.elsewhere.format(extractor=extractor.name)

    def matches(self, reported: str) -> bool:
        """Whether a reported name is this value's, with whatever extractor."""
        start, _, end = self.elsewhere.partition("{extractor}")
        return reported == self.name or (bool(start) and reported.startswith(start) and reported.endswith(end))


@dataclasses.dataclass(frozen=True)
class Metric:
    """What `--metrics` names.

    Attributes:
      name: as asked for.
      what: one line: what it is, and whose.
      values: the numbers that it reports.
      needs: what must be gathered of both sets, from `NEEDS`.
      measure: enters the numbers into a report; raises `CannotMeasure` when the sets do not allow it.
      default: whether it is measured when nothing is asked for.
      halved: its intervals come from measuring it on random halves of both sets; else `measure` gives its own.
      labelled: whether it can be measured only against real images with classes.
      conditional: whether it can be measured only of samples that classes were asked for.
      volumes: whether it can be measured only of volumes.
      critic: whether it can be measured only with the critic of the run.
      of_training: whether it looks at what was trained on (`Report.training`), whatever the others compare with.
    """

    name: str
    what: str
    values: tuple[Value, ...]
    needs: tuple[str, ...]
    measure: Callable[[Report], None]
    default: bool = True
    halved: bool = False
    labelled: bool = False
    conditional: bool = False
    volumes: bool = False
    critic: bool = False
    of_training: bool = False

    @property
    def of_features(self) -> bool:
        """Whether it cannot be measured without an extractor."""
        return any(need in OF_FEATURES for need in self.needs)

    def obstacle(self, extractor: Extractor | None) -> str | None:
        """Why it cannot be measured with this extractor; None when it can."""
        if extractor is None:
            return "no feature extractor" if self.of_features else None
        if "logits" in self.needs and extractor.name != "inception":
            return "the Inception Score needs --inception_weights"
        return None

    def reported(
        self, extractor: Extractor | None, heldout: bool = False, volumes: bool = False, critic: bool = False
    ) -> tuple[str, ...]:
        """The names of the values that it will report with these means, known before anything is measured."""
        if self.obstacle(extractor) or self.volumes > volumes or self.critic > critic:
            return ()
        values = (v for v in self.values if heldout or not v.heldout)
        return tuple(v.named(extractor) for v in values if extractor is not None or not v.elsewhere)


@dataclasses.dataclass(frozen=True)
class Distributions:
    """One number a sample (or an object) of both sets, `[N]` and `[M]`, and what it is a number of, with its unit."""

    real: np.ndarray
    generated: np.ndarray
    label: str


class CannotMeasure(Exception):
    """The sets lack what a metric needs; the message says what, and goes to the report."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number: its value, what else was measured on the way, and how.

    `interval` holds the true value with a probability of 95%, as far as the samples can tell; None without resampling.
    """

    value: float
    details: dict[str, Any]
    protocol: dict[str, Any]
    interval: tuple[float, float] | None = None


class Report:
    """Two summaries, and what was measured of them so far.

    A number that a threshold decides on has it among its details as `threshold`, and in words as
    `threshold_is`.

    Attributes:
      resamples: draws behind the intervals; 0: none are wanted.
      quick: the report is one of many, of a part of the sets: repetitions that only steady a number may be left out.
      heldout: summary of real images that were held out of the training; None when there are none.
      training: summary of the images that were trained on; the real ones where nothing else is said.
      training_size: how many images were trained on; more than the summary's where they are too many.
      critic: scores `[n]` of images `[n, *shape]` and their classes `[n]` (-1: none) by the run's critic, or None.
      spacing: length of a pixel or voxel along each axis in mm; None where it is not known.
      metrics: the numbers by reported name.
      warnings: what limits the trust in them.
      copies: searches for copies by space ("pixels", the extractor's name), for the figures.
      distributions: what was measured of each sample, both sets, by reported name, for the figures.
    """

    def __init__(
        self,
        real: Summary,
        generated: Summary,
        extractor: Extractor | None,
        split: str,
        scaling: Scaling | None,
        resamples: int = 0,
        quick: bool = False,
        heldout: Summary | None = None,
        training: Summary | None = None,
        critic: Critic | None = None,
        spacing: tuple[float, ...] | None = None,
    ):
        import jaxgan

        self.training, self.critic, self.spacing = real if training is None else training, critic, spacing
        self.training_size = self.training.count
        self.real, self.generated, self.extractor, self.scaling = real, generated, extractor, scaling
        self.resamples, self.quick, self.heldout = resamples, quick, heldout
        self.metrics: dict[str, Measurement] = {}
        self.warnings: list[str] = []
        self.copies: dict[str, Any] = {}
        self.distributions: dict[str, Distributions] = {}
        self._metric: Metric | None = None
        self._common = {
            "n_real": self.real.count,
            "n_generated": self.generated.count,
            "split": split,
            "shape": list(self.real.shape),
            "jaxgan": jaxgan.__version__,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        }

    @property
    def network(self) -> Extractor:
        """The extractor, for metrics of features, which are not measured without one."""
        assert self.extractor is not None
        return self.extractor

    def measure(self, metric: Metric) -> None:
        """Enters all numbers of a metric; raises `CannotMeasure`."""
        self._metric = metric
        metric.measure(self)

    def halves(self, value: float, statistic: Callable[..., float], *counts: int) -> tuple[float, float] | None:
        """The 95% interval about `value`, from `statistic(*rows)` of random halves of sets of these sizes.

        None when none was asked for, or a set has fewer than `FEWEST` samples.
        """
        if not self.resamples or min(counts) < FEWEST:
            return None
        draws = range(self.resamples)
        values = [statistic(*(half(n, len(counts) * d + i) for i, n in enumerate(counts))) for d in draws]
        return centred_interval(value, values)

    def bootstrap(self, statistic: Callable[..., float], *counts: int) -> tuple[float, float] | None:
        """The 95% interval of `statistic(*rows)` over draws from sets of these sizes; None as of `halves`."""
        return bootstrap(statistic, counts, self.resamples) if self.resamples and min(counts) >= FEWEST else None

    def add(
        self,
        value: str,
        number: float,
        details: dict | None = None,
        interval: tuple[float, float] | None = None,
        **protocol,
    ) -> str:
        """Enters a number under the name of one of the metric's values; returns the name it is reported under."""
        assert self._metric is not None  # set by `measure`, which calls what adds
        (record,) = (v for v in self._metric.values if v.name == value)
        name = record.named(self.extractor)
        made_by: dict[str, Any] = {"dtype": "float32"}
        if record.elsewhere:
            made_by = self.network.protocol(len(self.real.shape) - 1)
        if "features" in self._metric.needs and "moments" not in self._metric.needs:  # of large sets a part is kept
            for count, summary in (("n_real", self.real), ("n_generated", self.generated)):
                made_by[count] = len(summary.arrays["features"])
        if self._metric.of_training and self.training is not self.real:
            made_by |= {"n_real": self.training.count, "split": "train"}
        if interval is not None:
            protocol.setdefault("interval_by", f"95%, {self.resamples} bootstrap draws")
        self.metrics[name] = Measurement(float(number), details or {}, self._common | made_by | protocol, interval)
        if not np.isfinite(number):
            self.warnings.append(f"{name}: not defined for so few samples")
        return name

    def features(self, axis: int, summary: Summary, per_slice: bool) -> np.ndarray:
        """Kept features `[M, D]` of an axis: every slice a row, or the mean over a sample's slices."""
        features = summary.arrays["features"][:, axis]
        return features.reshape(-1, features.shape[-1]) if per_slice else features.mean(axis=1)
