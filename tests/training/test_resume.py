"""What a run finds in its folder: a log that was tampered with, another trainer, checkpoints by the clock."""

import ast
import dataclasses
import json
import os
import shutil
import signal
import threading
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest

from jaxgan import training as package
from jaxgan.config import Config
from jaxgan.errors import InputError, Stopped
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.checkpoint_folder import saved_steps
from jaxgan.training import loop as training
from jaxgan.training import recorder
from jaxgan.training.resume import _count_alike, regular_checkpoints
from jaxgan.training.resume_point import ResumePoint
from jaxgan.training.stop_signal import Interrupted
from tests.training.test_growing import make_config as growing_config
from tests.training.test_loop import digits_like, logged, make_config

pytestmark = pytest.mark.bits

SOURCES = sorted(Path(package.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_functions_are_short_and_annotated(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{path.stem}.{node.name} is longer than 50 lines"
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
            assert not bare, f"{path.stem}.{node.name}: {bare}"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = tmp_path_factory.mktemp("resume") / "run"
    training.train(make_config(iterations=4), run, digits_like())
    return run


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: [], "4 of the 4 lines logged up to step 4 are gone"),
        (lambda lines: lines[:1] + lines[2:], "1 of the 4 lines"),
        (lambda lines: [json.dumps({**json.loads(lines[0]), "critic_loss": 0.5}) + "\n", *lines[1:]], "not those"),
        (lambda lines: lines, None),
    ],
)
def test_a_log_that_is_not_what_was_written_is_said(finished, tmp_path, damage, message):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    path = run / "metrics.jsonl"
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.train(make_config(iterations=5), run, digits_like())
    said = [str(warning.message) for warning in caught if "metrics.jsonl" in str(warning.message)]
    # The report that is drawn at the end may say so too.
    assert bool(said) == (message is not None) and (not said or message in said[0]), said


def test_checkpoints_by_the_clock_count_as_regular_ones(tmp_path, monkeypatch):
    now = [0.0]

    def monotonic():
        now[0] += 20.0
        return now[0]

    monkeypatch.setattr(recorder, "time", SimpleNamespace(monotonic=monotonic))
    config = make_config(iterations=12, steps_per_call=1, checkpoint_every_minutes=1.5, keep_checkpoints=2)
    training.train(config, tmp_path / "run", digits_like())
    with Checkpoints(tmp_path / "run") as checkpoints:
        steps, timed = checkpoints.steps(), checkpoints.meta(12)["regular_checkpoints"]
    # The two newest that were due by the clock, and the last.
    assert steps == sorted({*timed[-2:], 12}) and len(timed) >= 2


def test_checkpoints_that_were_due_are_kept_whatever_is_due_now(tmp_path):
    run = tmp_path / "run"
    training.train(make_config(iterations=6, checkpoint_every_iterations=2, keep_checkpoints=0), run, digits_like())
    every_five = {"checkpoint_every_iterations": 5, "keep_checkpoints": 0}
    training.train(make_config(iterations=8, **every_five), run, digits_like())
    assert saved_steps(run) == [2, 4, 6, 8]
    training.train(make_config(iterations=11, **every_five), run, digits_like())
    # Not 8, which the end of a run made, and 11 is the last.
    assert saved_steps(run) == [2, 4, 6, 10, 11]
    training.train(make_config(iterations=12, **{**every_five, "keep_checkpoints": 2}), run, digits_like())
    assert saved_steps(run) == [6, 10, 12]


def test_of_an_earlier_jaxgan_the_settings_say_which_checkpoints_were_due(tmp_path):
    for step in (2, 3, 4, 5):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    record = {
        "config": make_config(checkpoint_every_iterations=2).to_dict(),
        "data": {"size": 40},
        "timed_checkpoints": [3],
    }
    assert regular_checkpoints(ResumePoint(5, {}, record, tmp_path)) == [2, 3, 4]
    assert regular_checkpoints(ResumePoint()) == []


def stop_at(monkeypatch, stop):
    """Runs are asked to stop, once, when they have logged this step."""
    log = training.RunRecorder.log

    def log_and_stop(self, first, count, *rest):
        log(self, first, count, *rest)
        if first < stop <= first + count:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(training.RunRecorder, "log", log_and_stop)


def test_the_same_command_goes_on_with_a_run_that_began_with_another(finished, tmp_path, monkeypatch):
    run, config = tmp_path / "run", make_config(iterations=8, steps_per_call=1)
    with monkeypatch.context() as patch:
        patch.setattr(training.RunRecorder, "log", killed_at(6))
        with pytest.raises(KeyboardInterrupt):  # Before it has saved anything.
            training.train(config, run, digits_like(), resume=str(finished))
    assert not saved_steps(run) and [record["step"] for record in logged(run)] == [5]
    with monkeypatch.context() as patch:
        stop_at(patch, 7)
        with pytest.raises(Interrupted, match="step 7; the same command goes on"):
            training.train(config, run, digits_like(), resume=str(finished))
    training.train(config, run, digits_like(), resume=str(finished / "checkpoints" / "4"))
    assert saved_steps(run)[-1] == 8 and [record["step"] for record in logged(run)] == [5, 6, 7, 8]
    other = training.train(make_config(iterations=1), tmp_path / "other", digits_like())
    with pytest.raises(InputError, match="holds a run: to start from"):
        training.train(config, run, digits_like(), resume=str(other))


def killed_at(step):
    log = training.RunRecorder.log

    def log_or_die(self, first, count, *rest):
        if first + count == step:
            raise KeyboardInterrupt
        log(self, first, count, *rest)

    return log_or_die


