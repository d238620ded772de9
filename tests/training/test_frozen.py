"""The perceptual loss in a run: off by default, logged when on, its gradient reaching the generator alone."""

import numpy as np

from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.runs.metrics_log import read_metrics
from jaxgan.training.frozen import perceptual_features
from jaxgan.training.loop import train


def config(weight):
    return Config.from_dict(
        {
            "data": {"size": 8},
            "generator": {"widths": (4, 4), "latent_dim": 4, "norm": "none"},
            "critic": {"widths": (4, 4)},
            "objective": {"loss": "non_saturating", "perceptual_weight": weight},
            "optimizer": {"name": "sgd", "lr": 0.01, "beta1": 0.0},
            "train": {"batch_size": 8, "iterations": 1, "log_every_iterations": 1, "num_samples": 4},
        }
    )


def test_a_run_with_the_perceptual_loss_logs_and_uses_it(tmp_path):
    assert perceptual_features(config(0.0)) is None
    images = np.random.default_rng(0).integers(0, 255, (16, 8, 8, 1), np.uint8)
    lines = {}
    for weight in (0.0, 2.0):
        run = train(config(weight), tmp_path / str(weight), from_arrays("noise", images))
        (lines[weight],) = read_metrics(run)
    off, on = lines[0.0], lines[2.0]
    assert "perceptual_loss" not in off and on["perceptual_loss"] > 0
    np.testing.assert_allclose(on["generator_loss"] - off["generator_loss"], 2.0 * on["perceptual_loss"], rtol=1e-3)
    np.testing.assert_allclose(on["critic_gradient_norm"], off["critic_gradient_norm"], rtol=1e-5)
    assert on["generator_gradient_norm"] != off["generator_gradient_norm"]
