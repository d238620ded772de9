"""MS-SSIM between random pairs of one set: how alike its members are, so a measure of (lacking) diversity."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.evaluation.metric import Metric, Report, Value

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW = 11
SIGMA = 1.5
PAIRS = 1000


def scales(side: int) -> int:
    """How many scales fit an image whose shortest side is `side`: the window must fit the coarsest, 5 at most."""
    count = 1
    while count < len(WEIGHTS) and (side + 1) // 2 >= WINDOW:
        side, count = (side + 1) // 2, count + 1
    return count


def _window(size: int) -> np.ndarray:
    """Valid Gaussian filtering along an axis of `size` as a banded matrix `[size - 10, size]`."""
    width = min(WINDOW, size - 1 + size % 2)
    taps = np.exp(-((np.arange(width) - width // 2) ** 2) / (2 * SIGMA**2))
    taps /= taps.sum()
    matrix = np.zeros((size - width + 1, size))
    for row in range(len(matrix)):
        matrix[row, row : row + width] = taps
    return matrix


def _blur(x: jax.Array) -> jax.Array:
    # A matrix product along each spatial axis: fast on every backend, where an 11-tap depthwise convolution is not.
    for axis in range(1, x.ndim - 1):
        matrix = jnp.asarray(_window(x.shape[axis]), x.dtype)
        product = jnp.tensordot(matrix, x, axes=(1, axis), precision=jax.lax.Precision.HIGHEST)
        x = jnp.moveaxis(product, 0, axis)
    return x


def _halve(x: jax.Array) -> jax.Array:
    """Means over blocks of two; an odd axis gets one leading zero, as in the reference implementation."""
    spatial = range(1, x.ndim - 1)
    x = jnp.pad(x, [(0, 0)] + [(x.shape[a] % 2, 0) for a in spatial] + [(0, 0)])
    for axis in spatial:
        x = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :]).mean(axis=axis + 1)
    return x


def _similarity(x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Similarity of structure and contrast, and of luminance, at every place of the window."""
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    similarity = (2 * (_blur(x * y) - mean_x * mean_y) + 0.03**2) / (var_x + var_y + 0.03**2)
    return similarity, (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)


@jax.jit
def ssim(x: jax.Array, y: jax.Array) -> jax.Array:
    """Structural similarity (Wang et al. 2004) of `[N, *spatial, C]` in [0, 1], `[N]`: mean over all places."""
    similarity, luminance = _similarity(x, y)
    return (similarity * luminance).mean(axis=tuple(range(1, x.ndim)))


@functools.partial(jax.jit, static_argnames="levels")
def ms_ssim(x: jax.Array, y: jax.Array, levels: int) -> jax.Array:
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003).

    Args:
      x: `[N, *spatial, C]` in [0, 1], spatial of rank 2 or 3.
      y: the same shape.
      levels: scales used, 1 to 5; the first weights are scaled to sum to 1 when fewer than 5.

    Returns:
      `[N]` in [0, 1], the mean over channels.
    """
    weights = np.asarray(WEIGHTS[:levels]) / sum(WEIGHTS[:levels])
    product = jnp.ones(())
    for level, weight in enumerate(weights):
        similarity, luminance = _similarity(x, y)
        if level == levels - 1:
            similarity *= luminance
        per_channel = similarity.mean(axis=tuple(range(1, x.ndim - 1)))
        product *= jnp.maximum(per_channel, 0.0) ** weight
        x, y = _halve(x), _halve(y)
    return product.mean(axis=-1)


def pair_similarities(images: np.ndarray, *, pairs: int = PAIRS, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """MS-SSIM of random pairs of different members, whose mean tells diversity (Odena et al. 2017). 1: all alike.

    Args:
      images: `[N, *spatial, C]` in [-1, 1].
      pairs: how many pairs are drawn.
      seed: of the pairs.

    Returns:
      `[P]` similarities, and the `[P, 2]` pairs; P is below `pairs` by less than a batch, and 0 for a single image.
    """
    count = len(images)
    if count < 2:
        return np.zeros(0), np.zeros((0, 2), np.int64)
    random = np.random.default_rng(seed)
    first = random.integers(0, count, pairs)
    second = (first + random.integers(1, count, pairs)) % count
    levels = scales(min(images.shape[1:-1]))
    batch = int(np.clip(2**22 // images[0].size, 1, min(250, pairs)))
    values = []
    for start in range(0, pairs - pairs % batch, batch):
        chosen = slice(start, start + batch)
        values.append(ms_ssim((images[first[chosen]] + 1) / 2, (images[second[chosen]] + 1) / 2, levels))
    found = np.concatenate([np.asarray(v) for v in values])
    return found, np.stack([first, second], axis=1)[: len(found)]


def deviation_of_mean(similarities: np.ndarray, pairs: np.ndarray) -> float:
    """Standard deviation of the mean over `[P]` similarities of `[P, 2]` pairs: the jackknife, one image left out.

    A pair goes with either of its images, so the jackknife counts the choice of the pairs twice; once is taken off.
    """
    count = int(pairs.max()) + 1
    sums, counts = (np.bincount(pairs.ravel(), np.repeat(x, 2), count) for x in (similarities, np.ones(len(pairs))))
    without = (similarities.sum() - sums) / np.maximum(len(pairs) - counts, 1)
    of_pairs = np.var(similarities) / len(pairs)
    return float(np.sqrt(max((count - 1) * np.var(without) - of_pairs, of_pairs)))


def _mean(similarities: np.ndarray) -> float:
    return float(similarities.mean()) if len(similarities) else float("nan")


def _measure(report: Report) -> None:
    generated, real = (_mean(s.arrays["similarity"]) for s in (report.generated, report.real))
    levels = scales(min(report.real.shape[:-1]))
    protocol: dict[str, Any] = {"scales": levels, "pairs": PAIRS}
    interval = None
    arrays = report.generated.arrays
    if report.resamples and len(arrays["pairs"]):
        reach = 1.96 * deviation_of_mean(arrays["similarity"], arrays["pairs"])
        interval = max(generated - reach, 0.0), min(generated + reach, 1.0)
        protocol["interval_by"] = "95%, jackknife over the images"
    report.add("msssim", generated, {"real": real, "gap": generated - real}, interval, **protocol)


MSSSIM = Metric(
    "msssim",
    "mean MS-SSIM of random generated pairs; as many of the 5 scales as fit the size, stated in the protocol",
    (Value("msssim", "real", "near that of real pairs: {real:.3f}", bounds=(0.0, 1.0), aspect="diversity"),),
    needs=("similarity",),
    measure=_measure,
)
