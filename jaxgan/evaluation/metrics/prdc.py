"""Precision, recall, density and coverage: fidelity and diversity apart, from balls around nearest neighbours."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.metric import Metric, Report, Value
from jaxgan.evaluation.metrics.neighbours import centred, distance_blocks, nearest

NEIGHBOURS = 5


def precision_recall(real: np.ndarray, generated: np.ndarray, *, k: int = NEIGHBOURS) -> dict[str, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    The ball of a sample reaches to its k-th nearest neighbour in its own set. Precision: the share of generated
    samples in a real ball; recall: of real samples in a generated ball; density: how many real balls hold a generated
    sample, over k; coverage: the share of real balls that hold one. Definitions as in the package `prdc`.

    Args:
      real: `[N, D]` features.
      generated: `[M, D]` features.
      k: the neighbour that sets the radius; lowered when a set is smaller than k + 1.

    Returns:
      `precision`, `recall`, `density`, `coverage`.
    """
    k = min(k, len(real) - 1, len(generated) - 1)
    if k < 1:
        return dict.fromkeys(("precision", "recall", "density", "coverage"), float("nan"))
    real, generated = centred(real, generated)
    real_radius = nearest(real, real, k, skip_self=True)[0][:, -1]
    generated_radius = nearest(generated, generated, k, skip_self=True)[0][:, -1]
    balls_of_generated = np.zeros(len(generated), np.int64)
    recalled = np.zeros(len(real), bool)
    covered = np.zeros(len(real), bool)
    for rows, distances in distance_blocks(real, generated):
        in_real_ball = distances < real_radius[rows, None]
        balls_of_generated += in_real_ball.sum(axis=0)
        covered[rows] = in_real_ball.any(axis=1)
        recalled[rows] = (distances < generated_radius[None]).any(axis=1)
    return {
        "precision": float((balls_of_generated > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(balls_of_generated.mean() / k),
        "coverage": float(covered.mean()),
    }


def _measure(report: Report) -> None:
    axes = range(report.real.arrays["features"].shape[1])
    results = [
        precision_recall(report.features(a, report.real, False), report.features(a, report.generated, False))
        for a in axes
    ]
    for name in results[0]:
        report.add(name, float(np.mean([r[name] for r in results])), k=NEIGHBOURS)


PRDC = Metric(
    "prdc",
    f"balls around nearest neighbours, k = {NEIGHBOURS} (Kynkäänniemi et al. 2019, Naeem et al. 2020)",
    tuple(
        Value(
            name,
            "higher",
            reading,
            f"{name}_{{extractor}}",
            1.0,
            (0.0, np.inf if name == "density" else 1.0),
            aspect="diversity" if name in ("recall", "coverage") else "fidelity",
        )
        for name, reading in (
            ("precision", "higher: realistic"),
            ("recall", "higher: diverse"),
            ("density", "about 1 is best"),
            ("coverage", "higher: diverse"),
        )
    ),
    needs=("features",),
    measure=_measure,
    halved=True,
)
