"""The loop: resume is exact, the best model is the best, early stopping stops, and a finished run is left alone."""

import json
import math
import os
import signal
import warnings

import jax
import numpy as np
import pytest

from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.errors import InputError
from jaxgan.inference.trained_model import generate_interpolation, generate_samples, load_trained_model
from jaxgan.runs import trackers
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.checkpoint_folder import set_aside
from jaxgan.runs.metrics_log import read_metrics
from jaxgan.training import loop as training
from jaxgan.training.best import BestTracker

pytestmark = pytest.mark.bits


def digits_like(seed=0, count=40):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 8, 8, 1)).astype(np.uint8)
    return from_arrays("noise", images, np.arange(count) % 2, fingerprint=f"noise-{seed}")


def make_config(**train):
    conditional = {"data": {"size": 8, "labelled": True}, "critic": {"widths": [4, 6], "conditioning": "projection"}}
    return Config.from_dict(
        {
            **conditional,
            "generator": {"latent_dim": 5, "widths": [6, 4]},
            "objective": {"loss": "wgan", "n_critic": 2},
            "optimizer": {"lr": 1e-3},
            "augment": {"flip": 0.5},
            "train": {"batch_size": 8, "iterations": 20, "log_every_iterations": 1, "num_samples": 4,
                      "checkpoint_every_epochs": 0.0, "sample_every_epochs": 0.0, "steps_per_call": 4, **train},
        }
    )  # fmt: skip


def arrays(run_dir, step):
    with Checkpoints(run_dir) as checkpoints:
        return checkpoints.read(step)


def logged(run_dir):
    return [{k: v for k, v in record.items() if k != "images_per_second"} for record in read_metrics(run_dir)]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """20 iterations without a break."""
    return training.train(make_config(), tmp_path_factory.mktemp("runs") / "whole", digits_like())


def test_a_run_leaves_what_the_contract_says(whole_run):
    names = {path.name for path in whole_run.iterdir()}
    assert {"config.json", "metrics.jsonl", "samples", "checkpoints", "environment.json"} <= names
    about = json.loads((whole_run / "samples" / "about.json").read_text())
    assert about["data_size"] == digits_like().size and about["labels"] == about["real_labels"] == [0, 1, 0, 1]
    assert "jaxlib" in json.loads((whole_run / "environment.json").read_text())["versions"]
    assert any(name.startswith("events.") for name in names)
    assert Config.from_dict(json.loads((whole_run / "config.json").read_text())) == make_config()
    records = logged(whole_run)
    assert [record["step"] for record in records] == list(range(1, 21))
    assert records[4]["images"] == 5 * 16 and records[4]["epoch"] == 2.0
    for name in ("critic_loss", "generator_loss", "wasserstein", "gradient_penalty"):
        assert all(np.isfinite(record[name]) for record in records)
    assert (whole_run / "samples" / "step_00000020.png").stat().st_size > 0
    samples = np.load(whole_run / "samples" / "step_00000020.npy", allow_pickle=False)
    assert samples.shape == (4, 8, 8, 1) and np.abs(samples).max() <= 1


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(whole_run, tmp_path):
    run = tmp_path / "run"
    training.train(make_config(iterations=10), run, digits_like())
    training.train(make_config(steps_per_call=3), run, digits_like())
    (expected, record), (got, resumed) = arrays(whole_run, 20), arrays(run, 20)
    assert got.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert logged(run) == logged(whole_run)
    # Which epoch is best may differ only through `complete`: the tracker travels too.
    assert resumed["progress"] == record["progress"]


def test_a_run_stopped_between_checkpoints_repeats_what_was_lost(whole_run, tmp_path, monkeypatch):
    """A crash after the last checkpoint: the log's later lines are written again, not twice."""
    run = tmp_path / "run"
    save = training.RunRecorder.save

    def crash(recorder, step, *rest):
        save(recorder, step, *rest)
        if step == 20:
            raise KeyboardInterrupt

    config = make_config(checkpoint_every_iterations=7)
    monkeypatch.setattr(training.RunRecorder, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        training.train(config, run, digits_like())
    monkeypatch.undo()
    assert len(set_aside(run, 14)) == 1
    training.train(config, run, digits_like())
    got, expected = arrays(run, 20)[0], arrays(whole_run, 20)[0]
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert logged(run) == logged(whole_run)


def test_sigterm_saves_and_the_same_command_goes_on(whole_run, tmp_path, monkeypatch):
    run = tmp_path / "run"
    log = training.RunRecorder.log

    def kill_at_8(recorder, first, count, *rest):
        log(recorder, first, count, *rest)
        if first + count == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(training.RunRecorder, "log", kill_at_8)
    with pytest.raises(training.Interrupted, match="step 8"):
        training.train(make_config(), run, digits_like())
    monkeypatch.undo()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    training.train(make_config(), run, digits_like())
    got, expected = arrays(run, 20)[0], arrays(whole_run, 20)[0]
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


def test_a_finished_run_says_so_and_does_nothing(whole_run, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole_run.rglob("*") if path.is_file()}
    training.train(make_config(), whole_run, digits_like())
    assert "complete at step 20" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in whole_run.rglob("*") if path.is_file()}


