"""Does utility say how useful samples are? Of other real images, of some with two classes missing, of noise.

    python -m jaxgan.benchmark.usefulness          # on the 5,000 demo digits
    python -m jaxgan.benchmark.usefulness DIR      # on other images with classes, prepared or raw

prints a table of docs/evaluation.md (four minutes on one core).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.evaluation.evaluate import evaluate
from jaxgan.evaluation.metric import Measurement

METRICS = ("utility", "c2st")
DROPPED = 2


def samples_of(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """What stands in for samples, from real images `[N, *spatial, C]` with classes `[N]`: its name, images, classes."""
    yield "other real images", images, labels
    kept = labels < labels.max() - DROPPED + 1
    yield (
        f"the same without the last {DROPPED} classes",
        np.resize(images[kept], images.shape),
        np.resize(labels[kept], len(labels)),
    )
    yield "noise", np.random.default_rng(1).uniform(-1, 1, images.shape).astype(np.float32), labels


def table(dataset: Dataset, count: int = 1000, resamples: int = 200) -> str:
    """Utility and the two-sample test, with intervals, for each of `samples_of`; `count` images of every kind."""
    if dataset.labels is None or dataset.size < 3 * count:
        raise ValueError(f"needs classes, and {3 * count} images")
    order = np.random.default_rng(0).permutation(dataset.size)[: 3 * count].reshape(3, count)
    real, other, heldout = ((dataset.scaling.decode(dataset.read(part)), dataset.labels[part]) for part in order)
    columns = ("samples are", "`utility_trtr`", "`utility_tstr`", "classes below 50%", "`utility_both`", "`c2st`", "p")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for name, *fake in samples_of(*other):
        metrics = evaluate([real], [tuple(fake)], METRICS, heldout_batches=[heldout], resamples=resamples).metrics
        trtr, tstr, both = (metrics[f"utility_{kind}"] for kind in ("trtr", "tstr", "both"))
        lost = [label for label, accuracy in tstr.details["per_class"].items() if accuracy < 0.5]
        told = metrics["c2st"]
        shown = "all" if len(lost) == len(tstr.details["per_class"]) else ", ".join(lost) or "none"
        cells = (_with_interval(trtr), _with_interval(tstr), shown, _with_interval(both))
        cells += (_with_interval(told), f"{told.details['p_value']:.2g}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _with_interval(measured: Measurement) -> str:
    low, high = measured.interval or (measured.value, measured.value)
    return f"{measured.value:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    from jaxgan.data.demo import digits
    from jaxgan.data.open import open_dataset

    print(table(open_dataset(sys.argv[1], labelled=True) if sys.argv[1:] else digits()))
