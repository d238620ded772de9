"""A disk that is full, gone or read-only, and too little memory: one line, a safe state, and a resume that goes on."""

import os
import resource
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jaxgan.errors import Stopped
from jaxgan.runs import checkpoint
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.metrics_log import MetricsLog
from tests.faults.processes import ROOT, Command, make_material, one_line, temporaries, wait_for


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return ["train", *make_material(tmp_path_factory.mktemp("material"))]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 4 MiB, where file systems may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.getuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True).returncode
    ):
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.faults
def test_a_full_disk_is_one_line_and_a_resume_goes_on_when_there_is_room(train, small_disk, tmp_path):
    run = small_disk / "run"
    with Command(*train, "--workdir", run, "--config.train.iterations=1000000") as command:
        wait_for(run / "checkpoints" / "4", command)
        one_line(command, 1, "No space left on device", "good")
    for number in range(3):
        # Still full: nothing gets worse.
        with Command(*train, "--workdir", run, "--config.train.iterations=1000000") as command:
            status, lines = command.end()
            assert status in (1, 2) and len(lines) == 1 and "Traceback" not in lines[0], (number, lines)
    shutil.copytree(run, tmp_path / "moved")
    with Checkpoints(tmp_path / "moved") as checkpoints:
        step = checkpoints.read_newest()[0]
    more = f"--config.train.iterations={step + 8}"
    with Command(*train, "--workdir", tmp_path / "moved", more) as command:
        assert command.end() == (0, [])
    assert not temporaries(tmp_path / "moved") and not list((tmp_path / "moved").rglob("*orbax-checkpoint-tmp*"))


@pytest.mark.faults
def test_a_workdir_that_vanishes_is_one_line_and_is_not_made_again(train, tmp_path):
    run = tmp_path / "run"
    with Command(*train, "--workdir", run, "--config.train.iterations=1000000") as command:
        wait_for(run / "checkpoints" / "4", command)
        run.rename(tmp_path / "elsewhere")
        one_line(command, 1, "good")
    with Command(*train, "--workdir", tmp_path / "elsewhere", "--config.train.iterations=8") as command:
        assert command.end()[0] in (0, 1)  # It may be further than 8 already.


@pytest.mark.faults
def test_a_disk_that_becomes_read_only_is_one_line(train, small_disk):
    run = small_disk / "run"
    with Command(*train, "--workdir", run, "--config.train.iterations=1000000") as command:
        wait_for(run / "checkpoints" / "4", command)
        # Over itself: a disk with files that are open for writing cannot be made read-only as it is.
        subprocess.run(["mount", "--bind", small_disk, small_disk], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", small_disk], check=True)
        begun = time.monotonic()
        one_line(command, 1, "Read-only file system", "good")
        assert time.monotonic() - begun < 60  # Orbax's threads wait for one another for five minutes.
    with Command(*train, "--workdir", run) as command:
        one_line(command, 2, "--workdir", "Read-only file system")
    subprocess.run(["umount", "-l", small_disk], check=True)


@pytest.mark.faults
@pytest.mark.parametrize("gigabytes", [0.3, 0.6, 1.0, 1.5, 2.0, 3.0])
def test_too_little_memory_is_no_traceback(train, tmp_path, gigabytes):
    """Address space is limited: what the limit allows differs, but what is said is one line where Python can say it."""
    code = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({int(gigabytes * 2**30)},) * 2)\n"
    code += "import sys; from jaxgan.commands.main import entry_point; entry_point()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, train), "--workdir", str(tmp_path / "run")],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=1200,
    )  # fmt: skip
    # What Python cannot catch ends by abort or segmentation fault, not by waiting for ever.
    assert done.returncode in (0, 1, -6, -11), done.returncode
    last = done.stderr.splitlines()[-1:]
    print(f"{gigabytes} GiB: exit status {done.returncode}, {len(done.stderr.splitlines())} lines, the last: {last}")
    assert "Traceback" not in done.stderr, done.stderr[-2000:]
    assert not temporaries(tmp_path)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), ValueError("RESOURCE: No space left on device\nx")]
)
def test_a_refused_checkpoint_is_one_line(tmp_path, monkeypatch, error):
    with Checkpoints(tmp_path, writable=True) as checkpoints:

        def refuse(*args, **kwargs):
            if isinstance(error, ValueError):
                raise error
            raise RuntimeError("a save failed") from error

        monkeypatch.setattr(checkpoints._manager, "save", refuse)
        monkeypatch.setattr(checkpoint, "_named", lambda state: {})
        with pytest.raises(Stopped) as caught:
            checkpoints.save(1, None, {}, None)
    assert "\n" not in str(caught.value) and "(No space left on device)" in str(caught.value)


def test_no_thread_is_left_waiting_for_a_folder_that_was_refused(tmp_path, monkeypatch):
    """Orbax's would wait for five minutes, and a Python that trained for them, at its end."""
    monkeypatch.setattr(checkpoint, "_named", lambda state: {"array": np.zeros(3, np.float32)})
    before = set(threading.enumerate())
    with pytest.raises(Stopped), Checkpoints(tmp_path, writable=True) as checkpoints:
        (tmp_path / "checkpoints").rmdir()
        (tmp_path / "checkpoints").write_text("in the way")
        checkpoints.save(1, None, {}, None)
    end = time.monotonic() + 30
    while left := [thread for thread in set(threading.enumerate()) - before if thread.is_alive() and not thread.daemon]:
        assert time.monotonic() < end, left
        time.sleep(0.05)


def test_a_log_whose_events_cannot_be_written_says_so_and_does_not_wait_for_ever(tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    code = (
        "import resource, signal, sys, threading\n"
        "from jaxgan.runs.metrics_log import MetricsLog\n"
        "signal.alarm(60)\nthreading.excepthook = lambda _: None\n"
        "log = MetricsLog(sys.argv[1])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))\n"
        "try:\n    for step in range(1, 100_000):\n        log.write({'step': step, 'loss': 1.0})\n"
        "except Exception as error:\n    print(type(error).__name__)\n    import os; sys.stdout.flush(); os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() in ("OSError", "Stopped"), done
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == limit
    # Half a line may be left; the rest is read, and a resumed run goes on behind it.
    log = MetricsLog(tmp_path, start_step=5)
    assert log.summary()["lines"] == 5
    log.close()


def test_paths_of_other_bytes_are_one_line(tmp_path):
    with Command("train", "--config", "mnist", "--data_dir", "demo", "--workdir", os.fsdecode(b"run\xff")) as command:
        line = one_line(command, 2, "--workdir", "not valid UTF-8")
        assert line.isprintable()
