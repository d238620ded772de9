"""How far something is: a bar on a terminal, else a plain line now and then, as a job's log can hold it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

# Between two lines; what is done sooner has none.
LINE_SECONDS = 30.0


def counted(items: Iterable[Item], what: str, total: int, unit: str = "it", shown: bool = True) -> Iterator[Item]:
    """The items one after another, with progress on stderr.

    Args:
      items: to go through.
      what: is being done, e.g. "preparing".
      total: how many there are.
      unit: of one of them, e.g. "image".
      shown: False for silence.
    """
    if not shown:
        yield from items
    elif on_terminal():
        from tqdm import tqdm

        yield from tqdm(items, what, total, unit=unit, dynamic_ncols=True)
    else:
        yield from _with_lines(items, what, total, unit)


def _with_lines(items: Iterable[Item], what: str, total: int, unit: str) -> Iterator[Item]:
    began = told = time.monotonic()
    for done, item in enumerate(items):
        now = time.monotonic()
        if done and now - told >= LINE_SECONDS:
            told, rate = now, done / (now - began)
            left = duration((total - done) / rate)
            units = f"{unit}es" if unit.endswith("ch") else f"{unit}s"
            print(f"{what}: {done} of {total} {units}, {rate:.3g} {units}/s, {left} left", file=sys.stderr, flush=True)
        yield item


def on_terminal() -> bool:
    """Whether somebody may see a bar move."""
    return sys.stderr is not None and sys.stderr.isatty()


def duration(seconds: float) -> str:
    """A time in the unit that fits.

    Example:
      >>> duration(42), duration(600), duration(9000), duration(400_000)
      ('42 s', '10 min', '2.5 h', '4.6 d')
    """
    for size, unit in ((86400.0, "d"), (3600.0, "h")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
