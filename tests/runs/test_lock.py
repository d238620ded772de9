"""One trainer a folder: two processes, a killed one, another host."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from jaxgan.errors import InputError, Stopped
from jaxgan.runs.lock import FILE_NAME, lock_run

HOLD = """
import sys, time
from jaxgan.runs.lock import lock_run

with lock_run(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold(folder):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_a_killed_one_leaves_nothing_in_the_way(tmp_path):
    run = tmp_path / "run"
    process = hold(run)
    try:
        with pytest.raises(InputError, match=f"in use by process {process.pid} on {socket.gethostname()}, since"):
            lock_run(run).__enter__()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL and (run / FILE_NAME).exists()
    with lock_run(run):
        assert json.loads((run / FILE_NAME).read_text())["pid"] == os.getpid()
    assert not (run / FILE_NAME).exists()


def test_a_lock_of_another_host_is_explained(tmp_path):
    (tmp_path / FILE_NAME).write_text('{"host": "elsewhere", "pid": 1, "start": "2026-01-01"}')
    with pytest.raises(InputError, match="process 1 on elsewhere.* if it no longer runs, delete"):
        lock_run(tmp_path).__enter__()
    assert (tmp_path / FILE_NAME).exists()


@pytest.fixture
def no_system_locks(monkeypatch):
    """As a file system without `flock` answers."""

    def refuse(*args):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_system_locks_a_process_that_runs_is_respected(tmp_path, no_system_locks):
    process = hold(tmp_path / "run")
    try:
        with pytest.raises(InputError, match=f"in use by process {process.pid}"):
            lock_run(tmp_path / "run").__enter__()
    finally:
        process.kill()
        process.wait()
    with lock_run(tmp_path / "run"), pytest.raises(InputError, match="in use"):
        lock_run(tmp_path / "run").__enter__()  # Also by this process itself.


@pytest.mark.parametrize("record", [{}, {"began": "another-boot-77"}], ids=["by an earlier jaxgan", "before"])
def test_a_process_of_our_number_that_was_killed_is_not_us(tmp_path, no_system_locks, record):
    """In a container the trainer has the same number at every start."""
    holder = {"host": socket.gethostname(), "pid": os.getpid(), "start": "2026-01-01", **record}
    (tmp_path / FILE_NAME).write_text(json.dumps(holder))
    with lock_run(tmp_path):
        assert json.loads((tmp_path / FILE_NAME).read_text())["start"] != "2026-01-01"


def test_another_process_that_got_a_killed_ones_number_is_not_it(tmp_path, no_system_locks):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        holder = {"host": socket.gethostname(), "pid": process.pid, "start": "2026-01-01", "began": "another-boot-77"}
        (tmp_path / FILE_NAME).write_text(json.dumps(holder))
        with lock_run(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()


def test_half_a_record_is_that_of_a_killed_process(tmp_path):
    (tmp_path / FILE_NAME).write_text('{"host":')
    with lock_run(tmp_path):
        pass


def test_a_folder_made_for_nothing_is_removed_and_one_with_files_kept(tmp_path):
    with pytest.raises(ValueError), lock_run(tmp_path / "empty"):
        raise ValueError
    assert not (tmp_path / "empty").exists()
    with lock_run(tmp_path / "full"):
        (tmp_path / "full" / "config.json").write_text("{}")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["config.json"]


def test_a_folder_that_is_moved_or_replaced_is_no_longer_held(tmp_path):
    run = tmp_path / "run"
    with lock_run(run) as check_held:
        check_held()
        run.rename(tmp_path / "elsewhere")
        with pytest.raises(Stopped, match="was moved, removed or replaced"):
            check_held()
        with lock_run(run):  # Another trainer, in a new folder of this name.
            with pytest.raises(Stopped):
                check_held()
            held = json.loads((run / FILE_NAME).read_text())
            assert held["pid"] == os.getpid()
        assert not run.exists()
        (tmp_path / "elsewhere").rename(run)
        check_held()
    assert not run.exists()
