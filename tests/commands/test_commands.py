"""The command line: exit codes, one-line errors, nothing overwritten, and a run from end to end in real processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.commands import cli
from jaxgan.commands.main import COMMANDS, entry_point
from jaxgan.config import Config
from jaxgan.errors import InputError

ROOT = Path(__file__).parents[2]
TINY = ["--config.train.iterations=2", "--config.train.batch_size=8", "--config.objective.n_critic=1",
        "--config.generator.widths=(4,4)", "--config.critic.widths=(4,4)", "--config.train.num_samples=4",
        "--config.train.log_every_iterations=1"]  # fmt: skip


def command(script, *arguments, cwd=ROOT, **variables):
    """Runs a script in a process of its own, as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two iterations on the demo digits."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    done = command("train.py", "--config", "configs/mnist.py:wgan_gp", "--data_dir", "demo", "--workdir", folder, *TINY)
    assert done.returncode == 0, done.stderr
    # Without a terminal no bar, but plain lines.
    _, last = (line for line in done.stderr.splitlines() if line.startswith("step "))
    assert "\r" not in done.stderr and "\x1b" not in done.stderr
    losses = r"critic -?[\d.]+, generator -?[\d.]+, gap -?[\d.]+"
    expected = rf"step 2 of 2, images \d+, epoch [\d.]+, {losses}, \d+ images/s, memory [\d.]+ GiB"
    assert re.fullmatch(expected, last), last
    return folder


