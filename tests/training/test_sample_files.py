"""The samples of a run are those of its own attempt, and all that were due, wherever it was killed."""

import json

import pytest

from jaxgan.runs.checkpoint_folder import saved_steps
from jaxgan.training import loop as training
from jaxgan.training.sample_files import numbers_of, picture_of, set_samples_aside
from tests.training.test_loop import digits_like, make_config

WALK = ["interpolation.json", "interpolation.npy"]


def killed_while_sampling(monkeypatch, at):
    """The checkpoint of that step is written, its samples are not."""
    sample = training.RunRecorder.sample

    def sample_or_die(self, step, *rest):
        if step == at:
            self.checkpoints.wait()
            raise KeyboardInterrupt
        return sample(self, step, *rest)

    monkeypatch.setattr(training.RunRecorder, "sample", sample_or_die)


def sampled(run):
    return sorted(path.name for path in (run / "samples").iterdir() if path.name.startswith(("step", "interpolation")))


def test_later_samples_are_set_aside_in_place_of_those_before(tmp_path):
    names = ["step_00000002.png", "step_00000003.npy", "step_00000003.png", "real.png", "step_x.png"]
    for attempt in ("first", "second"):
        (tmp_path / "samples").mkdir(exist_ok=True)
        for name in names:
            (tmp_path / "samples" / name).write_text(attempt)
        set_samples_aside(tmp_path, 2)
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {names[0], "real.png", "step_x.png"}
    aside = sorted((tmp_path / "samples_set_aside").iterdir())
    assert [path.name for path in aside] == names[1:3] and {path.read_text() for path in aside} == {"second"}


def test_a_run_that_was_killed_at_its_end_draws_its_last_samples(tmp_path, monkeypatch, capsys):
    run, config = tmp_path / "run", make_config(iterations=3)
    with monkeypatch.context() as patch:
        killed_while_sampling(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            training.train(config, run, digits_like())
    assert saved_steps(run) == [3] and not sampled(run)
    lines = (run / "metrics.jsonl").read_text()
    training.train(config, run, digits_like())
    assert sampled(run) == [*WALK, "step_00000003.npy", "step_00000003.png"]
    assert json.loads((run / "samples" / WALK[0]).read_text()) == {"step": 3}
    assert "complete at step 3, but for its last samples" in capsys.readouterr().out
    assert (run / "metrics.jsonl").read_text() == lines and saved_steps(run) == [3]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    training.train(config, run, digits_like())
    assert "nothing to do" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def test_samples_that_were_due_at_the_checkpoint_are_drawn_and_later_ones_not_kept(tmp_path, monkeypatch):
    run = tmp_path / "run"
    every = {"checkpoint_every_iterations": 4, "sample_every_iterations": 2, "steps_per_call": 2}
    with monkeypatch.context() as patch:
        killed_while_sampling(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            training.train(make_config(iterations=9, **every), run, digits_like())
    assert saved_steps(run) == [4, 8] and not picture_of(run, 8).exists()
    numbers_of(run, 10).write_bytes(numbers_of(run, 6).read_bytes())  # As one attempt more would have left it.
    training.train(make_config(iterations=9, **every), run, digits_like())
    steps = [2, 4, 6, 8, 9]
    assert sampled(run) == [*WALK, *(f"step_{n:08d}.{kind}" for n in steps for kind in ("npy", "png"))]
    assert [path.name for path in (run / "samples_set_aside").iterdir()] == ["step_00000010.npy"]
