"""Several processes of one job: each knows its place, and none outlives a failure."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def test_the_first_failure_ends_all_and_is_the_status():
    begun = time.monotonic()
    assert launch(python("time.sleep(120) if me == '0' else sys.exit(3)"), 2) == 3
    assert time.monotonic() - begun < 60


def test_sigterm_is_passed_on(tmp_path):
    child = "open(os.path.join(sys.argv[1], me), 'w').close(); time.sleep(120)"
    code = (
        f"import sys; from jaxgan.commands.launch import launch; sys.exit(launch({[*python(child), str(tmp_path)]}, 2))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)})
    begun = time.monotonic()
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() - begun < 50:
        time.sleep(0.05)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=50) == 128 + signal.SIGTERM