def test_best_model_and_early_stopping_on_a_plateau(tmp_path, monkeypatch, capsys):
    """Three epochs that improve, then a plateau: the third is kept as the best, and patience ends the run."""
    levels = [3.0, 2.0, 1.0, 1.5, 1.5, 1.5, 1.5, 1.5]
    add = BestTracker.add
    seen = []

    def plateau(progress, value):
        seen.append(value)
        epoch = min((len(seen) - 1) * 16 // 48, len(levels) - 1)
        add(progress, levels[epoch])

    monkeypatch.setattr(BestTracker, "add", plateau)
    plateaued = {"best_metric": "generator_loss", "early_stopping_patience": 3, "keep_checkpoints": 1}
    config = make_config(iterations=100, **plateaued)
    run = training.train(config, tmp_path / "run", digits_like(count=48))
    assert "stopping early at step 18" in capsys.readouterr().out
    with Checkpoints(run) as checkpoints:
        assert checkpoints.steps() == [9, 18]  # The best and the last.
        progress = checkpoints.meta(18)["progress"]
    assert (progress["best_step"], progress["best_value"]) == (9, 1.0)
    assert progress["complete"] and progress["stopped_early"]
    assert load_trained_model(run).step == 9 and load_trained_model(run, "latest").step == 18

    training.train(config, run, digits_like(count=48))
    assert "complete at step 18" in capsys.readouterr().out
    # Given more to do it goes on, and patience counts from there.
    training.train(make_config(iterations=103, **plateaued), run, digits_like(count=48))
    assert "stopping early at step 27" in capsys.readouterr().out
    patient = {**plateaued, "early_stopping_patience": 4}
    training.train(make_config(iterations=103, **patient), run, digits_like(count=48))
    assert "stopping early at step 39" in capsys.readouterr().out


def test_without_a_metric_the_latest_model_is_the_best(whole_run):
    assert load_trained_model(whole_run, "best").step == 20


def test_a_best_value_of_another_metric_is_forgotten(tmp_path):
    run = training.train(
        make_config(iterations=10, best_metric="critic_gradient_norm"), tmp_path / "run", digits_like()
    )
    with Checkpoints(run) as checkpoints:
        first = checkpoints.meta(10)["progress"]
    with pytest.warns(UserWarning, match="best_metric"):
        training.train(make_config(iterations=15, best_metric="wasserstein"), run, digits_like())
    with Checkpoints(run) as checkpoints:
        second = checkpoints.meta(15)["progress"]
    assert first["best_step"] <= 10 < second["best_step"]


def test_the_best_model_by_an_evaluated_metric(tmp_path):
    config = make_config(iterations=6, best_metric="histogram")
    config = Config.from_dict(
        {**config.to_dict(), "evaluate": {"metrics": ["histogram"], "every_images": 32, "num_samples": 16}}
    )
    run = training.train(config, tmp_path / "run", digits_like())
    evaluated = {record["step"]: record["histogram"] for record in logged(run) if "histogram" in record}
    assert list(evaluated) == [2, 4, 6]
    again = training.train(
        Config.from_dict({**config.to_dict(), "train": {**config.to_dict()["train"], "iterations": 3}}),
        tmp_path / "again",
        digits_like(),
    )
    training.train(config, again, digits_like())
    assert logged(again) == logged(run)
    assert load_trained_model(run).step == min(evaluated, key=evaluated.get)
    with pytest.raises(InputError, match="the lowest is best: set it to min"):
        wrong = {**config.to_dict(), "train": {**config.to_dict()["train"], "best_direction": "max"}}
        training.train(Config.from_dict(wrong), tmp_path / "other", digits_like())


def test_a_damaged_last_checkpoint_costs_only_what_came_after_the_one_before(whole_run, tmp_path):
    run = tmp_path / "run"
    config = make_config(checkpoint_every_iterations=15)
    training.train(config, run, digits_like())
    largest = max((run / "checkpoints" / "20").rglob("*"), key=lambda path: path.stat().st_size)
    largest.write_bytes(b"\0" * largest.stat().st_size)
    with pytest.warns(UserWarning) as warned:
        training.train(config, run, digits_like())
    assert any("20 is damaged" in str(warning.message) for warning in warned)
    assert [path.name[:3] for path in (run / "checkpoints_set_aside").iterdir()] == ["20-"]
    got, expected = arrays(run, 20)[0], arrays(whole_run, 20)[0]
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


@pytest.mark.parametrize(
    ("config", "dataset", "message"),
    [
        (make_config(batch_size=6), digits_like(), r"batch_size=6 does not divide by the 4 devices: use 4 or 8"),
        (Config(), digits_like(), r"shape \[8, 8, 1\] but the config asks for \[28, 28, 1\]"),
        (make_config(), from_arrays("plain", np.zeros((4, 8, 8, 1), np.uint8)), "has no labels"),
        (make_config(best_metric="fid"), digits_like(), "best_metric='fid' is not logged: choose one of"),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_no_folder(tmp_path, config, dataset, message):
    with pytest.raises(InputError, match=message):
        training.train(config, tmp_path / "run", dataset)
    assert not (tmp_path / "run").exists()


def test_other_data_and_changed_settings_do_not_pass_unseen(whole_run, tmp_path):
    with pytest.raises(InputError, match="trained on other data"):
        training.train(make_config(iterations=30), whole_run, digits_like(seed=1))
    changed = Config.from_dict({**make_config(iterations=22).to_dict(), "seed": 5})
    with pytest.warns(UserWarning, match="config.seed 0 -> 5"):
        training.train(changed, tmp_path / "other", digits_like(), resume=str(whole_run))


def test_resume_never_and_foreign_checkpoints_overwrite_nothing(whole_run, tmp_path):
    for resume, message in (
        ("never", "holds a run: choose another, or go on with it by resume auto"),
        (str(tmp_path / "nowhere"), "not a run"),
    ):
        with pytest.raises(InputError, match=message):
            training.train(make_config(iterations=30), whole_run, digits_like(), resume=resume)
    empty = tmp_path / "empty"
    training.train(make_config(iterations=1), empty, digits_like())
    with pytest.raises(InputError, match="holds a run"):
        training.train(make_config(iterations=30), empty, digits_like(), resume=str(whole_run))


def test_a_loss_that_is_not_finite_stops_before_it_is_saved(tmp_path):
    config = Config.from_dict(
        {**make_config(checkpoint_every_iterations=1).to_dict(), "optimizer": {"name": "sgd", "lr": 1e30}}
    )
    with pytest.raises(FloatingPointError, match="not finite at step"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training.train(config, tmp_path / "run", digits_like())
    with Checkpoints(tmp_path / "run") as checkpoints:
        for step in checkpoints.steps():
            assert all(np.isfinite(array).all() for array in checkpoints.read(step)[0].values())


def test_samples_are_the_same_bytes_whatever_the_count(whole_run):
    model = load_trained_model(whole_run, "latest")
    assert model.class_names == ("0", "1") and model.step == 20 and model.scaling.high == 255
    first = generate_samples(model, 3, seed=4)
    assert first.shape == (3, 8, 8, 1) and first.dtype == np.float32
    np.testing.assert_array_equal(first, generate_samples(model, 70, seed=4)[:3])
    assert np.any(first != generate_samples(model, 3, seed=5))
    np.testing.assert_array_equal(first, generate_samples(model, 3, labels=[0, 1], seed=4))
    assert np.any(first != generate_samples(model, 3, labels=[1], seed=4))


def test_interpolation_starts_and_ends_at_its_latents(whole_run):
    model = load_trained_model(whole_run, "latest")
    ends = generate_samples(model, 2, labels=[1], seed=4)
    for spherical in (True, False):
        way = generate_interpolation(model, 5, label=1, seed=4, spherical=spherical)
        assert way.shape == (5, 8, 8, 1)
        np.testing.assert_allclose(way[[0, -1]], ends, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "^n=0 is not valid"),
        ({"n": 1, "labels": [2]}, r"^labels=2 is not valid: the classes are 0=0, 1=1"),
        ({"n": 1, "truncation": 0.0}, r"^truncation=0\.0 is not valid"),
    ],
)
def test_wrong_requests_for_samples_are_one_line(whole_run, arguments, message):
    with pytest.raises(InputError, match=message):
        generate_samples(load_trained_model(whole_run), **arguments)


@pytest.mark.parametrize("source", ["streaming", "sharded"])
def test_every_source_gives_the_bits_of_the_resident_one(whole_run, tmp_path, source):
    config = Config.from_dict({**make_config().to_dict(), "data": {"size": 8, "labelled": True, "source": source}})
    run = training.train(config, tmp_path / "run", digits_like())
    got, expected = arrays(run, 20)[0], arrays(whole_run, 20)[0]
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)
    assert jax.local_device_count() == 4


def test_a_tracker_hears_of_a_run_what_its_folder_holds(tmp_path, monkeypatch):
    told = {}

    class Tracker:
        id = "here"

        def __init__(self, run_dir, known):
            pass

        def __getattr__(self, method):
            return lambda *arguments: told.setdefault(method, []).append(arguments)

    monkeypatch.setitem(trackers.TRACKERS, "told", Tracker)
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: name)
    run_dir = training.train(make_config(iterations=2), tmp_path / "run", digits_like(), track=["told"])
    assert told["settings"] == [(make_config(iterations=2).fields(),)] and told["close"] == [(False,)]
    assert [step for _, step in told["scalars"]] == [1, 2]
    first = {name: value for name, value in read_metrics(run_dir)[0].items() if not math.isnan(value)}
    assert told["scalars"][0][0] == {name: value for name, value in first.items() if name != "step"}
    # In the units of the data.
    (_, reals, start), (_, samples, end) = told["histogram"]
    assert (start, end) == (0, 2) and reals.min() >= 0 and 200 < reals.max() <= 255 and samples.max() > 100
    ((name, picture, _),) = told["image"]
    assert name == "samples" and picture.dtype == np.uint8
