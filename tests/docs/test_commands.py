"""The commands in README and docs are commands: all are parsed. Those that are run too are in `test_running.py`."""

import re
import shlex
from pathlib import Path

import pytest

from jaxgan.commands.main import COMMANDS, parser_of
from jaxgan.config import Config
from jaxgan.config.overrides import override
from jaxgan.config.presets import load_config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPTS = {"prepare_data": "prepare"}
BLOCK = re.compile(r"(?:<!-- run: (\w+) -->\n)?^```(\w*)\n(.*?)^```", re.M | re.S)
SHELL = ("bash", "sh", "text", "console", "")


def blocks(page):
    """(name after `run:`, its lines) of the commands of a page."""
    return [(name, block) for name, kind, block in BLOCK.findall(page.read_text()) if kind in SHELL]


def command_lines(block):
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def found():
    for page in PAGES:
        indented = re.findall(r"^    (jaxgan .*)$", page.read_text(), re.M)
        for block in [block for _, block in blocks(page)] + indented:
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
