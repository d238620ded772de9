"""The one exception that means "the input is wrong", as opposed to "jaxgan is wrong"."""

import difflib
import importlib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """A mistake in what the user gave: a field, a flag, a file.

    The message is one line that names the field or the file and the way out. The command-line scripts
    print it as `error: <message>` on stderr and exit with status 2; from Python it is a `ValueError`.

    Example:
      >>> import jaxgan
      >>> jaxgan.Config.from_dict({"train": {"batch_size": 0}})
      Traceback (most recent call last):
      jaxgan.errors.InputError: config.train.batch_size=0 is not valid: give a value above 0
    """

    def __init__(self, message: str):
        super().__init__(printable(" ".join(str(message).split())))


class ArgumentError(InputError):
    """A wrong argument of a public function: the message names the argument, on the command line its flag.

    Args:
      name: of the argument.
      value: as given; "" where it says nothing.
      message: what is wrong with it, and the way out; the name and the value come first.
      flag: where it is called otherwise than the argument.
    """

    def __init__(self, name: str, value: object, message: str, flag: str = ""):
        shown = str(value)
        super().__init__(f"{name}{f'={shown}' if shown else ''}{message}")
        flag = flag or f"--{name}"
        self.on_command_line = str(InputError(f"{flag}{f' {shown}' if shown else ''}{message}"))


class Stopped(Exception):
    """The work ended before its time, for a reason that one line says; what was saved is good (exit status 1).

    Attributes:
      agreed: whether all processes of a job end so together, each in its own time.
    """

    agreed = False


def printable(text: str) -> str:
    """The text with what would steer a terminal escaped: a file's name may hold any byte."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(error: BaseException) -> str:
    """What an exception says, as one line."""
    return printable(" ".join(str(error).split())) or type(error).__name__


def library(module: str, extra: str, purpose: str) -> Any:
    """A library that comes with one of the package's extras.

    Args:
      module: to import.
      extra: that brings it.
      purpose: what needs it, a flag or a file: the message begins with it.

    Raises:
      InputError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputError(f"{purpose} needs {module}: pip install 'jaxgan[{extra}]'") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question after a name that there is not, with the nearest one there is; "" where none is near.

    Of what is much longer than the name, the one that it begins or ends is near too: it may be an abbreviation.

    Example:
      >>> did_you_mean("hinje", ["vanilla", "hinge"])
      ': did you mean hinge?'
      >>> did_you_mean("hist", ["is", "histogram"])
      ': did you mean histogram?'
    """
    names = list(known)
    longer = [other for other in names if len(name) > 2 and (other.startswith(name) or other.endswith(name))]
    near = longer if len(longer) == 1 else difflib.get_close_matches(name, names, n=1)
    return f": did you mean {near[0]}?" if near else ""


def way_out(name: str, known: Iterable[str]) -> str:
    """What to write instead of a name that there is not: the nearest one, and all that there are.

    Example:
      >>> way_out("hinje", ["vanilla", "hinge"])
      'did you mean hinge? (choose one of vanilla, hinge)'
    """
    names = list(known)
    question, choices = did_you_mean(name, names).removeprefix(": "), f"choose one of {', '.join(names)}"
    return f"{question} ({choices})" if question else choices
