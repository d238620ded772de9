"""SIGTERM, wherever a process is: exit status 1, one line, no temporary files; a second one ends it at once."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.faults.processes import EVALUATE, FAILING, PRESET, ROOT, TERM, Command, make_material, one_line, temporaries

# What a main thread does while the signal comes, and the lines that the process ends with.
BODY = """
import signal, sys, time, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell has it ignored, in the background.
from pathlib import Path
from jaxgan.processes import ending
from jaxgan.commands import cli
from jaxgan.files import atomic_files

def deaf(seconds):  # As a compiler is: Python hears nothing meanwhile, and the system wakes it for no signal.
    import ctypes, signal
    signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGTERM}})
    ctypes.CDLL(None).sleep(seconds)

def main():
    ending.PATIENCE = 0.5
    with atomic_files([Path(sys.argv[1]) / "result"]) as (temporary,):
        temporary.write_text("half")
        {work}
cli.run(main)
"""
READY = 'print("ready", flush=True)'
# As the initialisation of a C extension does: it prints what a module raises that it imports, and goes on.
FOLDER = str(ROOT / "tests" / "faults")
NATIVE = f"import ctypes; sys.path.insert(0, {FOLDER!r}); ctypes.pythonapi.PyRun_SimpleString(b'import asleep')"
# What swallows the exception does not swallow the end.
SWALLOW = f"exec({chr(10).join([READY, 'while True:', ' try: time.sleep(60)', ' except BaseException: pass'])!r})"
# So says NumPy when it is interrupted while it is imported.
IMPORT = f"exec({chr(10).join(['try:', f' {READY}; time.sleep(60)', 'finally:', ' raise ImportError'])!r})"
# A callback of the garbage collector, whose exceptions Python writes to stderr and forgets.
IGNORE = f"import gc; gc.callbacks.append(lambda *_: ({READY}, time.sleep(3))); gc.collect(); time.sleep(60)"


def run_body(tmp_path, work):
    process = subprocess.Popen(
        [sys.executable, "-c", BODY.format(work=work), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    "work",
    [
        f"{READY}; time.sleep(60)",
        f"{READY}; deaf(60)",
        f"{READY}; threading.Event().wait()",
        SWALLOW,
        IMPORT,
        NATIVE,
        IGNORE,
    ],
    ids=["python", "compiler", "waiting", "swallowed", "imported", "native", "ignored"],
)
def test_a_signal_ends_with_one_line_and_without_temporary_files(tmp_path, work):
    process = run_body(tmp_path, work)
    assert len(temporaries(tmp_path)) == 1
    begun = time.monotonic()
    process.send_signal(TERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and errors.count("\n") == 1 and errors.startswith("error: stopped by "), errors
    assert time.monotonic() - begun < 10 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("work", "line"),
    [(f"{READY}; time.sleep(60)", "interrupted\n"), (NATIVE, "error: stopped by SIGINT\n")],
    ids=["python", "native"],
)
def test_ctrl_c_does_too(tmp_path, work, line):
    process = run_body(tmp_path, work)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (1, line) and not list(tmp_path.iterdir())


def test_work_worth_saving_is_named_and_a_second_signal_ends_at_once(tmp_path):
    hold = "hold = ending.Hold().__enter__(); hold.begin(); hold.activity = 'the evaluation'"
    process = run_body(tmp_path, f"{hold}; {READY}; deaf(60)")
    process.send_signal(TERM)
    assert "stopping after the evaluation, with a checkpoint" in process.stderr.readline()
    begun = time.monotonic()
    process.send_signal(TERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1 and errors.count("\n") == 1 and "by a second signal" in errors, errors
    assert time.monotonic() - begun < 5 and not list(tmp_path.iterdir())


def test_work_that_ends_in_time_ends_quietly(tmp_path):
    hold = "hold = ending.Hold().__enter__(); hold.begin()"
    loop = f"exec('''{READY}\\nwhile not hold.seen:\\n    time.sleep(0.05)\\nhold.__exit__()''')"
    process = run_body(tmp_path, f"{hold}; {loop}")
    process.send_signal(TERM)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_what_dead_processes_left_is_removed_and_what_living_ones_have_is_not(tmp_path):
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom jaxgan.files import atomic_files, temporary_folder\n"
        "folder = Path(sys.argv[1])\nother = temporary_folder(folder)\n(other / 'x').write_text('half')\n"
        "with atomic_files([folder / 'a']) as (t,):\n    t.write_text('half')\n    os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    assert len(temporaries(tmp_path)) == 2
    from jaxgan.files import atomic_files, remove_left

    with atomic_files([tmp_path / "b"]) as (temporary,):
        assert temporaries(tmp_path) == []
        temporary.write_text("whole")
        remove_left(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    return folder, make_material(folder)


def preset(folder, **sections):
    config = {**PRESET, **sections}
    path = folder / f"preset-{abs(hash(json.dumps(config)))}.json"
    path.write_text(json.dumps(config))
    return path


def stopped(command, seconds):
    """The command, sent SIGTERM so long after its start, ends with its line; False where it had not come to say one."""
    status, lines = command.end()
    if seconds <= 1 and (status, lines) == (-TERM, []):  # Before Python has come to our first line.
        return False
    assert status == 1 and len(lines) == 1 and lines[0].startswith("error: stopped by"), (status, lines)
    return True


@pytest.mark.faults
@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0])
def test_sigterm_at_any_time_of_a_training(material, tmp_path, seconds):
    """From the first import to the iterations; none of the files is a half one, and the same command goes on."""
    run = tmp_path / "run"
    arguments = ["train", *material[1], "--workdir", run, "--config.train.iterations=1000000"]
    with Command(*arguments) as command:
        time.sleep(seconds)
        command.send(TERM)
        begun = time.monotonic()
        stopped(command, seconds)
        assert time.monotonic() - begun < 30
    assert not temporaries(tmp_path) and not (run / "lock.json").exists()


@pytest.mark.faults
def test_sigterm_in_preparation_generation_and_evaluation(material, tmp_path):
    train = material[1]
    run = tmp_path / "run"
    with Command("train", *train, "--workdir", run) as command:
        assert command.end()[0] == 0
    for number in range(400):
        from PIL import Image

        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (400, 400), np.uint8)).save(
            tmp_path / "images" / f"{number}.png"
        )
    commands = {
        "prepare": ["folder", "--source", tmp_path / "images", "--data_dir", tmp_path / "data"],
        "generate": ["--checkpoint", run, "--output_dir", tmp_path / "out", "--num_samples", 1_000_000],
        "evaluate": ["--checkpoint", run, "--metrics", "swd", "--num_samples", 1_000_000],
        "export": ["--checkpoint", run, "--output", tmp_path / "exported", "--overwrite"],
    }
    for name, arguments in commands.items():
        answered = []
        for seconds in (0.3, 1.5, 4.0):
            with Command(name, *arguments) as command:
                time.sleep(seconds)
                if not command.running():
                    assert command.end() == (0, []), name  # A fast machine: its work was done before the signal.
                    continue
                command.send(TERM)
                begun = time.monotonic()
                if stopped(command, seconds):
                    answered.append(seconds)
                assert time.monotonic() - begun < 30
            assert not temporaries(tmp_path), name
        print(f"{name}: signals after {answered} s were answered with a line")
        assert answered, name
    assert not (tmp_path / "out").exists()


@pytest.mark.faults
def test_sigterm_while_a_large_program_compiles(tmp_path):
    """The compiler hears nothing for minutes: a thread ends the process."""
    images = np.random.default_rng(0).integers(0, 256, (16, 64, 64), np.uint8)
    np.savez(tmp_path / "noise.npz", train_images=images)
    arguments = ["train", "--config", "mnist", "--data_dir", tmp_path / "noise.npz", "--workdir", tmp_path / "run"]
    large = ["--config.data.size=64", "--config.generator.network=resnet", "--config.critic.network=resnet",
             "--config.generator.widths=(64,64,64,64)", "--config.critic.widths=(64,64,64,64)",
             "--config.train.batch_size=8", "--config.objective.loss=wgan"]  # fmt: skip
    cold = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"), "XLA_FLAGS": ""}
    with Command(*arguments, *large, **cold) as command:
        command.wait_for_line("compiling the iteration")
        command.send(TERM)
        begun = time.monotonic()
        one_line(command, 1, "stopped by")
        assert time.monotonic() - begun < 10
    assert not (tmp_path / "run" / "lock.json").exists() and not temporaries(tmp_path / "run")


@pytest.mark.faults
def test_sigterm_during_an_evaluation_says_what_it_waits_for(material, tmp_path):
    slow = {"LASTS": "jaxgan.evaluation.evaluator:Evaluator.__call__"}
    arguments = ["train", *material[1], "--workdir", tmp_path / "run", *EVALUATE]
    with Command(*arguments, program=FAILING, **slow) as command:
        command.wait_for_line("__call__ lasts")
        command.send(TERM)
        begun = time.monotonic()
        assert "stopping after the evaluation at step 12" in command.wait_for_line("stopping after")
        assert time.monotonic() - begun < 10
        command.send(TERM)
        begun = time.monotonic()
        one_line(command, 1, "stopped at once, by a second signal")
        assert time.monotonic() - begun < 10
    assert not temporaries(tmp_path / "run")
