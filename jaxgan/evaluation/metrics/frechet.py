"""Fréchet distance between two sets of features, from their moments."""

from __future__ import annotations

import numpy as np

from jaxgan.evaluation.metric import Metric, Report, Value
from jaxgan.evaluation.moments import Moments


def _square_root_factor(cov: np.ndarray) -> np.ndarray:
    """`F` `[D, r]` with `F F^T = cov`, its null space left out."""
    values, vectors = np.linalg.eigh(cov)
    # Eigenvalues at rounding level are zeros of a rank-deficient covariance; their roots would add up to a bias.
    keep = values > values.max(initial=0.0) * len(values) * np.finfo(np.float64).eps
    return vectors[:, keep] * np.sqrt(values[keep])


def frechet_distance(real: Moments, generated: Moments) -> float:
    """Squared Fréchet distance between the Gaussians of two feature sets (Heusel et al. 2017; FID on Inception).

    `|m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2)`. With `C = F F^T`, the last trace is the sum of the singular
    values of `F1^T F2`: real, non-negative and free of the square root of a non-symmetric matrix, so it is stable
    when there are fewer samples than features.

    Returns:
      The distance, float64, not below 0.
    """
    difference = real.mean - generated.mean
    product = _square_root_factor(real.cov).T @ _square_root_factor(generated.cov)
    cross = np.linalg.svd(product, compute_uv=False).sum() if product.size else 0.0
    distance = difference @ difference + np.trace(real.cov) + np.trace(generated.cov) - 2.0 * cross
    return max(float(distance), 0.0)


def _measure(report: Report) -> None:
    pairs = list(zip(report.real.moments, report.generated.moments, strict=True))
    distances = [frechet_distance(*pair) for pair in pairs]
    details = {"per_axis": distances} if len(distances) > 1 else {}
    name = report.add("fid", float(np.mean(distances)), details, frechet_dtype="float64")
    width = report.network.width
    for side, count in (("real", pairs[0][0].count), ("generated", pairs[0][1].count)):
        if count <= width:
            report.warnings.append(
                f"{name}: {count} {side} samples for {width} features: the covariance is rank-deficient and the value"
                " biased; compare at equal counts only, or trust the kernel distance"
            )


FID = Metric(
    "fid",
    "Fréchet distance of features (Heusel et al. 2017)",
    (Value("fid", "lower", "lower, 0 is best", elsewhere="fd_{extractor}", same=0.0, bounds=(0.0, np.inf)),),
    needs=("moments", "features"),
    measure=_measure,
    halved=True,
)
