"""Trainings that are killed at random times and started again, and two at once: the same bits, or a word of refusal."""

import os
import random
import time

import numpy as np
import pytest

from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.metrics_log import read_metrics
from tests.faults.processes import KILL, TERM, Command, job, make_material, one_line, temporaries, wait_for

pytestmark = pytest.mark.faults
KILLS = int(os.environ.get("JAXGAN_KILLS", "30"))
SEED = int(os.environ.get("JAXGAN_FAULT_SEED", "0"))
LENGTH = 4000


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    return ["train", *make_material(tmp_path_factory.mktemp("material"))]


def newest(run):
    with Checkpoints(run) as checkpoints:
        step, arrays, _ = checkpoints.read_newest()
    return step, arrays


def logged(run):
    return [{k: v for k, v in record.items() if k != "images_per_second"} for record in read_metrics(run)]


def steps(run):
    folder = run / "checkpoints"
    return {entry.name for entry in folder.iterdir() if entry.name.isdecimal()} if folder.is_dir() else set()


def assert_same(got, expected):
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@pytest.mark.timeout(900 + 60 * KILLS)
def test_runs_that_are_killed_at_random_equal_one_that_was_not(train, tmp_path):
    length = [f"--config.train.iterations={LENGTH}", "--config.train.checkpoint_every_iterations=500",
              "--config.train.log_every_iterations=100", "--config.train.steps_per_call=50"]  # fmt: skip
    with Command(*train, "--workdir", tmp_path / "whole", *length) as command:
        wait_for(tmp_path / "whole" / "config.json", command)
        until_training = time.monotonic() - command.begun
        assert command.end() == (0, [])
        training = time.monotonic() - command.begun - until_training
    expected, lines = newest(tmp_path / "whole")[1], logged(tmp_path / "whole")
    chance, kills, finished, number = random.Random(SEED), 0, 0, 0
    while kills < KILLS or not finished:
        run = tmp_path / f"run{number}"
        with Command(*train, "--workdir", run, *length) as command:
            if kills < KILLS:
                if chance.random() < 0.7:
                    before = steps(run)
                    while command.running() and steps(run) == before:  # Its first save of this start is under way.
                        time.sleep(0.005)
                    time.sleep(chance.uniform(0, 0.3 * training))
                else:
                    time.sleep(chance.uniform(0, until_training))
                if command.running():
                    command.send(KILL)
                    kills += 1
                    continue
            assert command.end() == (0, [])
        assert newest(run)[0] == LENGTH
        assert_same(newest(run)[1], expected)
        assert logged(run) == lines
        assert not temporaries(run) and not list(run.rglob("*orbax-checkpoint-tmp*"))
        finished, number = finished + 1, number + 1
    print(f"{kills} kills, {finished} runs finished")


def test_two_trainers_on_one_folder(train, tmp_path):
    run = tmp_path / "run"
    with Command(*train, "--workdir", run, "--config.train.iterations=1000000") as first:
        wait_for(run / "checkpoints" / "4", first)
        with Command(*train, "--workdir", run) as second:
            one_line(second, 2, "in use by process", str(first.pid))
        first.send(TERM)
        one_line(first, 1, "stopped by a signal")


def test_two_preparers_of_the_same_data(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3000, 16, 16), np.uint8)
    np.savez(tmp_path / "noise.npz", train_images=images)
    arguments = ["prepare", "npz", "--source", tmp_path / "noise.npz", "--data_dir", tmp_path / "data", "--quiet"]
    with Command(*arguments) as first, Command(*arguments) as second:
        assert first.end() == (0, []) and second.end() == (0, [])
    assert not temporaries(tmp_path)
    from jaxgan.data.open import open_dataset

    np.testing.assert_array_equal(open_dataset(tmp_path / "data").load()[..., 0], images)


def test_a_killed_preparation_leaves_nothing_that_is_used(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (20_000, 16, 16), np.uint8)
    np.savez(tmp_path / "noise.npz", train_images=images)
    arguments = ["prepare", "npz", "--source", tmp_path / "noise.npz", "--data_dir", tmp_path / "data", "--quiet"]
    with Command(*arguments) as command:
        while command.running() and not temporaries(tmp_path):
            time.sleep(0.01)
        time.sleep(0.2)
        command.send(KILL)
    with Command(*arguments) as command:
        assert command.end() == (0, [])
    assert not temporaries(tmp_path)
    from jaxgan.data.open import open_dataset

    np.testing.assert_array_equal(open_dataset(tmp_path / "data").load()[..., 0], images)


def test_processes_and_devices_change_nothing_and_may_change_in_the_middle(train, tmp_path):
    """2 processes of 2 devices, 1 of 4, 1 of 1, with SGD; and a run that goes over all three."""

    def go(run, shape, iterations):
        processes, devices = shape
        length = f"--config.train.iterations={iterations}"
        commands = job(processes, *train, "--workdir", run, length, devices=devices)
        for command in commands:
            assert command.end() == (0, []), shape

    shapes = {"2x2": (2, 2), "1x4": (1, 4), "1x1": (1, 1)}
    for name, shape in shapes.items():
        go(tmp_path / name, shape, 12)
    for iterations, shape in zip((4, 8, 12), shapes.values(), strict=True):
        go(tmp_path / "all", shape, iterations)
    _, expected = newest(tmp_path / "1x1")
    for name in ("2x2", "1x4", "all"):
        step, got = newest(tmp_path / name)
        assert step == 12
        worst = {}
        for key, array in expected.items():
            if np.issubdtype(array.dtype, np.floating):
                scale = max(1.0, float(np.abs(array).max()))
                kind = "momenta" if "/opt_state/" in key else "networks"
                difference = float(np.abs(got[key] - array).max()) / scale
                worst[kind] = max(worst.get(kind, (0.0, "")), (difference, key))
            else:
                np.testing.assert_array_equal(got[key], array, err_msg=f"{name}: {key}")
        print(name, worst)
        # Sums in another order; a momentum adds up some ten gradients, of which the rate lets a hundredth through.
        assert worst["networks"][0] <= 2e-7 and worst["momenta"][0] <= 1e-6, (name, worst)
