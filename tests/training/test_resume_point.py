"""All processes of a job go on from the same checkpoint, whatever each of them can read."""

import pytest

from jaxgan import parallel
from jaxgan.errors import InputError
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.training.resume_point import read_newest, read_step
from tests.runs.test_checkpoint import make_state


@pytest.fixture
def run(tmp_path):
    with Checkpoints(tmp_path, writable=True) as checkpoints:
        for step in (10, 20):
            checkpoints.save(step, make_state(step), {}, None)
    return tmp_path


@pytest.fixture
def blind_to_20(monkeypatch):
    """Another process of the job cannot read what this one reads."""
    monkeypatch.setattr(parallel, "gather", lambda what, value: [value, "an array is gone" if "20" in what else ""])


def test_a_checkpoint_that_another_process_cannot_read_is_passed_over_by_all(run, blind_to_20):
    with pytest.warns(UserWarning, match=r"20 is damaged: an array is gone \(in process 1\)"):
        point = read_newest(run, [10, 20])
    assert point.step == 10 and point.is_of(run)
    with pytest.raises(InputError, match=r"20 is damaged: .* \(in process 1\); choose another step"):
        read_step(run, 20)


def test_who_reads_waits_for_no_other_process(run):
    with Checkpoints(run) as checkpoints:
        assert checkpoints._manager._multiprocessing_options.active_processes == {0}
    with Checkpoints(run, writable=True) as checkpoints:
        assert checkpoints._manager._multiprocessing_options.active_processes is None
