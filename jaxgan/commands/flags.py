"""What the commands' flags take, each word checked before any work, and a parser whose errors are one line."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from jaxgan.errors import did_you_mean, printable

MOST_SAMPLES = 1_000_000
SEEDS = (0, 2**31 - 1)


class ArgumentParser(argparse.ArgumentParser):
    """`argparse` whose errors are one line on stderr, exit status 2, and whose flags are never abbreviated."""

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)
        self._given: list[str] = []

    def parse_known_args(self, args=None, namespace=None):
        """As argparse has it; what was given is kept for a better word when it is wrong."""
        self._given = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Prints one line that says what is wrong, what was perhaps meant, and where help is; exits 2."""
        self.exit(2, f"error: {message}{self._hint(message)} (see {self.prog} --help)\n")

    def flags(self) -> list[str]:
        """The flags of this parser and of the kinds below it."""
        return list(dict.fromkeys(flag for parser in self._family() for flag in parser._option_string_actions))

    def _family(self) -> Iterator[argparse.ArgumentParser]:
        yield self
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                yield from action.choices.values()

    def _hint(self, message: str) -> str:
        """The nearest name, where argparse's message is of a flag or a choice that there is not; else ""."""
        if "unrecognized arguments" in message or "arguments are required" in message:
            known = self.flags()
            given = [word.partition("=")[0] for word in self._given]
            # A flag with a dot is a config's field, and another's to judge.
            wrong = [flag for flag in given if flag.startswith("--") and "." not in flag and flag not in known]
            return did_you_mean(wrong[0], known) if wrong else ""
        if choice := re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)", message):
            return did_you_mean(choice[1], re.findall(r"[^\s,']+", choice[2]))
        return ""


def source(text: str) -> str:
    """What is read: a path, or an address such as `s3://BUCKET/KEY`; for `add_argument(type=...)`, as those below."""
    return text if "://" in text else path(text)


def path(text: str) -> str:
    """A path as a flag takes it, its `~` resolved."""
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{printable(text)}: is an address, and this must be a local path")
    if not text.strip() or "\0" in text:
        raise argparse.ArgumentTypeError("is empty: give a path")
    resolved = os.path.expanduser(text)
    if resolved.startswith("~") and not os.path.lexists(resolved):
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such user: write the folder out")
    if not resolved.isprintable() and any("\ud800" <= c <= "\udfff" for c in resolved):
        raise argparse.ArgumentTypeError(f"{printable(resolved)}: is not valid UTF-8: rename it")
    if len(os.fsencode(resolved)) > 4000 or any(len(os.fsencode(part)) > 255 for part in Path(resolved).parts):
        raise argparse.ArgumentTypeError(f"'{text[:40]}...' is too long for a path ({len(text)} characters)")
    return resolved


def whole(low: int, high: int) -> Callable[[str], int]:
    """Takes a whole number from `low` to `high`: one far beyond what can be done is a slip of the keyboard."""

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) < 20 and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text[:40]} is not valid: give a whole number from {low} to {high}")
        return int(text)

    return parse


def step(text: str) -> str:
    """Takes which checkpoint of a run is meant: latest, best or a number."""
    if text not in ("latest", "best") and not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not valid: give latest, best or a number")
    return text


def finite(text: str) -> float:
    """Takes a number, but neither NaN nor infinity."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text[:40]} is not valid: give a finite number")
    return value


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of commands that work with a trained model."""
    add = parser.add_argument
    add(
        "--checkpoint",
        required=True,
        type=source,
        help="a run's folder, or one of its checkpoints; an exported folder,"
        " demo:NAME, hf://ORGANISATION/NAME[@REVISION], or a run at s3:// or gs://",
    )
    add("--step", type=step, default="best", metavar="latest|best|N", help="which checkpoint (default: best)")
    add("--config", type=path, metavar="PRESET", help="your preset file, if it adds networks that the run uses")


def program(command: str) -> str:
    """How the user called a command: `jaxgan train`, or the name of the script in a checkout's `scripts/`."""
    called = Path(sys.argv[0])
    return called.name if called.parent.name == "scripts" else f"jaxgan {command}"
