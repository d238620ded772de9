"""The commands in README and docs are commands: all are parsed, and those marked `<!-- run: NAME -->` are run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from jaxgan.commands.main import COMMANDS, parser_of
from jaxgan.config import Config
from jaxgan.config.overrides import override
from jaxgan.config.presets import load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = {"prepare_data": "prepare"}
BLOCK = re.compile(r"(?:<!-- run: (\w+) -->\n)?^```(bash|sh|text|console|)\n(.*?)^```", re.M | re.S)


def command_lines(block):
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def found():
    for page in PAGES:
        text = page.read_text()
        blocks = [block for _, _, block in BLOCK.findall(text)] + re.findall(r"^    (jaxgan .*)$", text, re.M)
        for block in blocks:
            for line in command_lines(block):
                if words := jaxgan_words(line):
                    yield pytest.param(words, id=f"{page.stem}: {' '.join(words)}"[:90])


def jaxgan_words(line):
    """The command's name and its arguments, or None for another program's line."""
    if not re.search(r"\bjaxgan \w|scripts/\w+\.py", line):
        return None
    words = shlex.split(line, comments=True)
    words = [word.strip("[]") for word in words]  # What may be left out.
    words = words[: next((i for i, word in enumerate(words) if word in (">", "|", "&", "&&")), len(words))]
    for i, word in enumerate(words):
        if word == "jaxgan" and i + 1 < len(words) and words[i + 1] in COMMANDS:
            return words[i + 1 :]
        if re.fullmatch(r"scripts/\w+\.py", word):
            name = Path(word).stem
            return [SCRIPTS.get(name, name), *words[i + 1 :]]
    # `jaxgan nonsense` is an error, not another program's line.
    return words[1:] if words[:1] == ["jaxgan"] else None


COMMAND_LINES = list(found())


def test_there_are_commands_to_check():
    assert len(COMMAND_LINES) > 50
    assert {param.values[0][0] for param in COMMAND_LINES} >= set(COMMANDS) - {"benchmark"}


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_a_documented_command_is_one(words, capsys):
    name, arguments = words[0], words[1:]
    assert name in COMMANDS
    args, left = parser_of(name).parse_known_args(arguments)
    if name == "launch":
        inner, flags = args.command[0], args.command[1:]
        args, left = parser_of(inner).parse_known_args(flags)
        name = inner
    if name != "train":
        assert not left
        return
    known = args.config.partition(":")[0]
    is_preset = (ROOT / "configs" / f"{Path(known).stem}.py").exists()
    override(load_config(args.config) if is_preset else Config(), left)


def test_nonsense_is_noticed(capsys):
    assert jaxgan_words("jaxgan trian --x") == ["trian", "--x"]
    assert jaxgan_words("nohup jaxgan train --config mnist > log &") == ["train", "--config", "mnist"]
    with pytest.raises(SystemExit):
        test_a_documented_command_is_one(["generate", "--nonsense"], capsys)


def make_maps(folder):
    rng = np.random.default_rng(0)
    (folder / "maps").mkdir()
    for i in range(20):
        image = rng.normal(300, 40, (64, 64)).astype(np.float32)
        image[rng.integers(50) :, rng.integers(50) :] += 500
        tifffile.imwrite(folder / "maps" / f"{i}.tif", image)


def make_mri(folder):
    rng = np.random.default_rng(0)
    for name in ("patient", "control"):
        (folder / "mri" / name).mkdir(parents=True)
        for i in range(4):
            np.save(folder / "mri" / name / f"{i}.npy", rng.normal(100, 20, (24, 24, 24)).astype(np.float32))


TINY = [
    "--config.train.iterations=1", "--config.train.batch_size=4", "--config.train.num_samples=4",
    "--config.train.log_every_iterations=1",
    "--config.generator.widths=(4,4)", "--config.critic.widths=(4,4)",
]  # fmt: skip
RUN = {name: block for page in PAGES for name, _, block in BLOCK.findall(page.read_text()) if name}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "make", "files"), [
    ("maps", make_maps, ["runs/cells/report.html", "out/cells/sample_grid.png", "out/cells/sample_00015_tiff8.tif"]),
    ("mri", make_mri, ["runs/mri/report.html", "out/mri/sample_grid.png", "out/mri/sample_00000_patient.nii.gz"]),
])  # fmt: skip
def test_the_commands_of_a_page_do_what_they_say(name, make, files, tmp_path):
    make(tmp_path)
    (tmp_path / "bin").mkdir()
    shim = tmp_path / "bin" / "jaxgan"
    shim.write_text(
        f'#!/bin/bash\n[ $1 = train ] && set -- "$@" {shlex.join(TINY)}\nexec {sys.executable} -m jaxgan "$@"\n'
    )
    shim.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    script = f"set -euo pipefail\n{RUN[name]}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert not [file for file in files if not (tmp_path / file).exists()], done.stdout


def test_every_block_that_is_marked_is_run():
    assert set(RUN) == {"maps", "mri"}
