"""What the recorder chooses to show, in which classes it asks, and when its patience ends."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxgan.config import Config, TrainConfig
from jaxgan.data.dataset import from_arrays
from jaxgan.evaluation import Evaluator
from jaxgan.training import drawing, recorder
from jaxgan.training.best import BestTracker
from jaxgan.training.loop import train
from jaxgan.training.recorder import _spread


def test_classes_are_judged_and_measured_in_the_shares_of_the_data(tmp_path):
    labels = np.array([0] * 45 + [1] * 5)
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1)).astype(np.uint8)
    values = {
        "data": {"size": 8, "labelled": True},
        "generator": {"latent_dim": 4, "widths": [4]},
        "critic": {"widths": [4], "conditioning": "projection"},
        "objective": {"loss": "hinge"},
        "train": {"batch_size": 8, "iterations": 4},
        "evaluate": {"metrics": ["histogram"], "every_images": 16, "num_samples": 200},
    }
    asked, measured = [], []

    def evaluate(self, generate, labels=None):
        asked.append(labels)
        return {"histogram": 0.0}

    def with_statistics(generator, state, latent_dim, labels, axis_name):
        measured.append(labels)
        return state

    for balanced in (False, True):
        config = Config.from_dict({**values, "data": {**values["data"], "balanced": balanced}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Evaluator, "__call__", evaluate)
            patch.setattr(recorder, "with_own_statistics", with_statistics)
            train(config, tmp_path / str(balanced), from_arrays("x", images, labels))
        assert len(asked) == 2 and all(0.05 < (chosen == 1).mean() < 0.15 for chosen in asked)
        share = {(chosen == 1).mean() for chosen in measured}
        assert len(share) == 1 and (share == {0.5} if balanced else 0.05 < share.pop() < 0.15)
        asked.clear(), measured.clear()


@pytest.mark.parametrize(
    ("epochs", "metric", "best_step", "stopped"),
    [
        # The mean of an epoch is judged by the iteration that completes it; half done epochs do not count.
        ([(1, 1.4, 5.0), (2, 2.1, 1.0), (3, 3.5, 2.0), (4, 4.2, 2.0), (5, 5.6, 2.0)], "critic_loss", 2, 4),
        # What is evaluated, at any time.
        ([(1, 0.4, 1.0), (2, 1.3, 2.0), (3, 2.2, 2.0), (4, 2.5, 2.0)], "histogram", 1, 4),
    ],
)
@pytest.mark.parametrize("direction", ["min", "max"])
def test_patience_counts_whole_epochs(epochs, metric, best_step, stopped, direction):
    of_step = {step: epoch for step, epoch, _ in epochs} | {0: 0.0}
    settings = TrainConfig(best_metric=metric, best_direction=direction, early_stopping_patience=2)
    best = BestTracker()
    schedule = SimpleNamespace(epoch=of_step.__getitem__, is_due=lambda step, every_epochs: metric == "critic_loss")
    run = SimpleNamespace(best=best)
    judge = SimpleNamespace(config=SimpleNamespace(train=settings), run=run, schedule=schedule)
    for step, _, value in epochs:
        value *= 1 if direction == "min" else -1
        best.add(value)
        recorder.RunRecorder.judge(judge, step, {} if metric == "critic_loss" else {metric: value})
        assert best.stopped_early == (step >= stopped)
        if best.stopped_early:
            break
    assert best.best_step == best_step


def test_a_picture_that_cannot_be_drawn_ends_no_training(tmp_path, monkeypatch):
    def fails(run_dir):
        raise AttributeError("no 'protocol'")

    for name in ("make_figures", "write_report"):
        monkeypatch.setattr(drawing, name, fails)
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1)).astype(np.uint8)
    values = {
        "data": {"size": 8},
        "generator": {"latent_dim": 4, "widths": [4]},
        "critic": {"widths": [4]},
        "train": {"batch_size": 8, "iterations": 1},
    }
    with pytest.warns(UserWarning, match=r"the (figures|report) could not be drawn \(no 'protocol'\)") as said:
        run = train(Config.from_dict(values), tmp_path / "run", from_arrays("x", images))
    assert sum("could not be drawn" in str(warning.message) for warning in said) == 2
    assert (run / "samples" / "step_00000001.png").is_file()


def test_reals_are_of_the_same_classes_as_the_samples():
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    kinds = np.sort(np.arange(40) % 3)
    kinds[kinds == 1] = 0  # class 1 has no sample
    data = from_arrays("x", images, kinds, class_names=("a", "b", "c"))
    wanted = np.arange(9) % 3
    chosen = _spread(data, 9, wanted)
    np.testing.assert_array_equal(data.labels[chosen], wanted[wanted != 1])
    assert len(set(chosen.tolist())) == 6, "different samples"
    assert 0 in chosen and 39 in chosen, "from all over the set"
    np.testing.assert_array_equal(_spread(data, 3, None), [0, 19, 39])
