"""A run of growing networks through the loop: stages change between calls, and a resume in mid-fade is exact."""

import numpy as np
import pytest

from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.inference.trained_model import generate_samples, load_trained_model
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.metrics_log import read_metrics
from jaxgan.training.loop import train


def make_config(iterations):
    """An iteration shows 8 reals: 2 of side 4, then a fade of 4 and the rest at side 8."""
    return Config.from_dict(
        {
            "data": {"size": 8},
            "generator": {"network": "growing", "latent_dim": 5, "widths": [6, 4], "norm": "batch"},
            "critic": {"network": "growing", "widths": [4, 6]},
            "growing": {"start_side": 4, "hold_images": 16, "fade_images": 32},
            "objective": {"loss": "wgan", "n_critic": 1},
            "train": {"batch_size": 8, "iterations": iterations, "log_every_iterations": 1, "num_samples": 4,
                      "checkpoint_every_epochs": 0.0, "sample_every_epochs": 0.0, "steps_per_call": 3},
        }
    )  # fmt: skip


@pytest.mark.slow
def test_a_run_resumed_in_the_middle_of_a_fade_is_the_same_bit_for_bit(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    data = from_arrays("noise", images, np.zeros(40, int), fingerprint="noise")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(make_config(7), whole, data)
    train(make_config(4), halves, data)
    assert generate_samples(load_trained_model(halves), 3).shape == (3, 8, 8, 1)
    train(make_config(7), halves, data)
    found = []
    for run in (whole, halves):
        with Checkpoints(run) as checkpoints:
            found.append(checkpoints.read(7)[0])
    for name, expected in found[0].items():
        np.testing.assert_array_equal(found[1][name], expected, err_msg=name)
    for run in (whole, halves):
        lines = list(read_metrics(run))
        assert [line["stage"] for line in lines] == [0, 0, 1, 1, 1, 1, 1]
        assert [line["alpha"] for line in lines] == [1, 1, 0, 0.25, 0.5, 0.75, 1]
