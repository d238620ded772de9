"""`scripts/quickstart.sh` names what is in the folder that the training names, and nothing after a dry run."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "quickstart.sh"
# Stands for the interpreter of .venv: trains at once, in the last --workdir.
PYTHON = """#!/usr/bin/env bash
[ "$1" = -c ] && exit 0
[[ " $* " = *" --wrong "* ]] && { echo "error: --wrong" >&2; exit 2; }
[[ " $* " = *" --dry_run "* ]] && { echo "config: {}"; exit 0; }
while [ $# -gt 1 ]; do [ "$1" = --workdir ] && run=$2; shift; done
mkdir -p "$run"/samples "$run"/checkpoints/{9,10}
touch "$run"/samples/step_0000000{1,2}.png
echo "run folder: $run"
"""


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        ([], 0, ["samples:    runs/quickstart/samples/step_00000002.png", "run folder: runs/quickstart"]),
        (["--workdir", "mine"], 0, ["run folder: mine", "checkpoint: mine/checkpoints/10"]),
        (["--dry_run"], 0, ["config: {}"]),
        (["--wrong"], 2, []),
    ],
)
def test_the_folder_is_the_one_of_the_flags(flags, status, said, tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(SCRIPT, scripts)
    (scripts / "venv.sh").write_text("VENV_PYTHON=scripts/python\n")
    (scripts / "python").write_text(PYTHON)
    (scripts / "python").chmod(0o755)
    command = ["bash", str(scripts / "quickstart.sh"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (status, "error: --wrong\n" if status else ""), done.stderr
    lines = done.stdout.splitlines()
    assert set(said) <= set(lines) and (len(lines) > 1) == (len(said) > 1), done.stdout
