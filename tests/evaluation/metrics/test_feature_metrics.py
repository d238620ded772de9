"""Kernel distance, Inception Score, precision/recall and memorisation: references in float64, and properties."""

import numpy as np
import pytest

from jaxgan.evaluation.metrics import kernel, neighbours
from jaxgan.evaluation.metrics.inception_score import inception_score
from jaxgan.evaluation.metrics.kernel import kernel_distance
from jaxgan.evaluation.metrics.memorisation import memorisation, pixel_descriptors
from jaxgan.evaluation.metrics.prdc import precision_recall


def normal(*shape):
    return np.random.default_rng().standard_normal(shape).astype(np.float32)


def test_kernel_distance_is_the_unbiased_estimate():
    real, generated = normal(50, 16) + 1, normal(50, 16) * 1.2 + 1
    found, deviation = kernel_distance(real, generated, blocks=3, block_size=50)
    k = [(a.astype(float) @ b.T.astype(float) / 16 + 1) ** 3 for a, b in
         ((real, real), (generated, generated), (real, generated))]  # fmt: skip
    within = sum(m.sum() - np.trace(m) for m in k[:2]) / (50 * 49)
    assert found == pytest.approx(within - 2 * k[2].mean(), rel=1e-3, abs=1e-5)
    assert deviation < 1e-4  # Blocks as large as the sets are all the same.


def test_kernel_distance_is_0_within_noise_for_one_distribution_and_grows_with_a_shift():
    real = normal(600, 16)
    same, deviation = kernel_distance(real, normal(600, 16), blocks=20)
    shifted, further = (kernel_distance(real, normal(600, 16) + s, blocks=20)[0] for s in (0.3, 0.6))
    assert abs(same) < max(5 * deviation, 0.02)
    assert same < shifted < further
    assert np.isnan(kernel_distance(real[:2], real[:2])[0])
    assert kernel.size_of_block(5000, 3000) == 1000
    assert kernel.size_of_block(5000, 300) == 150


def test_inception_score_bounds():
    assert inception_score(np.zeros((100, 7)))[0] == pytest.approx(1.0)
    sure = 1000.0 * np.eye(7)[np.arange(700) % 7]
    score, deviation = inception_score(sure, splits=1)
    assert score == pytest.approx(7.0)
    assert deviation == 0.0
    one_class = 1000.0 * np.eye(7)[np.zeros(700, int)]
    assert inception_score(one_class)[0] == pytest.approx(1.0)


def test_nearest_neighbours_are_numpys(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 16)
    x, y = normal(37, 5), normal(50, 5)
    distances = np.linalg.norm(x[:, None].astype(float) - y[None], axis=-1)
    found, indices = neighbours.nearest(x, y, 3)
    np.testing.assert_array_equal(indices, np.argsort(distances, axis=1)[:, :3])
    np.testing.assert_allclose(found, np.sort(distances, axis=1)[:, :3], atol=1e-5)
    own, own_indices = neighbours.nearest(x, x, 1, skip_self=True)
    assert (own_indices[:, 0] != np.arange(37)).all()
    assert (own > 0).all()


def test_precision_and_recall_tell_fidelity_from_diversity():
    real = np.concatenate([normal(200, 8), normal(200, 8) + 20])
    same = np.concatenate([normal(200, 8), normal(200, 8) + 20])
    half = normal(400, 8)
    far = normal(400, 8) + 100
    good, narrow, bad = (precision_recall(real, s) for s in (same, half, far))
    assert min(good.values()) > 0.7
    assert narrow["precision"] > 0.7
    assert narrow["recall"] < 0.6
    assert narrow["coverage"] < 0.6
    assert max(bad.values()) == 0.0
    assert np.isnan(precision_recall(real[:1], real[:1])["recall"])


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_memorisation_flags_a_generator_that_copies(noise):
    train = normal(300, 20) + 3
    copies = memorisation(train, train[:100] + noise * normal(100, 20))
    assert copies.flagged
    assert copies.score > 0.95
    assert copies.authenticity < 0.05
    np.testing.assert_array_equal(copies.nearest, np.arange(100))
    fresh = memorisation(train, normal(100, 20) + 3)
    assert not fresh.flagged
    assert fresh.score < 0.05
    assert 0.4 < fresh.authenticity < 0.95  # 0.70 with a standard deviation of 0.05
    mixed = memorisation(train, np.concatenate([train[:20], normal(80, 20) + 3]))
    assert mixed.score == pytest.approx(0.2, abs=0.05)
    assert mixed.flagged


def test_duplicates_in_the_training_set_are_its_own_fault():
    once = normal(150, 20)
    train = np.concatenate([once, once])
    found = memorisation(train, once[:50])
    assert found.baseline == 1.0
    assert not found.flagged


def test_pixel_descriptors_are_small_whatever_the_images():
    assert pixel_descriptors(normal(3, 28, 28, 1)).shape == (3, 784)
    assert pixel_descriptors(normal(3, 64, 100, 3)).shape == (3, 32 * 32 * 3)
    assert pixel_descriptors(normal(2, 40, 40, 40, 1)).shape == (2, 32**3)
