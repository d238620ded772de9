"""The wheel, installed in an environment of its own: the command `jaxgan` trains from any folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def call(*command, cwd, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `bin` folder of an environment that holds the wheel of this tree, and borrows what it depends on."""
    folder = tmp_path_factory.mktemp("installed")
    # Setuptools builds in the tree it is given: a copy keeps this one clean.
    (folder / "source").mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    for name in ("jaxgan", "configs"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    call(sys.executable, "-c", build, folder, cwd=folder / "source")
    shutil.rmtree(folder / "source")
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel, cwd=folder)
    # The dependencies are those of the environment that runs the tests; our own package comes first.
    site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv" / "bin"


@pytest.mark.slow
def test_the_installed_command_trains_from_another_folder(installed, tmp_path):
    tiny = ["--config.train.iterations=1", "--config.train.log_every_iterations=1",
            "--config.train.batch_size=4", "--config.train.num_samples=4",
            "--config.generator.widths=(4,4)", "--config.critic.widths=(4,4)"]  # fmt: skip
    where = call(installed / "python", "-c", "import jaxgan; print(jaxgan.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(installed.parent)
    flags = ["--config", "mnist:wgan_gp", "--data_dir", "demo", "--workdir", "run", *tiny]
    one_device = {"JAX_NUM_CPU_DEVICES": "1"}
    call(installed / "jaxgan", "train", *flags, cwd=tmp_path, **one_device)
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 1
    call(installed / "jaxgan", "generate", "--checkpoint", "run", "--output_dir", "out", cwd=tmp_path, **one_device)
    assert (tmp_path / "out" / "sample_grid.png").exists()
    # A run's own config repeats it.
    again = ["--config", "run/config.json", "--data_dir", "demo", "--workdir", "again"]
    call(installed / "jaxgan", "train", *again, cwd=tmp_path, **one_device)
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("run", "again"))
    assert first == second


@pytest.mark.slow
def test_every_preset_and_command_is_installed(installed, tmp_path):
    code = """
from jaxgan.config.preset_files import preset_files
from jaxgan.config.presets import load_config
for name in preset_files():
    load_config(name)
    print(name)
"""
    presets = call(installed / "python", "-c", code, cwd=tmp_path).split()
    assert presets == sorted(path.stem for path in (ROOT / "configs").glob("*.py"))
    assert "usage: jaxgan report" in call(installed / "jaxgan", "report", "--help", cwd=tmp_path)
