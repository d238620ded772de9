"""One line a tick where nobody can see a bar; a bar that leaves no colours where somebody can."""

import math
import os
import pty
import subprocess
import sys
import termios
import types

import numpy as np
import pytest

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.training import ticks
from jaxgan.training.calls import Call
from jaxgan.training.schedule import length_of

CONFIG = Config.from_dict({"objective": {"n_critic": 2}, "train": {"batch_size": 5, "iterations": 1000}})


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(parallel, "say", lambda message, passing: lines.append(message))
    return lines


def make_call(first, count, rate):
    metrics = {"critic_loss": [1.5], "generator_loss": [-0.25], "wasserstein": [0.5]}
    return Call(first, count, {name: np.repeat(np.float32(value), 8) for name, value in metrics.items()}, rate)


def test_a_line_comes_at_the_start_at_every_tick_and_at_the_end_and_says_how_long_is_left(monkeypatch, said):
    clock = [0.0]
    monkeypatch.setattr(ticks.time, "monotonic", lambda: clock[0])
    schedule, total = length_of(CONFIG, 100)
    run = types.SimpleNamespace(step=0, total=total, schedule=schedule)
    with ticks.Ticks(run) as shown:
        # The first call compiles for 90 s; then an iteration of 10 images takes a second.
        for first, count, seconds in ((0, 8, 90), *((8 + 8 * i, 8, 8) for i in range(8)), (992, 8, 8)):
            run.step, clock[0] = first + count, clock[0] + seconds
            shown.show(make_call(first, count, math.nan if seconds == 90 else 10.0))
    steps = [line.split(",")[0] for line in said]
    assert steps == ["step 8 of 1000", "step 40 of 1000", "step 72 of 1000", "step 1000 of 1000"]
    losses = "critic 1.500, generator -0.250, gap 0.500"
    assert said[0].startswith(f"step 8 of 1000, images 80, epoch 0.80, {losses}, memory ") and "/s" not in said[0]
    assert f"{losses}, 10 images/s, memory " in said[1] and said[1].endswith("GiB, 16 min left")
    assert "left" not in said[-1]


def test_a_run_that_went_back_is_measured_from_there(monkeypatch, said):
    clock = [0.0]
    monkeypatch.setattr(ticks.time, "monotonic", lambda: clock[0])
    schedule, total = length_of(CONFIG, 100)
    run = types.SimpleNamespace(step=500, total=total, schedule=schedule)
    with ticks.Ticks(run) as shown:
        run.step, clock[0] = 100, 40.0
        shown.show(make_call(500, 8, 10.0))
        run.step, clock[0] = 140, 80.0
        shown.show(make_call(132, 8, 10.0))
    assert "/s" not in said[0] and ", 10 images/s, " in said[1]


def test_no_colours_on_a_terminal():
    """With NO_COLOR (https://no-color.org) as without: help and bars are plain; moving a bar needs no colour."""
    code = (
        "from jaxgan.processes.progress import counted\n"
        "from jaxgan.commands.main import main\n"
        "list(counted(range(3), 'counting', 3))\n"
        "main(['train', '--help'])\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "xterm-256color"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                piece = os.read(ours, 1 << 16)
            except OSError:  # As Linux ends a terminal.
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    assert process.returncode == 0 and b"counting" in shown and b"--config.seed" in shown
    assert b"\x1b[3" not in shown and b"\x1b[0" not in shown and b"\x1b[1" not in shown
