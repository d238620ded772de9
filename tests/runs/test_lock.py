"""One trainer a folder: two processes, a killed one, another host."""

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