def test_a_stop_whose_checkpoint_cannot_be_written_says_that(tmp_path, monkeypatch):
    """The files are written while samples are drawn: that it went wrong is known only later."""
    save = Checkpoints.save

    def save_badly(self, *rest):
        def fail(step):
            raise OSError(28, "No space left on device")

        self._manager._finalize_checkpoint = fail
        save(self, *rest)

    monkeypatch.setattr(Checkpoints, "save", save_badly)
    stop_at(monkeypatch, 2)
    with pytest.raises(Stopped, match=r"could not be written to .* \(No space left on device\)") as caught:
        training.train(make_config(steps_per_call=1), tmp_path / "run", digits_like())
    assert not isinstance(caught.value, Interrupted)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("generator", {"widths": [4, 4]}, "but this model needs"),
        ("train", {"batch_size": 4}, r"batch_size 8 -> 4: .* first 4 iterations .* empty --workdir with --resume"),
        ("objective", {"n_critic": 1}, r"config.objective.n_critic 2 -> 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:resuming with changed settings")
def test_a_run_that_cannot_go_on_as_asked_is_left_as_it_was(finished, tmp_path, section, values, message):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    (run / "checkpoints" / "9").mkdir()  # Damaged: it would be moved aside.
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    config = make_config(iterations=12).to_dict()
    config[section] = {**config[section], **values}
    with pytest.raises(InputError, match=message), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* is damaged")
        training.train(Config.from_dict(config), run, digits_like())
    assert (run / "checkpoints" / "9").is_dir()
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_what_is_to_come_may_be_planned_anew():
    """Two iterations of the first stage, then the second one."""
    old, new = (growing_config(9, batch_sizes=[8, last]) for last in (8, 4))
    assert _count_alike(old, new, 2) and not _count_alike(old, new, 3)
    assert _count_alike(old, dataclasses.replace(old, seed=3), 9)


def test_one_copy_of_the_state_waits_for_the_disk_and_a_stop_saves_no_step_twice(tmp_path, monkeypatch):
    save, wait, to_host = Checkpoints.save, Checkpoints.wait, training.parallel.to_host
    steps, written, under_way, waited_for = [], [], [], threading.Event()

    def copy(tree):
        if hasattr(tree, "ema_params"):  # A state, not the values of an iteration.
            under_way.append(len(steps) - len(written))
        return to_host(tree)

    def save_late(self, step, *rest):
        waited_for.set()
        if not steps:
            finalize = self._manager._finalize_checkpoint

            def finalize_late(step):
                # As slow as a disk can be: until somebody waits for it.
                assert waited_for.wait(60)
                finalize(step)
                written.append(step)

            monkeypatch.setattr(self._manager, "_finalize_checkpoint", finalize_late)
        else:
            self._manager.wait_until_finished()
        waited_for.clear()
        steps.append(step)
        save(self, step, *rest)
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)  # While its files are being written.

    def told(method):
        def tell(self):
            waited_for.set()
            method(self)

        return tell

    monkeypatch.setattr(Checkpoints, "save", save_late)
    monkeypatch.setattr(Checkpoints, "wait", told(wait))
    monkeypatch.setattr(Checkpoints, "close", told(Checkpoints.close))
    monkeypatch.setattr(training, "parallel", SimpleNamespace(**{**vars(training.parallel), "to_host": copy}))
    config = make_config(iterations=40, steps_per_call=1, checkpoint_every_iterations=2)
    with pytest.raises(Interrupted):
        training.train(config, tmp_path / "run", digits_like())
    assert steps == written == [2, 4, 6, 7] and under_way == [0, 0, 0, 0]


def test_a_held_folder_is_refused_and_released(finished, tmp_path):
    from jaxgan.runs.lock import lock_run

    run = tmp_path / "run"
    with lock_run(run), pytest.raises(InputError, match="in use by process"):
        training.train(make_config(iterations=2), run, digits_like())
    assert not run.exists()
    training.train(make_config(iterations=1), run, digits_like())
    assert not (run / "lock.json").exists()


def test_a_folder_that_is_moved_while_a_checkpoint_is_saved_ends_the_run(tmp_path, monkeypatch):
    """Orbax makes the folder anew: the run would go on there, without its log and its earlier checkpoints."""
    save, run = Checkpoints.save, tmp_path / "run"

    def save_late(self, step, *rest):
        if step == 4:
            self.wait()
            run.rename(tmp_path / "moved")
        save(self, step, *rest)

    config = make_config(iterations=8, steps_per_call=1, checkpoint_every_iterations=2)
    monkeypatch.setattr(Checkpoints, "save", save_late)
    with pytest.raises(Stopped, match="run was moved, removed or replaced"):
        training.train(config, run, digits_like())
    assert not (run / "metrics.jsonl").exists()
    monkeypatch.setattr(Checkpoints, "save", save)
    training.train(config, tmp_path / "moved", digits_like())
    assert len(logged(tmp_path / "moved")) == 8


def test_a_start_map_of_one_pixel_and_a_short_run_are_warned_of(tmp_path):
    values = make_config(iterations=1).to_dict()
    config = Config.from_dict({**values, "generator": {"latent_dim": 5, "widths": [8, 6, 4]}})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        training.train(config, tmp_path / "run", digits_like())
    said = " ".join(str(warning.message) for warning in caught)
    assert "from a map of one" in said and "the whole run shows the critic 16 images" in said
