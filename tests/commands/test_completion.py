"""The scripts complete what there is: asked of the shells themselves, where they are installed."""

import shutil
import subprocess

import pytest

from jaxgan.commands.completion import SHELLS, preset_names, script
from jaxgan.commands.main import COMMANDS, entry_point, parser_of
from jaxgan.config import Config
from jaxgan.config.presets import load_config

# Asks the function that the script defines, as bash does when TAB is pressed.
ASK_BASH = """
source "$1"; shift
function=$(complete -p jaxgan | sed 's/.*-F \\([^ ]*\\).*/\\1/')
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
$function jaxgan "${@: -1}" ""
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / shell).write_text(script(shell))
    return folder


def ask(shell, scripts, line):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    if shell == "bash":
        command = ["bash", "--norc", "-c", ASK_BASH, "bash", scripts / "bash", *line.split(" ")]
    else:
        command = ["fish", "--no-config", "-c", f"source {scripts / 'fish'}; complete -C '{line}'"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=60)
    assert not done.stderr, done.stderr
    return {answer.split("\t")[0] for answer in done.stdout.splitlines()}


@pytest.mark.parametrize("shell", ["bash", "fish"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("jaxgan ", set(COMMANDS)),
        ("jaxgan tr", {"train"}),
        ("jaxgan train --config mnist:wgan_", {"mnist:wgan_gp", "mnist:wgan_clip"}),
        ("jaxgan train --config.optimizer.be", {"--config.optimizer.beta1", "--config.optimizer.beta2"}),
        ("jaxgan train --config.data.labelled t", {"true"}),
        ("jaxgan prepare sl", {"slides"}),
        ("jaxgan prepare slides --min", {"--min_tissue"}),
        ("jaxgan completion fi", {"fish"}),
    ],
)
def test_what_is_completed(shell, line, expected, scripts):
    found = ask(shell, scripts, line)
    assert expected <= found and found - expected <= {"-h", "--help", "--version"}


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_paths_are_completed(shell, scripts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_run").mkdir()
    found = ask(shell, scripts, "jaxgan generate --checkpoint my")
    assert {name.rstrip("/") for name in found} == {"my_run"}


@pytest.mark.parametrize("shell", SHELLS)
def test_every_flag_and_field_is_in_a_script_that_its_shell_can_read(shell, scripts):
    text = (scripts / shell).read_text()
    wanted = [flag for command in COMMANDS for flag in parser_of(command).flags()]
    wanted += [f"--config.{field}" for field in Config().fields()]
    # Fish writes flags without their dashes.
    missing = {flag for flag in wanted if flag.removeprefix("--" if shell == "fish" else "") not in text}
    assert not missing
    if shutil.which(shell):
        subprocess.run([shell, "-n", str(scripts / shell)], check=True, timeout=60)


def test_every_preset_that_is_offered_can_be_loaded():
    names = preset_names()
    assert {"mnist", "mnist:wgan_gp", "panda256:plain_small"} <= set(names)
    for name in names:
        load_config(name)


def test_the_command_prints_the_script(scripts, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["jaxgan", "completion", "zsh"])
    with pytest.raises(SystemExit) as caught:
        entry_point()
    assert caught.value.code == 0 and capsys.readouterr().out.strip() == (scripts / "zsh").read_text().strip()
