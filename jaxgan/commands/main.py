"""The command `jaxgan`: one table of sub-commands, each a module that is imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import jaxgan
from jaxgan.commands import cli, flags

# By name: the module, with its `main(arguments)`, and what the command does.
COMMANDS = {
    "train": ("jaxgan.commands.train", "train a GAN, or go on with a run"),
    "generate": ("jaxgan.commands.generate", "sample a trained generator"),
    "evaluate": ("jaxgan.commands.evaluate", "measure generated images or volumes against real ones"),
    "prepare": ("jaxgan.commands.prepare_data", "prepare images, volumes and slides, or check what was prepared"),
    "benchmark": ("jaxgan.commands.benchmark", "time an iteration of a preset"),
    "export": ("jaxgan.commands.export", "write a trained generator as a folder that needs only jax"),
    "share": ("jaxgan.commands.share", "lay a trained generator out for the Hugging Face Hub, and upload it"),
    "launch": ("jaxgan.commands.launch", "start several processes of one job on this machine"),
    "report": ("jaxgan.commands.report", "draw a run's figures and its report anew"),
    "completion": ("jaxgan.commands.completion", "write a script with which a shell completes commands and flags"),
}


def parser() -> flags.ArgumentParser:
    """The command's own flags; those of a sub-command are its own."""
    table = "\n".join(f"  {name:<10} {about}" for name, (_, about) in COMMANDS.items())
    description = f"{jaxgan.__doc__}\n\ncommands:\n{table}\n\n`jaxgan COMMAND --help` describes one."
    own = flags.ArgumentParser(prog="jaxgan", description=description, usage="jaxgan COMMAND [flags]")
    own.add_argument("--version", action="version", version=f"jaxgan {jaxgan.__version__}")
    own.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands above")
    return own


def parser_of(command: str) -> flags.ArgumentParser:
    """The flags of one of `COMMANDS`."""
    return importlib.import_module(COMMANDS[command][0]).parser()


def main(arguments: Sequence[str] | None = None) -> int | None:
    """Runs a sub-command with the arguments that follow it; returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments:
        parser().error(f"give a command: {', '.join(COMMANDS)}")
    chosen = parser().parse_args(arguments[:1])
    module, _ = COMMANDS[chosen.command]
    return importlib.import_module(module).main(arguments[1:])


def script(name: str) -> None:
    """What `scripts/NAME.py` calls: the module is imported where a signal already ends the process well."""
    cli.run(lambda: importlib.import_module(f"jaxgan.commands.{name}").main())


def entry_point() -> None:
    """What the installed command calls."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
