"""Smoothness of volumes: how alike neighbouring slices are, against those of real ones."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.metrics.distances import READING, add_distance
from jaxgan.evaluation.metrics.msssim import ssim

MOST = 200


def neighbour_similarity(volumes: np.ndarray) -> np.ndarray:
    """Mean SSIM (Wang et al. 2004) of all pairs of neighbouring slices along each axis, `[N, 3]`.

    Args:
      volumes: `[N, D, H, W, C]` in [-1, 1].
    """
    found = []
    for volume in volumes:
        scaled = jnp.asarray((volume + 1) / 2)
        slices = [jnp.moveaxis(scaled, axis, 0) for axis in range(3)]
        found.append([float(ssim(s[:-1], s[1:]).mean()) for s in slices])
    return np.array(found)


def _measure(report: Report) -> None:
    if len(report.real.shape) != 4:
        raise CannotMeasure("slices are neighbours in volumes alone")
    sets = []
    for summary in (report.real, report.generated):
        volumes = summary.arrays["samples"]
        sets.append(neighbour_similarity(volumes[np.random.default_rng(0).permutation(len(volumes))[:MOST]]))
    axes = {f"{which}_axes": found.mean(axis=0) for which, found in zip(("real", "generated"), sets, strict=True)}
    real, generated = ([np.array([value]) for value in found.mean(axis=1)] for found in sets)
    add_distance(
        report, "slice_ssim", (real, generated), "SSIM of neighbouring slices [1]", axes, window="Gaussian, 11 pixels"
    )


SLICES = Metric(
    "slices",
    "SSIM of neighbouring slices, the mean of a volume's: 1-D Wasserstein distance of its distribution to the real"
    " volumes' (smoother or rougher than real)",
    (Value("slice_ssim", "lower", READING, same=0.0, bounds=(0.0, np.inf)),),
    needs=("samples",),
    measure=_measure,
    default=False,
    volumes=True,
)
