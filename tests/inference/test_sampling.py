"""Latents, the way between two of them, and scores of a critic: with networks that show what they are given."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.inference.sampling import interpolate
from jaxgan.inference.trained_model import critic_scores, generate_samples

GROWING = {
    "data": {"size": 8},
    "generator": {"network": "growing", "widths": [4, 4]},
    "critic": {"network": "growing", "widths": [4, 4]},
    "growing": {"start_side": 4, "hold_images": 16, "fade_images": 16},
    "train": {"batch_size": 8},
}


def model(values=None, class_names=(), step=1):
    """A generator that shows its latents, and a critic that says the mean of an image, and ten times its class."""

    def critic(params, stats, x, labels, train):
        return (x.mean(axis=(1, 2, 3)) + (0.0 if labels is None else 10.0 * labels), None), stats

    return SimpleNamespace(
        config=Config.from_dict(values or {"data": {"size": 8}, "generator": {"widths": [4], "latent_dim": 64}}),
        class_names=class_names,
        step=step,
        run_dir="run",
        stretch=None,
        generator=lambda params, stats, z, labels, train: (z.reshape(-1, 8, 8, 1), stats),
        params={},
        stats={},
        critic=(critic, {}, {}),
    )


@pytest.mark.parametrize("bound", [0.5, 2.0])
def test_truncated_latents_are_a_normal_cut_off_at_the_bound(bound):
    z = generate_samples(model(), 200, truncation=bound)
    assert 0.99 * bound < np.abs(z).max() <= bound
    assert np.std(z) == pytest.approx(stats.truncnorm(-bound, bound).std(), rel=0.02)
    assert np.abs(generate_samples(model(), 200)).max() > 3


def test_interpolation_goes_along_the_circle_or_the_line():
    start, end = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32) * [[1.0], [2.0]]
    line = interpolate(start, end, 5, spherical=False)
    np.testing.assert_allclose(line, [start + t * (end - start) for t in (0, 0.25, 0.5, 0.75, 1)], atol=1e-5)
    way = np.asarray(interpolate(start, end, 5), np.float64)
    lengths = np.linalg.norm(way, axis=1)
    np.testing.assert_allclose(lengths, np.linspace(lengths[0], lengths[-1], 5), rtol=1e-5)
    directions = way / lengths[:, None]
    whole = np.arccos(directions[0] @ directions[-1])
    np.testing.assert_allclose(
        np.arccos(directions[1:4] @ directions[0]), whole * np.array([0.25, 0.5, 0.75]), rtol=1e-4
    )
    np.testing.assert_allclose(
        np.arccos(directions[1:4] @ directions[-1]), whole * np.array([0.75, 0.5, 0.25]), rtol=1e-4
    )


def test_scores_are_of_each_image_and_its_class_beyond_one_batch():
    images = np.random.default_rng(0).uniform(-1, 1, (70, 8, 8, 1)).astype(np.float32)
    labels, means = np.arange(70) % 3, images.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(critic_scores(model(), images), means, atol=1e-6)
    np.testing.assert_allclose(critic_scores(model(), images, labels), means, atol=1e-6)
    conditional = model(class_names=("a", "b", "c"))
    np.testing.assert_allclose(critic_scores(conditional, images, labels), means + 10 * labels, atol=1e-5)


def test_a_critic_scores_once_it_has_grown():
    """Iterations of 8: two of side 4, then side 8."""
    images = np.zeros((2, 8, 8, 1), np.float32)
    values = GROWING | {"objective": {"loss": "wgan", "n_critic": 1}}
    with pytest.raises(InputError, match="has not yet grown to the full side at step 2"):
        critic_scores(model(values, step=2), images)
    assert len(critic_scores(model(values, step=3), images)) == 2
