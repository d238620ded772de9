"""Kernel distance: the unbiased squared maximum mean discrepancy with a cubic kernel, over random blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.evaluation.metric import Metric, Report, Value

BLOCKS = 100
BLOCK_SIZE = 1000


@jax.jit
def _row_sums(x: jax.Array, y: jax.Array, shift: jax.Array) -> jax.Array:
    """Row sums `[M]` and diagonal `[M]` of the shifted kernel matrix, stacked."""
    gram = jnp.matmul(x, y.T, precision=jax.lax.Precision.HIGHEST) / x.shape[1]
    kernel = (gram + 1.0) ** 3 - shift
    return jnp.stack([kernel.sum(axis=1), jnp.diagonal(kernel)])


def _mmd2(x: jax.Array, y: jax.Array) -> float:
    """Unbiased squared discrepancy of two blocks `[M, D]`."""
    m = len(x)
    # A constant taken off the kernel cancels between the three terms; taking off its typical value leaves float32
    # the digits that the difference needs.
    shift = (jnp.mean(jnp.sum(x * y, axis=1)) / x.shape[1] + 1.0) ** 3
    xx, yy, xy = (np.asarray(_row_sums(*pair, shift), np.float64) for pair in ((x, x), (y, y), (x, y)))
    within = (xx[0].sum() - xx[1].sum() + yy[0].sum() - yy[1].sum()) / (m * (m - 1))
    return within - 2.0 * xy[0].sum() / (m * m)


def size_of_block(real: int, generated: int, block_size: int = BLOCK_SIZE) -> int:
    """Samples that a block of sets of these sizes has."""
    smaller = min(real, generated)
    return block_size if smaller >= block_size else smaller // 2


def kernel_distance(
    real: np.ndarray, generated: np.ndarray, *, blocks: int = BLOCKS, block_size: int = BLOCK_SIZE, seed: int = 2020
) -> tuple[float, float]:
    """Kernel distance with `k(x, y) = (x.y / D + 1)^3` (Binkowski et al. 2018; KID on Inception features).

    Unbiased, so it is the one to trust with few samples; slightly negative values are noise around 0. The blocks
    are drawn as `torch-fidelity` draws them, generated samples first.

    Args:
      real: `[N, D]` features.
      generated: `[M, D]` features.
      blocks: how many random blocks are averaged.
      block_size: samples a block; half the smaller set when that has fewer, so that the blocks still differ.
      seed: of the block choice.

    Returns:
      Mean and standard deviation over the blocks.
    """
    size = size_of_block(len(real), len(generated), block_size)
    if size < 2:
        return float("nan"), float("nan")
    random = np.random.RandomState(seed)
    values = []
    for _ in range(blocks):
        x = jnp.asarray(generated[random.choice(len(generated), size, replace=False)], jnp.float32)
        y = jnp.asarray(real[random.choice(len(real), size, replace=False)], jnp.float32)
        values.append(_mmd2(x, y))
    return float(np.mean(values)), float(np.std(values))


def _measure(report: Report) -> None:
    blocks = 5 if report.quick else BLOCKS
    axes = range(report.real.arrays["features"].shape[1])
    sets = [[report.features(a, s, True) for s in (report.real, report.generated)] for a in axes]
    results = [kernel_distance(*pair, blocks=blocks) for pair in sets]
    size = size_of_block(*map(len, sets[0]))
    mean, deviation = np.mean(results, axis=0)
    report.add("kid", mean, {"std": deviation}, blocks=blocks, block_size=size, estimator="unbiased")


KID = Metric(
    "kid",
    f"unbiased kernel distance, {BLOCKS} blocks (Binkowski et al. 2018)",
    (Value("kid", "lower", "lower, 0 is best, unbiased", elsewhere="kd_{extractor}", same=0.0),),
    needs=("features",),
    measure=_measure,
    halved=True,
)
