"""Fréchet distance: against scipy's matrix square root, closed forms, and a stream on the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxgan.evaluation.metrics.frechet import frechet_distance
from jaxgan.evaluation.moments import Moments, add_moments, finish_moments, moments_of, start_moments


def reference(a, b):
    root = scipy.linalg.sqrtm(a.cov @ b.cov).real
    return float(np.sum((a.mean - b.mean) ** 2) + np.trace(a.cov) + np.trace(b.cov) - 2 * np.trace(root))


def features(count, width, rank, scale=1.0):
    rng = np.random.default_rng()
    return scale * rng.standard_normal((count, rank)) @ rng.standard_normal((rank, width)) + rng.standard_normal(width)


def test_equals_scipys_square_root():
    a, b = moments_of(features(500, 40, 40)), moments_of(features(400, 40, 40, 1.3))
    assert frechet_distance(a, b) == pytest.approx(reference(a, b), rel=1e-9)


@pytest.mark.parametrize(("count", "rank"), [(12, 40), (300, 5)])
def test_rank_deficient_covariances(count, rank):
    first, second = features(count, 40, rank), features(count, 40, rank, 1.3)
    a, b = moments_of(first), moments_of(second)
    # tr (C1 C2)^(1/2) is the nuclear norm of X1 X2^T / (n - 1) for centred data matrices: no root of a singular matrix.
    cross = np.linalg.norm((first - a.mean) @ (second - b.mean).T, "nuc") / (count - 1)
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.cov) + np.trace(b.cov) - 2 * cross
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_closed_form_of_commuting_covariances():
    rng = np.random.default_rng()
    mean, a, b = rng.standard_normal(6), rng.uniform(0.1, 3, 6), rng.uniform(0, 3, 6) * [1, 1, 1, 1, 0, 0]
    found = frechet_distance(Moments(9, mean, np.diag(a)), Moments(9, 0 * mean, np.diag(b)))
    assert found == pytest.approx(np.sum(mean**2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2), rel=1e-9)


@pytest.mark.parametrize("count", [10, 200])
def test_a_set_has_distance_0_to_itself_and_more_to_others(count):
    own = features(count, 64, 64)
    a = moments_of(own)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8 * np.trace(a.cov))
    near, far = (frechet_distance(a, moments_of(own + step)) for step in (0.1, 0.2))
    assert near == pytest.approx(64 * 0.01, rel=1e-6)
    assert far == pytest.approx(64 * 0.04, rel=1e-6)


def test_a_stream_of_padded_float32_batches_gives_float64_moments():
    rng = np.random.default_rng()
    rows = (rng.standard_normal((1000, 8)) + 100 * rng.standard_normal(8)).astype(np.float32)
    update = jax.jit(add_moments)
    origin = jnp.asarray(rows[:64].mean(axis=0))
    parts = [start_moments(origin), start_moments(origin)]
    for number, start in enumerate(range(0, 1000, 64)):
        block = rows[start : start + 64]
        padded = np.concatenate([block, np.full((64 - len(block), 8), 7.0, np.float32)])
        weights = jnp.asarray(np.arange(64) < len(block), jnp.float32)
        parts[number % 2] = update(parts[number % 2], padded, weights)
    found, expected = finish_moments(parts), moments_of(rows)
    assert found.count == 1000
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.cov, expected.cov, rtol=1e-6, atol=1e-6)
