"""The list of metrics: the one place that a new one is entered in.

    python -m jaxgan.evaluation.registry

prints the table of docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from jaxgan.errors import InputError, way_out
from jaxgan.evaluation.metric import Metric, Value
from jaxgan.evaluation.metrics.c2st import C2ST
from jaxgan.evaluation.metrics.class_agreement import CLASS_AGREEMENT
from jaxgan.evaluation.metrics.class_balance import CLASS_BALANCE
from jaxgan.evaluation.metrics.critic_membership import CRITIC_MEMBERSHIP
from jaxgan.evaluation.metrics.frechet import FID
from jaxgan.evaluation.metrics.histogram import HISTOGRAM
from jaxgan.evaluation.metrics.inception_score import INCEPTION_SCORE
from jaxgan.evaluation.metrics.intensity import INTENSITY
from jaxgan.evaluation.metrics.kernel import KID
from jaxgan.evaluation.metrics.learning_curve import LEARNING_CURVE
from jaxgan.evaluation.metrics.memorisation import NEAREST
from jaxgan.evaluation.metrics.msssim import MSSSIM
from jaxgan.evaluation.metrics.objects import OBJECTS
from jaxgan.evaluation.metrics.prdc import PRDC
from jaxgan.evaluation.metrics.privacy import PRIVACY
from jaxgan.evaluation.metrics.slices import SLICES
from jaxgan.evaluation.metrics.spectrum import SPECTRUM
from jaxgan.evaluation.metrics.swd import SWD
from jaxgan.evaluation.metrics.utility import UTILITY
from jaxgan.evaluation.networks.extractor import Extractor

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        FID,
        KID,
        INCEPTION_SCORE,
        PRDC,
        SWD,
        MSSSIM,
        SPECTRUM,
        HISTOGRAM,
        INTENSITY,
        OBJECTS,
        SLICES,
        NEAREST,
        PRIVACY,
        CRITIC_MEMBERSHIP,
        CLASS_AGREEMENT,
        CLASS_BALANCE,
        UTILITY,
        LEARNING_CURVE,
        C2ST,
    )
}


def default_metrics() -> tuple[str, ...]:
    """What is measured when nothing is asked for."""
    return tuple(name for name, metric in METRICS.items() if metric.default)


def parse_metrics(text: str | Iterable[str]) -> tuple[str, ...]:
    """Metric names from "fid,kid" or a sequence; raises `InputError` for an unknown one."""
    names = [n.strip() for n in (text.split(",") if isinstance(text, str) else text)]
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        hint = way_out(unknown[0] if unknown else "", METRICS)
        raise InputError(f"--metrics {','.join(unknown) or 'is empty'}: {hint}")
    return tuple(dict.fromkeys(names))


def needs_extractor(names: Iterable[str]) -> bool:
    """Whether any of the metrics is made of features."""
    return any(METRICS[name].of_features for name in names)


def reported_names(
    names: Iterable[str],
    extractor: Extractor | None,
    heldout: bool = False,
    volumes: bool = False,
    critic: bool = False,
) -> tuple[str, ...]:
    """The names of the values that an evaluation of the metrics will report, known before it is made.

    Args:
      names: of metrics.
      extractor: the one that will be used.
      heldout: whether there will be real images that were held out of the training.
      volumes: whether the samples are volumes.
      critic: whether there will be the run's critic.
    """
    return tuple(value for name in names for value in METRICS[name].reported(extractor, heldout, volumes, critic))


def value_of(reported: str) -> Value | None:
    """The record behind a reported name; None for a name that is no metric's."""
    values = (value for metric in METRICS.values() for value in metric.values)
    return next((value for value in values if value.matches(reported)), None)


def higher_is_better(reported: str) -> bool:
    """Whether a larger value of a reported metric is the better one."""
    value = value_of(reported)
    return value is not None and value.better == "higher"


def help_text() -> str:
    """One line for `--help`: the metrics, and which are left out when none is named."""
    optional = [name for name, metric in METRICS.items() if not metric.default]
    return f"any of {','.join(METRICS)} (default: all but {','.join(optional)})"


def markdown() -> str:
    """The table of the metrics for the documentation."""
    lines = ["| `--metrics` | reported as | what it is | better |", "|---|---|---|---|"]
    for metric in METRICS.values():
        names = []
        for value in metric.values:
            other = value.elsewhere.format(extractor="vgg16")
            names += [value.name, *([other] if other not in ("", value.name) else [])]
        ways = {"real": "as the real set's", "lower": "lower", "higher": "higher"}
        better = ", ".join(dict.fromkeys(ways[value.better] for value in metric.values))
        reported = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| `{metric.name}` | {reported} | {metric.what} | {better} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
