"""Commands as real processes, alone and as jobs, with the smallest game there is: what fault tests start and end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
# Seconds until something hangs; what has a limit of its own is measured from the signal.
PATIENCE = 1200
# Lines of stderr that are no errors; the last two are how the collectives of CPUs greet each other.
NOTES = re.compile(
    r"^warning: |: \d+ s so far$|^ +\d+\.\d s  |^step \d+ of |^stopping after .*; a second signal|^\w+ lasts$|^\[Gloo\]"
    r"|Expected number of connected peer"
)
PRESET = {
    "data": {"size": 8, "channels": 1},
    "generator": {"latent_dim": 5, "widths": [6, 4]},
    "critic": {"widths": [4, 6]},
    "objective": {"loss": "wgan", "n_critic": 1},
    "optimizer": {"name": "sgd", "lr": 0.01},
    "train": {"batch_size": 8, "iterations": 12, "num_samples": 4, "log_every_iterations": 1, "steps_per_call": 2,
              "checkpoint_every_epochs": 0.0, "sample_every_epochs": 0.0, "checkpoint_every_iterations": 4,
              "keep_checkpoints": 0},
}  # fmt: skip
# The command with a function that fails or lasts.
FAILING = (str(ROOT / "tests" / "faults" / "failing.py"),)
# A quick evaluation at iteration 12.
EVALUATE = ["--config.evaluate.metrics=swd", "--config.evaluate.num_samples=16", "--config.evaluate.every_images=96"]


def make_material(folder):
    """A preset and prepared data of 8x8 pixels; returns the arguments of `train` that name them."""
    images = np.random.default_rng(0).integers(0, 256, (24, 8, 8), np.uint8)
    np.savez(folder / "noise.npz", train_images=images)
    (folder / "tiny.json").write_text(json.dumps(PRESET))
    from jaxgan.data.open import open_data

    open_data(PRESET, folder / "noise.npz")  # Prepares them.
    return ["--config", folder / "tiny.json", "--data_dir", folder / "noise.npz"]


class Command:
    """A `jaxgan` command that runs; `with` ends it."""

    def __init__(self, *arguments, devices=1, cwd=ROOT, program=("-m", "jaxgan"), **variables):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        self._process = subprocess.Popen(
            [sys.executable, *program, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": flags, **variables},
            cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.pid = self._process.pid
        self.begun = time.monotonic()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate()

    def running(self):
        return self._process.poll() is None

    def send(self, number):
        self._process.send_signal(number)

    def wait_for_line(self, words):
        """Reads stderr up to a line that has these words, which it returns; what was read is gone for `end`."""
        for line in self._process.stderr:
            if words in line:
                return line.rstrip("\n")
        raise AssertionError(f"ended without {words!r}")

    def end(self, timeout=PATIENCE):
        """Exit status, and the lines of stderr without warnings and notes of what takes long."""
        _, errors = self._process.communicate(timeout=timeout)
        return self._process.returncode, [line for line in errors.splitlines() if line and not NOTES.search(line)]


def job(count, *arguments, each=None, variables=None, **options):
    """`count` processes of one job; `each[i]` are further arguments, `variables[i]` the environment of process i."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    place = [
        {"JAXGAN_COORDINATOR": address, "JAXGAN_PROCESSES": str(count), "JAXGAN_PROCESS": str(i)} for i in range(count)
    ]
    return [
        Command(*arguments, *(each or {}).get(i, ()), **options, **{**place[i], **(variables or {}).get(i, {})})
        for i in range(count)
    ]


def wait_for(path, command, timeout=PATIENCE):
    """Until a file exists that a running command makes."""
    end = time.monotonic() + timeout
    while not path.exists():
        assert command.running(), command.end()
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)


def one_line(command, status, *words, timeout=PATIENCE):
    """The command ends with this status and one line that has these words."""
    found, lines = command.end(timeout)
    assert found == status and len(lines) == 1 and lines[0].startswith("error: "), (found, lines)
    assert all(word in lines[0] for word in words), lines[0]
    return lines[0]


def temporaries(folder):
    return [path for path in folder.rglob("*") if path.name.startswith((".tmp-", ".incomplete-"))]


TERM, KILL = signal.SIGTERM, signal.SIGKILL
