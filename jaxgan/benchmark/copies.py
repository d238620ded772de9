"""Are copies found, however they were spoilt, and are fresh images left in peace?

    python -m jaxgan.benchmark.copies          # on the 5,000 demo digits
    python -m jaxgan.benchmark.copies DIR      # on other images, prepared or raw

prints the tables of docs/evaluation.md (two to three minutes on one core).
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable

import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.evaluation.evaluate import Evaluation, evaluate

METRICS = ("nearest", "privacy")
DRAWS = 20


def noisy(images: np.ndarray) -> np.ndarray:
    """With Gaussian noise of 2% of the range."""
    noise = np.random.default_rng(2).normal(0, 0.04, images.shape)
    return (images + noise).clip(-1, 1).astype(np.float32)


# What a generator that learnt images `[N, H, W, C]` by heart may do to them.
SPOILT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as they are": lambda images: images,
    "with 2% noise": noisy,
    "flipped": lambda images: images[:, :, ::-1],
    "turned by 90 degrees": lambda images: np.rot90(images, axes=(1, 2)),
    "shifted by 3 pixels": lambda images: np.roll(images, (3, -3), axis=(1, 2)),
}


@dataclasses.dataclass(frozen=True)
class Draw:
    """Three sets that have no image in common, each `[n, H, W, C]` in [-1, 1].

    Attributes:
      train: what was trained on.
      heldout: as many that were not.
      fresh: half as many others, which a perfect generator would have made.
    """

    train: np.ndarray
    heldout: np.ndarray
    fresh: np.ndarray

    def judge(self, samples: np.ndarray, resamples: int = 0) -> Evaluation:
        """Looks for copies among samples."""
        samples = np.ascontiguousarray(samples)
        return evaluate([self.train], [samples], METRICS, heldout_batches=[self.heldout], resamples=resamples)


def draw(dataset: Dataset, count: int, seed: int) -> Draw:
    """A random `count` images to train on, as many held out, and half as many fresh ones."""
    order = np.random.default_rng(seed).permutation(dataset.size)[: 2 * count + count // 2]
    if len(order) < 2 * count + count // 2:
        raise ValueError(f"{dataset.size} images are too few for count={count}")
    images = dataset.scaling.decode(dataset.read(order))
    return Draw(images[:count], images[count : 2 * count], images[2 * count :])


def planted(dataset: Dataset, count: int = 500) -> str:
    """A table of what flags training images, spoilt in one way or another, and fresh ones."""
    sets = draw(dataset, count, seed=0)
    lines = ["| samples are training images | `nearest` | `privacy_copies` | `membership_auroc` |", "|---|---|---|---|"]
    for name, samples in {name: spoil(sets.train) for name, spoil in SPOILT.items()}.items():
        lines.append(_row(name, sets.judge(samples, resamples=200)))
    return "\n".join([*lines, _row("none of them: fresh", sets.judge(sets.fresh, resamples=200))])


def _row(name: str, found: Evaluation) -> str:
    cells = []
    for metric in ("memorisation_pixels", "privacy_copies"):
        measured = found.metrics[metric]
        flagged = "**flagged**" if measured.details["flagged"] else "passed"
        cells.append(f"{flagged}, {measured.value:.1%} ({measured.details['baseline']:.1%})")
    auroc = found.metrics["membership_auroc"]
    assert auroc.interval is not None  # it was asked for
    cells.append("{:.3f} [{:.3f}, {:.3f}]".format(auroc.value, *auroc.interval))
    return f"| {name} | {' | '.join(cells)} |"


def false_alarms(dataset: Dataset, count: int = 500, draws: int = DRAWS) -> dict[str, list]:
    """What fresh images raise, draw by draw: `nearest` and `privacy_copies` (flagged or not), `membership_auroc`."""
    found: dict[str, list] = {"nearest": [], "privacy_copies": [], "membership_auroc": []}
    for seed in range(1, 1 + draws):
        sets = draw(dataset, count, seed)
        metrics = sets.judge(sets.fresh).metrics
        found["nearest"].append(metrics["memorisation_pixels"].details["flagged"])
        found["privacy_copies"].append(metrics["privacy_copies"].details["flagged"])
        found["membership_auroc"].append(metrics["membership_auroc"].value)
    return found


if __name__ == "__main__":
    from jaxgan.data.demo import digits
    from jaxgan.data.open import open_dataset

    data = open_dataset(sys.argv[1], labelled=False) if sys.argv[1:] else digits()
    print(planted(data))
    alarms = false_alarms(data)
    auroc = np.array(alarms.pop("membership_auroc"))
    for name, raised in alarms.items():
        print(f"fresh images: {name} raised {sum(raised)} false alarms in {len(raised)} draws")
    print(f"fresh images: membership_auroc from {auroc.min():.3f} to {auroc.max():.3f}, mean {auroc.mean():.3f}")
