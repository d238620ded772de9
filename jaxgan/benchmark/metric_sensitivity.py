"""Which metric sees what: every metric on real images that were spoilt in a known way.

    python -m jaxgan.benchmark.metric_sensitivity                           # what is measured by default, and nearest
    python -m jaxgan.benchmark.metric_sensitivity privacy,c2st,utility 400  # these alone, 400 digits of each kind

prints the tables of docs/evaluation.md, made on the 5,000 demo digits (one to two minutes a column on 2 cores).
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.evaluation.evaluate import evaluate
from jaxgan.evaluation.networks.extractor import Extractor, choose_extractor
from jaxgan.evaluation.registry import default_metrics, needs_extractor, parse_metrics

Spoil = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def blur(images: np.ndarray, labels: np.ndarray, real: np.ndarray) -> np.ndarray:
    """A 1-2-1 filter along height and width."""
    for axis in (1, 2):
        images = (np.roll(images, 1, axis) + 2 * images + np.roll(images, -1, axis)) / 4
    return images


def noise(images: np.ndarray, labels: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Gaussian noise of 5% of the range."""
    return images + np.random.default_rng(1).normal(0, 0.1, images.shape).astype(np.float32)


def drop_modes(images: np.ndarray, labels: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The lower half of the classes only, repeated up to the original count."""
    kept = images[labels <= np.median(labels)]
    return np.resize(kept, (len(images), *images.shape[1:]))


def _kept(labels: np.ndarray) -> np.ndarray:
    """The classes that `drop_modes` leaves."""
    return labels[labels <= np.median(labels)]


def shift_values(images: np.ndarray, labels: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Everything 10% dimmer, the lowest value kept."""
    return (images + 1) * 0.9 - 1


def copy_training(images: np.ndarray, labels: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The training images themselves, with noise that the eye does not see."""
    copied = real[: len(images)]
    return copied + np.random.default_rng(2).normal(0, 0.01, copied.shape).astype(np.float32)


def turn_training(images: np.ndarray, labels: np.ndarray, real: np.ndarray) -> np.ndarray:
    """The training images turned by 90 degrees."""
    return np.rot90(real[: len(images)], axes=(1, 2))


SPOILERS: dict[str, Spoil] = {
    "blur": blur,
    "noise": noise,
    "modes dropped": drop_modes,
    "values shifted": shift_values,
    "training set copied": copy_training,
    "training set turned": turn_training,
}


def sensitivity(
    dataset: Dataset, extractor: Extractor | None, *, count: int = 2000, metrics: tuple[str, ...] | None = None
) -> dict[str, dict[str, float]]:
    """Values of all metrics against real images, for unspoilt and for spoilt other real images.

    Args:
      dataset: labelled images, at least `2 * count` of them.
      extractor: for the feature metrics.
      count: size of the real and of the "generated" set.
      metrics: names as for `evaluate`; None: the default ones and the search for copies. What needs images that were
        held out finds half as many as `count` of them.

    Returns:
      `{column: {metric: value}}`; the columns "clean" and "clean 2" are two draws of unspoilt images, whose
      difference tells the noise.
    """
    order = np.random.default_rng(0).permutation(dataset.size)
    if dataset.size < 2 * count:
        raise ValueError(f"{dataset.size} images are too few for count={count}")
    parts = [order[:count], order[count : 2 * count], order[-count:]]
    real, first, second = (dataset.scaling.decode(dataset.read(p)) for p in parts)
    if dataset.labels is None:
        raise ValueError("the images need labels")
    real_labels, labels = (dataset.labels[part] for part in parts[:2])
    between = order[2 * count : len(order) - count][: count // 2]
    heldout = [(dataset.scaling.decode(dataset.read(between)), dataset.labels[between])] if len(between) else None
    sets = {"clean": first, "clean 2": second}
    sets |= {name: np.clip(spoil(first, labels, real), -1, 1) for name, spoil in SPOILERS.items()}
    values: dict[str, dict[str, float]] = {}
    reference = [(real, real_labels)]
    metrics = (*default_metrics(), "nearest") if metrics is None else metrics
    shown = {"clean 2": dataset.labels[parts[2]], "modes dropped": np.resize(_kept(labels), len(labels))}
    shown |= dict.fromkeys(("training set copied", "training set turned"), real_labels)
    for name, images in sets.items():
        fake = [(np.ascontiguousarray(images, np.float32), shown.get(name, labels))]
        evaluation = evaluate(
            reference, fake, metrics, extractor=extractor, scaling=dataset.scaling, heldout_batches=heldout
        )
        values[name], reference = evaluation.values(), evaluation.real
    return values


def seen(values: dict[str, dict[str, float]], metric: str, column: str) -> bool:
    """Whether a metric tells a spoilt set from a clean one: off by three times the clean sets' noise, and by 10%."""
    clean = [values[name][metric] for name in ("clean", "clean 2")]
    mean = float(np.mean(clean))
    step = abs(values[column][metric] - mean)
    return step > max(3 * abs(clean[0] - clean[1]), 0.1 * abs(mean), 1e-6)


def markdown(values: dict[str, dict[str, float]]) -> str:
    """The table as Markdown; what a metric sees is bold."""
    columns = list(values)
    lines = ["| metric | " + " | ".join(columns) + " |", "|" + "---|" * (len(columns) + 1)]
    for metric in values["clean"]:
        cells = []
        for column in columns:
            text = f"{values[column][metric]:.3g}"
            bold = not column.startswith("clean") and seen(values, metric, column)
            cells.append(f"**{text}**" if bold else text)
        lines.append(f"| {metric} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    from jaxgan.data.demo import digits

    chosen = parse_metrics(sys.argv[1]) if sys.argv[1:] else None
    network = choose_extractor(None) if chosen is None or needs_extractor(chosen) else None
    number = int(sys.argv[2]) if sys.argv[2:] else 2000
    print(markdown(sensitivity(digits(), network, count=number, metrics=chosen)))
