"""Several processes of one job: each knows its place, and none outlives a failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jaxgan.commands.launch import launch

ROOT = Path(__file__).parents[2]


def python(code):
    return [sys.executable, "-c", f"import os, sys, time; me = os.environ['JAXGAN_PROCESS']; {code}"]


def test_each_process_knows_its_place_and_the_job(tmp_path):
    write = "open(os.path.join(sys.argv[1], me), 'w').write(' '.join(os.environ['JAXGAN_' + n] for n in names))"
    code = f"names = ('COORDINATOR', 'PROCESSES'); {write}"
    assert launch([*python(code), str(tmp_path)], 2) == 0
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written.keys() == {"0", "1"} and written["0"] == written["1"]
    assert written["0"].startswith("127.0.0.1:") and written["0"].endswith(" 2")


def test_the_first_failure_ends_all_and_is_the_status(monkeypatch):
    monkeypatch.setattr("jaxgan.commands.launch.OWN_WORDS", 0.5)
    begun = time.monotonic()
    assert launch(python("time.sleep(120) if me == '0' else sys.exit(3)"), 2) == 3
    assert time.monotonic() - begun < 60


def command(child, folder):
    """`jaxgan launch` of two processes, with less patience than it has; once both have said that they are there."""
    work = [
        *python(f"import signal; {child}; open(os.path.join(sys.argv[1], me), 'w').close(); time.sleep(60)"),
        folder,
    ]
    code = (
        "import signal, sys; from jaxgan.commands import cli, launch; from jaxgan.processes import ending;"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL);"  # The tests themselves may run under nohup.
        "ending.PATIENCE = launch.AT_ONCE = 0.3;"
        f"cli.run(lambda: launch.launch({list(map(str, work))}, 2))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    parent = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)
    begun = time.monotonic()
    while len(list(folder.iterdir())) < 2 and time.monotonic() - begun < 50:
        time.sleep(0.02)
    return parent


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_passed_on_and_the_processes_save_for_as_long_as_they_need(tmp_path, number):
    save = "time.sleep(1), open(os.path.join(sys.argv[1], 'saved' + me), 'w').close(), os._exit(3)"
    parent = command(f"signal.signal(signal.SIGTERM, lambda *_: ({save}))", tmp_path)
    parent.send_signal(number)
    assert parent.wait(timeout=50) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1", "saved0", "saved1"}
    # The thread that hears signals tells that of the two that it counts.
    assert ("stopping after all processes have ended" in parent.stderr.read()) == (number == signal.SIGTERM)


def test_a_second_signal_leaves_no_process_behind(tmp_path):
    parent = command("signal.signal(signal.SIGTERM, signal.SIG_IGN)", tmp_path)
    parent.send_signal(signal.SIGTERM)
    time.sleep(0.6)  # Nearer ones are one.
    parent.send_signal(signal.SIGTERM)
    # The stream ends once no process holds it any more.
    parent.communicate(timeout=20)
    assert parent.returncode != 0


def test_what_nohup_ignores_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert launch([sys.executable, "-S", "-c", "import os, signal; os.kill(os.getppid(), signal.SIGHUP)"], 1) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
