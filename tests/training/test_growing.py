"""A run of growing networks through the loop: stages change between calls, and a resume in mid-fade is exact."""

import numpy as np
import pytest

from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.inference.trained_model import generate_samples, load_trained_model
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.metrics_log import read_metrics
from jaxgan.training.loop import train

# Runs are ended in mid-fade on purpose.
pytestmark = [pytest.mark.bits, pytest.mark.filterwarnings("ignore:the run ends in stage")]


def make_config(iterations, **growing):
    """An iteration shows 8 reals: 2 of side 4, then a fade of 4 and the rest at side 8."""
    return Config.from_dict(
        {
            "data": {"size": 8},
            "generator": {"network": "growing", "latent_dim": 5, "widths": [6, 4], "norm": "batch"},
            "critic": {"network": "growing", "widths": [4, 6]},
            "growing": {"start_side": 4, "hold_images": 16, "fade_images": 32, **growing},
            "objective": {"loss": "wgan", "n_critic": 1},
            "train": {"batch_size": 8, "iterations": iterations, "log_every_iterations": 1, "num_samples": 4,
                      "checkpoint_every_epochs": 0.0, "sample_every_epochs": 0.0, "steps_per_call": 3},
        }
    )  # fmt: skip


def assert_same_at(step, one, other):
    """Two runs have the same arrays after so many iterations; returns them."""
    found = []
    for run in (one, other):
        with Checkpoints(run) as checkpoints:
            found.append(checkpoints.read(step)[0])
    for name, expected in found[0].items():
        np.testing.assert_array_equal(found[1][name], expected, err_msg=name)
    return found[0]


@pytest.mark.slow
def test_a_run_whose_batches_change_with_the_stage_goes_on_in_mid_fade_bit_for_bit(tmp_path):
    """Stage 0 shows 2 x 4 reals, so 16 are 2 iterations; stage 1 one update of 8, so it fades in for 4."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    data = from_arrays("noise", images, np.zeros(40, int), fingerprint="noise")
    plan = {"batch_sizes": [4, 8], "n_critics": [2, 1]}
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    train(make_config(7, **plan), whole, data)
    train(make_config(4, **plan), halves, data)
    assert generate_samples(load_trained_model(halves), 3).shape == (3, 8, 8, 1)
    train(make_config(7, **plan), halves, data)
    for run in (whole, halves):
        lines = list(read_metrics(run))
        assert [line["images"] for line in lines] == [8, 16, 24, 32, 40, 48, 56]
        assert [line["stage"] for line in lines] == [0, 0, 1, 1, 1, 1, 1]
        assert [line["alpha"] for line in lines] == [1, 1, 0, 0.25, 0.5, 0.75, 1]
    arrays = assert_same_at(7, whole, halves)
    updates = [int(value) for name, value in arrays.items() if name.startswith("critic/opt") and name.endswith("count")]
    assert updates and set(updates) <= {2 * 2 + 5, 1, 5}  # Counts of the run, or since the optimizer's reset.