def test_training_leaves_a_run(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    wanted = {"step", "images", "epoch", "critic_loss", "generator_loss", "wasserstein", "gradient_penalty",
              "images_per_second"}  # fmt: skip
    assert wanted <= lines[0].keys()
    assert lines[0]["images_per_second"] is None, "the time of a call that compiled says nothing of speed"
    assert (run / "report.html").exists() and (run / "figures" / "losses.png").exists()


@pytest.mark.slow
def test_a_second_start_compiles_nothing_anew(tmp_path, monkeypatch):
    """What the first start compiled and kept, the second one finds: it would keep a second copy of what it does not."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")  # Of the tests; the command has one of its own.
    # All is kept: by time, a busy machine would keep in one of the starts what it does not keep in the other.
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    kept = []
    for name in ("one", "two"):
        flags = ["--config", "mnist", "--data_dir", "demo", "--workdir", tmp_path / name, *TINY]
        done = command("train.py", *flags, XDG_CACHE_HOME=str(tmp_path / "cache"))
        assert done.returncode == 0, done.stderr
        kept.append({path.name for path in (tmp_path / "cache" / "jaxgan" / "xla").glob("*-cache")})
    assert kept[1] == kept[0], kept[1] ^ kept[0]
    assert "jit__fun" in {name.split("-")[0] for name in kept[0]}, "pmap calls whatever it maps so"


def test_generate_writes_a_readable_grid_and_the_same_bytes_again(run, tmp_path):
    for name in ("a", "b"):
        done = command("generate.py", "--checkpoint", run, "--output_dir", tmp_path / name, "--num_samples", 5)
        assert done.returncode == 0, done.stderr
    first = np.load(tmp_path / "a" / "samples.npy", allow_pickle=False)
    assert first.shape == (5, 28, 28, 1) and first.dtype == np.float32 and np.abs(first).max() <= 1
    assert (tmp_path / "a" / "samples.npy").read_bytes() == (tmp_path / "b" / "samples.npy").read_bytes()
    assert np.any(first[0] != first[1])
    assert Image.open(tmp_path / "a" / "sample_grid.png").size[0] > 28


def in_process(name, arguments, capsys, monkeypatch):
    """Runs a command in this process, as from `jaxgan NAME`; returns (exit status, stderr)."""
    monkeypatch.setattr(sys, "argv", ["jaxgan", name, *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        entry_point()
    return caught.value.code, capsys.readouterr().err


MNIST = ["--config", ROOT / "configs" / "mnist.py", "--data_dir", "demo"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ([*MNIST, "--config.optimizer.rate=1"], ["config.optimizer.rate"]),
        ([*MNIST, "--config.train.batch_size=-3"], ["config.train.batch_size=-3", "above 0"]),
        ([*MNIST, "--config.train.batch_size=6"], ["config.train.batch_size=6", "4 devices"]),
        (["--config", "none.py"], ["none.py", "no such file"]),
        (["--config", ROOT / "configs" / "mnist.py"], ["--data_dir is missing"]),
        (["--config", ROOT / "configs" / "mnist.py", "--data_dir", "/nowhere"], ["/nowhere"]),
        ([*MNIST, "--resume", "/nowhere"], ["/nowhere", "not a run"]),
        (["--data_dir", "demo"], ["--config"]),
        ([*MNIST, "--workdri", "x"], ["--workdri"]),
        ([*MNIST, "--dry_run", "--augment_preview", "x.png"], ["--augment_preview x.png", "--dry_run"]),
    ],
)
def test_wrong_training_commands_exit_2_with_one_line(arguments, parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, error = in_process("train", arguments, capsys, monkeypatch)
    assert status == 2, error
    assert error.startswith("error: ") and error.count("\n") == 1, error
    assert all(part in error for part in parts), error
    assert not list(tmp_path.iterdir())


def test_a_work_folder_that_cannot_be_written_exits_2(tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("precious")
    status, error = in_process("train", [*MNIST, "--workdir", tmp_path / "file" / "run", *TINY], capsys, monkeypatch)
    assert status == 2 and str(tmp_path / "file") in error and error.count("\n") == 1, error
    assert (tmp_path / "file").read_text() == "precious"
    monkeypatch.setattr(os, "replace", refuse)
    status, error = in_process("train", [*MNIST, "--workdir", tmp_path / "run", *TINY], capsys, monkeypatch)
    assert status == 2 and str(tmp_path / "run") in error and "Read-only" in error, error


def refuse(*_):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize(
    ("extra", "parts"),
    [
        (["--num_samples", 0], ["--num_samples: 0"]),
        (["--num_samples", "many"], ["--num_samples"]),
        (["--step", 99], ["no step 99", "it has 2"]),
        (["--labels", "1"], ["--labels", "without classes"]),
        (["--truncation", "-1"], ["--truncation"]),
        (["--formats", "jpeg"], ["--formats", "jpeg"]),
        (["--formats", "nifti"], ["nifti"]),
        (["--interpolate", "--num_steps", 1], ["--num_steps: 1"]),
    ],
)
def test_wrong_generation_commands_exit_2_and_write_nothing(run, extra, parts, tmp_path, capsys, monkeypatch):
    arguments = ["--checkpoint", run, "--output_dir", tmp_path / "out", *extra]
    status, error = in_process("generate", arguments, capsys, monkeypatch)
    assert status == 2 and error.count("\n") == 1 and all(part in error for part in parts), error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "extra",
    [["--formats", "tif"], ["--formats", ","], ["--formats", "nifti"], ["--formats", "png"], ["--formats", "npy"],
     ["--interpolate"], ["--interpolate", "--truncation", "1"], ["--interpolate", "--labels", "1,2"]],
)  # fmt: skip
def test_what_cannot_be_written_is_said_before_the_sampling(run, extra, tmp_path, capsys, monkeypatch):
    for name in ("sample_00001.png", "samples.npy", "interpolation_strip.png"):
        (tmp_path / name).touch()
    monkeypatch.setattr("jaxgan.inference.trained_model.generate", refuse)
    status, error = in_process("generate", ["--checkpoint", run, "--output_dir", tmp_path, *extra], capsys, monkeypatch)
    assert status == 2 and error.count("\n") == 1 and "Read-only" not in error, error


@pytest.mark.parametrize(
    "extra",
    [["--formats", "tif"], ["--interpolate", "--truncation", "1"], ["--interpolate", "--num_samples", "3"],
     ["--num_steps", "3"], ["--linear", "--seed", "1"]],
)  # fmt: skip
def test_wrong_flags_are_said_before_anything_is_loaded(extra, tmp_path, capsys, monkeypatch):
    arguments = ["--checkpoint", tmp_path / "none", "--output_dir", tmp_path, *extra]
    monkeypatch.setitem(sys.modules, "jaxgan.inference.trained_model", None)  # Its import would fail.
    status, error = in_process("generate", arguments, capsys, monkeypatch)
    assert status == 2 and (extra[0] if "--seed" in extra else extra[-2]) in error and "none" not in error, error


def test_a_file_in_the_way_of_the_folder_is_said_before_the_sampling(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("precious")
    monkeypatch.setattr("jaxgan.inference.trained_model.generate", refuse)
    for folder in ("file", "file/below"):
        arguments = ["--checkpoint", run, "--output_dir", tmp_path / folder]
        status, error = in_process("generate", arguments, capsys, monkeypatch)
        assert status == 2 and "--output_dir" in error and f"{tmp_path / 'file'} is a file" in error, error


def test_existing_files_are_not_overwritten_unless_told(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "sample_grid.png").write_text("precious")
    arguments = ["--checkpoint", run, "--output_dir", tmp_path, "--num_samples", 1]
    status, error = in_process("generate", arguments, capsys, monkeypatch)
    assert status == 2 and "sample_grid.png" in error and "--overwrite" in error
    assert [path.name for path in tmp_path.iterdir()] == ["sample_grid.png"]
    assert (tmp_path / "sample_grid.png").read_text() == "precious"
    status, _ = in_process("generate", [*arguments, "--overwrite"], capsys, monkeypatch)
    assert status == 0 and (tmp_path / "samples.npy").exists()


def test_unreadable_checkpoints_exit_2(run, tmp_path, capsys, monkeypatch):
    for path in (tmp_path, tmp_path / "none", run / "metrics.jsonl"):
        status, error = in_process("generate", ["--checkpoint", path], capsys, monkeypatch)
        assert status == 2 and str(path) in error and error.count("\n") == 1, error


def test_dry_run_describes_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["jaxgan", "train", *map(str, [*MNIST, "--dry_run", *TINY])])
    with pytest.raises(SystemExit) as caught:
        entry_point()
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert '"batch_size": 8' in text and "generator: " in text and "[N, 14, 14, 4]" in text and "MiB a device" in text
    assert not list(tmp_path.iterdir())


def test_exit_codes_of_the_shared_runner(capsys):
    def wrong():
        raise InputError("config.x: line one\nline two")

    for main, status, error in (
        (wrong, 2, "error: config.x: line one line two\n"),
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
    ):
        with pytest.raises(SystemExit) as caught:
            cli.run(main)
        assert caught.value.code == status and capsys.readouterr().err == error


def test_the_command_alone_names_the_commands(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["jaxgan"])
    with pytest.raises(SystemExit) as ended:
        entry_point()
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and all(name in error for name in COMMANDS), error


@pytest.mark.parametrize("name", COMMANDS)
def test_help_names_the_flags_of_each_command(name, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["jaxgan", name, "--help"])
    with pytest.raises(SystemExit) as caught:
        entry_point()
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert f"usage: jaxgan {name}" in text and "Exit status: 0" in text


def test_help_lists_every_config_field_with_its_default(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["jaxgan", "train", "--help"])
    with pytest.raises(SystemExit):
        entry_point()
    lines = capsys.readouterr().out.splitlines()
    shown = dict(
        line.strip().removeprefix("--config.").split("=", 1) for line in lines if line.startswith("    --config.")
    )

    def leaves(prefix, value):
        if isinstance(value, dict):
            return [leaf for name, inner in value.items() for leaf in leaves([*prefix, name], inner)]
        return [".".join(prefix)]

    assert set(shown) == set(leaves([], Config().to_dict()))
    assert shown["train.batch_size"] == str(Config().train.batch_size)


def test_the_command_itself_needs_no_jax():
    """`jaxgan --help`, a wrong name and `jaxgan train --help` answer before anything heavy is imported."""
    code = (
        "import sys\n"
        "from jaxgan.commands.main import main\n"
        "for arguments in (['--help'], ['--version'], ['nonsense'], [], ['train', '--help'], ['generate', '--help']):\n"
        "    try:\n"
        "        main(arguments)\n"
        "    except SystemExit as left:\n"
        "        assert left.code == (2 if arguments in ([], ['nonsense']) else 0), arguments\n"
        "assert not {'jax', 'numpy', 'flax', 'matplotlib'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 2 and all(line.startswith("error: ") for line in done.stderr.splitlines())
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("module", ["jaxgan", "jaxgan.commands.main"])
def test_the_command_runs_as_a_module(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "nonsense"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "nonsense" in done.stderr


def test_a_folder_beside_the_checkpoints_that_is_no_step_is_left_alone(run, tmp_path, capsys, monkeypatch):
    odd = run / "checkpoints" / "\u00b2"  # A digit for Python's isdigit, but no number.
    odd.mkdir()
    try:
        arguments = ["--checkpoint", run, "--output_dir", tmp_path / "out", "--num_samples", 1]
        status, error = in_process("generate", arguments, capsys, monkeypatch)
        assert status == 0, error
    finally:
        odd.rmdir()


def test_a_note_of_the_data_that_makes_no_sense_is_one_line(run, capsys, monkeypatch):
    note = (run / "data.json").read_text()
    try:
        (run / "data.json").write_text('{"data_dir": 3}')
        status, error = in_process("evaluate", ["--checkpoint", run, "--metrics", "swd"], capsys, monkeypatch)
    finally:
        (run / "data.json").write_text(note)
    assert status == 2 and "--data_dir" in error and error.count("\n") == 1, error


def test_interpolation_alone_writes_a_strip(run, tmp_path, capsys, monkeypatch):
    arguments = ["--checkpoint", run, "--output_dir", tmp_path, "--interpolate", "--num_steps", 3, "--formats"]
    status, error = in_process("generate", [*arguments, "grid"], capsys, monkeypatch)
    assert status == 0, error
    assert [path.name for path in tmp_path.iterdir()] == ["interpolation_strip.png"]
    status, error = in_process("generate", [*arguments, "grid,npy"], capsys, monkeypatch)
    assert status == 2 and "interpolation_strip.png exists" in error
    status, _ = in_process("generate", [*arguments, "grid,npy", "--overwrite"], capsys, monkeypatch)
    assert status == 0 and np.load(tmp_path / "interpolations.npy").shape == (3, 28, 28, 1)


@pytest.mark.parametrize("extra", [["--seed", -1], ["--seed", 99999999999], ["--truncation", "nan"],
                                   ["--interpolate", "--truncation", 1]])  # fmt: skip
def test_odd_numbers_are_one_line(run, extra, tmp_path, capsys, monkeypatch):
    arguments = ["--checkpoint", run, "--output_dir", tmp_path / "out", *extra]
    status, error = in_process("generate", arguments, capsys, monkeypatch)
    assert status == 2 and error.count("\n") == 1 and str(extra[-2] if len(extra) < 3 else "--truncation") in error


def test_figures_are_drawn_anew_on_request(run, capsys, monkeypatch):
    (run / "figures" / "losses.png").unlink()
    status, error = in_process("evaluate", ["--checkpoint", run, "--figures_only"], capsys, monkeypatch)
    assert status == 0, error
    assert (run / "figures" / "losses.png").exists()
    status, error = in_process("evaluate", ["--checkpoint", run / "none", "--figures_only"], capsys, monkeypatch)
    assert status == 2 and error.count("\n") == 1


def test_a_short_run_has_its_last_iteration_and_a_report_without_any(tmp_path, capsys, monkeypatch):
    rarely = [*TINY[:-1], "--config.train.log_every_iterations=20"]
    status, error = in_process("train", [*MNIST, "--workdir", tmp_path / "run", *rarely], capsys, monkeypatch)
    assert status == 0, error
    (line,) = (json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert line["step"] == 2
    (tmp_path / "run" / "metrics.jsonl").unlink()
    status, error = in_process("report", [tmp_path / "run"], capsys, monkeypatch)
    assert status == 0, error
    page = (tmp_path / "run" / "report.html").read_text()
    assert "4 generated samples at iteration 2" in page and "epoch 0" not in page
    status, error = in_process("report", [tmp_path], capsys, monkeypatch)
    assert status == 2 and "--workdir" in error and error.count("\n") == 1, error


def test_a_broken_preset_is_one_line(tmp_path, capsys, monkeypatch):
    (tmp_path / "mine.py").write_text("def get_config(:\n")
    status, error = in_process("train", ["--config", tmp_path / "mine.py"], capsys, monkeypatch)
    assert status == 2 and "SyntaxError" in error and error.count("\n") == 1, error
    overrides = [*MNIST, "--config.train.epochs.x=3"]
    status, error = in_process("train", overrides, capsys, monkeypatch)
    assert status == 2 and "config.train.epochs" in error and error.count("\n") == 1, error
