"""Writes a script with which a shell completes commands, flags, presets and config fields.

    jaxgan completion bash > ~/.local/share/bash-completion/completions/jaxgan
    jaxgan completion zsh > "${fpath[1]}/_jaxgan"
    jaxgan completion fish > ~/.config/fish/completions/jaxgan.fish

Start a new shell afterwards; write it anew after an update. Needs the extra `completion`: pip install
'jaxgan[completion]'. Exit status: 0 success, 2 wrong input (one line on stderr), 1 anything else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from jaxgan.commands import flags
from jaxgan.config import presets
from jaxgan.config.preset_files import preset_files
from jaxgan.config.schema import Config
from jaxgan.errors import library

SHELLS = ("bash", "zsh", "fish")
# Bash takes `mnist:wgan_gp` for three words unless the colon is none of those that end one.
_AFTER = {"bash": "\nCOMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n"}


def parser() -> flags.ArgumentParser:
    """The flags."""
    own = flags.ArgumentParser(prog=flags.program("completion"), description=__doc__)
    own.add_argument("shell", choices=SHELLS, help="which shell")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the script."""
    args = parser().parse_args(arguments)
    print(script(args.shell))
    return 0


def script(shell: str) -> str:
    """The script for one of `SHELLS`; raises `InputError` where the extra is not installed."""
    shtab = library("shtab", "completion", "completion")
    return shtab.complete(_whole_parser(shtab.FILE), shell) + _AFTER.get(shell, "")


def _whole_parser(files: dict) -> argparse.ArgumentParser:
    """All commands below one parser, with the config fields as flags, and `files` where a path is meant."""
    from jaxgan.commands.main import COMMANDS, parser_of

    whole = argparse.ArgumentParser(prog="jaxgan")
    whole.add_argument("--version", action="version", version="")
    commands = whole.add_subparsers(dest="command")
    for name, (_, about) in COMMANDS.items():
        commands.add_parser(name, help=about)
        own = commands.choices[name] = parser_of(name)
        if name == "train":
            for field, value in Config().fields().items():
                own.add_argument(f"--config.{field}", choices=("true", "false") if isinstance(value, bool) else None)
        _complete_values(own, files)
    return whole


def _complete_values(own: argparse.ArgumentParser, files: dict) -> None:
    for action in own._actions:
        if isinstance(action, argparse._SubParsersAction):
            for kind in action.choices.values():
                _complete_values(kind, files)
        elif action.dest == "config" and action.option_strings:
            action.choices = preset_names()
        elif action.type in (flags.path, flags.source):
            action.complete = files  # type: ignore[attr-defined]
        action.help = None  # Prose that shells would have to quote: the flags' names say enough.


def preset_names() -> list[str]:
    """What `--config` takes without a file of the user's own: the presets, each also with its variants."""
    names = []
    for name in preset_files():
        names += [name, *(f"{name}:{variant}" for variant in presets.variants_of(name))]
    return names
