"""Verdicts, and what the loop makes of them: stop, warn, or back to the last good checkpoint, exactly repeatable."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan.config import Config
from jaxgan.config.schema import TrainConfig
from jaxgan.gan import build
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.metrics_log import read_metrics
from jaxgan.training import loop as training
from jaxgan.training import recorder, resume, rollback
from jaxgan.training import run as run_module
from jaxgan.training.health import ALIKE_BELOW, GO_ON, MUST_BE_FINITE, ROLLBACK, STOP, WARN, Health, of_samples, spread
from tests.training.test_loop import arrays, digits_like, logged, make_config

pytestmark = pytest.mark.bits


def metrics(**broken):
    values = {name: np.ones(4, np.float32) for name in (*MUST_BE_FINITE, "gradient_penalty")}
    for name, (i, value) in broken.items():
        values[name][i] = value
    return values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", MUST_BE_FINITE)
def test_the_first_iteration_that_is_not_finite_decides(name, value):
    verdict = Health(TrainConfig()).of_losses(10, 4, metrics(**{"generator_loss": (3, np.nan), name: (2, value)}))
    assert (verdict.action, verdict.step) == (STOP, 13) and name in verdict.reason
    assert "on_nan=rollback" in verdict.reason


def test_what_need_not_be_finite_or_was_not_run_does_not_count():
    health = Health(TrainConfig())
    assert health.of_losses(0, 4, metrics(gradient_penalty=(1, np.nan))).action == GO_ON
    assert health.of_losses(0, 2, metrics(critic_loss=(2, np.nan))).action == GO_ON


def test_rollbacks_are_counted_lower_the_rates_and_end():
    health = Health(TrainConfig(on_nan="rollback", max_rollbacks=2, rollback_lr_factor=0.25))
    for expected in (ROLLBACK, ROLLBACK, STOP):
        assert health.of_losses(0, 4, metrics(critic_loss=(0, np.nan))).action == expected
        if expected == ROLLBACK:
            health.rolled_back()
    assert health.to_dict() == {"rollbacks": 2, "rate_factor": 0.25**2}
    assert "after 2 rollbacks" in health.of_state(5, {"w": np.array([np.inf])}).reason


def test_a_state_is_judged_by_its_floats():
    health = Health(TrainConfig())
    assert health.of_state(1, {"count": np.int32(3), "w": np.ones(3, np.float32)}).action == GO_ON
    assert health.of_state(1, {"w": np.array([1.0, np.nan], np.float32)}).action == STOP


def test_spread_is_that_within_classes():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4000, 3, 3, 1))
    labels = np.arange(4000) % 2
    assert spread(noise) == pytest.approx(1.0, abs=0.02)
    assert spread(noise + 10 * labels[:, None, None, None], labels) == pytest.approx(1.0, abs=0.02)
    assert np.isnan(spread(noise[:2], labels[:2]))


def test_collapsed_samples_and_a_dead_critic_are_warned_of():
    rng = np.random.default_rng(0)
    samples, alive, dead = rng.normal(size=(16, 8, 8, 1)), np.full(3, 1e-3), np.zeros(3)
    assert of_samples(1, samples, None, 1.0, alive).action == GO_ON
    alike = of_samples(1, 0.5 * ALIKE_BELOW * samples, None, 1.0, alive)
    assert alike.action == WARN and "all alike" in alike.reason and "below 1%" in alike.reason
    assert "critic is dead" in of_samples(1, samples, None, 1.0, dead).reason
    # One sample says nothing about others; constant reals neither.
    assert of_samples(1, samples[:1], None, 1.0, alive).action == GO_ON
    assert of_samples(1, 0 * samples, None, 0.0, alive).action == GO_ON


def test_a_run_says_that_its_samples_are_alike_and_that_its_critic_is_dead(tmp_path, monkeypatch):
    values = rollback_config(iterations=2).to_dict()
    # A critic whose weights are clipped to next to nothing.
    values["objective"] = {"loss": "wgan", "n_critic": 1, "weight_clip": 1e-6}
    values["critic"] = {"widths": [4], "norm": "none"}
    generate = recorder.generate
    monkeypatch.setattr(recorder, "generate", lambda *args, **kwargs: 0 * generate(*args, **kwargs) + 0.25)
    with pytest.warns(UserWarning, match=r"step 2: the samples are all alike.*the critic is dead"):
        training.train(Config.from_dict(values), tmp_path / "run", digits_like())


class Poisoned:
    """Lets the generator's gradient be NaN at an iteration while its learning rate is the full one.

    What breaks a run must depend on its state alone, so that a resumed run meets it again.
    """

    def __init__(self, monkeypatch, at, times=1):
        rates, build_optimizer = [], build.build_optimizer

        def poisoned(config, lr, updates, total):
            inner = build_optimizer(config, lr, updates, total)
            rates.append(lr)
            if lr <= config.lr * 0.5**times:
                return inner

            def update(gradient, state, params=None):
                updates, state = inner.update(gradient, state, params)
                count = optax.tree.get_all_with_path(state, "count")[0][1]
                return jax.tree.map(lambda u: jnp.where(count > at, jnp.nan, u), updates), state

            return optax.GradientTransformation(inner.init, update)

        self.rates = rates
        monkeypatch.setattr(build, "build_optimizer", poisoned)


def rollback_config(**train):
    """A game that compiles quickly: without classes, augmentation and second derivatives."""
    config = make_config(**{"checkpoint_every_iterations": 4, "on_nan": "rollback", **train})
    return Config.from_dict(
        {
            "data": {"size": 8},
            "generator": {"latent_dim": 4, "widths": [4]},
            "critic": {"widths": [4]},
            "objective": {"loss": "hinge"},
            "optimizer": {"name": "adam", "lr": 1e-3},
            "train": config.to_dict()["train"],
        }
    )


def run_and_listen(config, folder):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.train(config, folder, digits_like())
    return [str(warning.message) for warning in caught if "rollback" in str(warning.message)]


def test_a_run_goes_back_once_and_repeats_exactly_when_it_is_interrupted(tmp_path, monkeypatch):
    poison = Poisoned(monkeypatch, at=10)
    said = run_and_listen(rollback_config(iterations=16), tmp_path / "whole")
    assert len(said) == 1 and "rates times 0.5 (rollback 1 of 3)" in said[0], said
    assert min(poison.rates) == 0.5e-3
    got, record = arrays(tmp_path / "whole", 16)
    assert record["health"] == {"rollbacks": 1, "rate_factor": 0.5}
    assert all(np.isfinite(array).all() for array in got.values())
    lines = read_metrics(tmp_path / "whole")
    events = [line for line in lines if "rolled_back_from" in line]
    assert [(event["step"], event["rollbacks"]) for event in events] == [(events[0]["step"], 1)]
    assert [line["step"] for line in lines if "critic_loss" in line] == list(range(1, 17))

    # Stopped where no checkpoint is due: between the good checkpoint and the bad iteration, and after the rollback.
    for stop in (events[0]["step"] + 1, 14):
        run = tmp_path / f"stopped_{stop}"
        log = training.RunRecorder.log

        def stop_once(recorder, first, count, *rest, stop=stop, log=log):
            log(recorder, first, count, *rest)
            if first < stop <= first + count:
                training.StopSignal.requested = lambda self: True

        requested = training.StopSignal.requested
        monkeypatch.setattr(training.StopSignal, "requested", requested)
        monkeypatch.setattr(training.RunRecorder, "log", stop_once)
        with pytest.raises(training.Interrupted):
            run_and_listen(rollback_config(iterations=16, steps_per_call=1), run)
        monkeypatch.setattr(training.StopSignal, "requested", requested)
        monkeypatch.setattr(training.RunRecorder, "log", log)
        run_and_listen(rollback_config(iterations=16), run)
        again, resumed = arrays(run, 16)
        for name, array in got.items():
            np.testing.assert_array_equal(again[name], array, err_msg=name)
        assert resumed["health"] == record["health"]
        assert logged(run) == logged(tmp_path / "whole")


def test_without_a_checkpoint_a_run_goes_back_to_its_beginning_with_other_draws(tmp_path, monkeypatch):
    Poisoned(monkeypatch, at=2, times=2)
    config = rollback_config(iterations=5, max_rollbacks=2, checkpoint_every_iterations=0)
    keys = []
    place = run_module.Run.place
    monkeypatch.setattr(
        run_module.Run, "place", lambda run, point: (place(run, point), keys.append(np.array(run.state.key)))
    )
    assert len(run_and_listen(config, tmp_path / "run")) == 2
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.steps() == [5]
        final, record = checkpoints.read(5)
    assert record["health"]["rollbacks"] == 2
    assert np.any(final["key"] != keys[0])


def test_a_run_goes_back_to_a_checkpoint_that_was_due_by_an_earlier_interval(tmp_path, monkeypatch):
    run_and_listen(rollback_config(iterations=9), tmp_path / "run")
    Poisoned(monkeypatch, at=10)
    with pytest.warns(UserWarning, match="back to step 8"):
        config = rollback_config(iterations=16, checkpoint_every_iterations=50)
        training.train(config, tmp_path / "run", digits_like())


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_rollback_takes_over_no_best_that_was_judged_otherwise(tmp_path, monkeypatch, elsewhere):
    first = rollback_config(iterations=10, best_metric="generator_loss")
    run_and_listen(first, tmp_path / "run")
    with Checkpoints(tmp_path / "run") as checkpoints:
        assert checkpoints.read(10)[1]["progress"]["best_step"] is not None
    Poisoned(monkeypatch, at=11)
    folder = tmp_path / ("other" if elsewhere else "run")
    metric = "generator_loss" if elsewhere else "critic_gradient_norm"
    config = rollback_config(iterations=16, best_metric=metric)
    bests = []
    monkeypatch.setattr(rollback, "tracker_at", lambda *args: bests.append(resume.tracker_at(*args)) or bests[-1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.train(config, folder, digits_like(), resume=str(tmp_path / "run") if elsewhere else "auto")
    step = 10 if elsewhere else 8  # The newest that was due.
    assert any(f"back to step {step}" in str(warning.message) for warning in caught)
    assert len(bests) == 1 and bests[0].patience_from == step
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.read(16)[1]["progress"]["best_step"] > step


def test_too_many_rollbacks_end_the_run(tmp_path, monkeypatch):
    Poisoned(monkeypatch, at=2, times=9)
    with pytest.raises(FloatingPointError, match=r"after 1 rollbacks"):
        run_and_listen(rollback_config(iterations=8, max_rollbacks=1), tmp_path / "run")
