"""What every command shares: exit codes and one-line errors (0 success, 2 wrong input, 1 anything else)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from jaxgan.errors import InputError


class ArgumentParser(argparse.ArgumentParser):
    """`argparse` whose errors are one line on stderr, exit status 2, and whose flags are never abbreviated."""

    def __init__(self, **kwargs: Any):
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Prints one line that says what is wrong and where help is, and exits 2."""
        self.exit(2, f"error: {message} (see {self.prog} --help)\n")


def program(command: str) -> str:
    """How the user called a command: `jaxgan train`, or the name of the script in a checkout's `scripts/`."""
    called = Path(sys.argv[0])
    return called.name if called.parent.name == "scripts" else f"jaxgan {command}"


def run(main: Callable[[], int | None]) -> None:
    """Calls `main` and leaves the process with the project's exit codes.

    Args:
      main: does the work; returns None or 0 on success, another status (1 = "a check failed") otherwise.
    """
    try:
        status = main() or 0
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except BrokenPipeError:
        # The reader of our output has gone (`... | head`); silence the interpreter's own flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        status = 1
    sys.exit(status)
