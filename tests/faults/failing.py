"""A `jaxgan` command in which a function fails, as on a full disk, or takes long, as an evaluation may.

`FAILS=MODULE:NAME[@N]` or `LASTS=MODULE:NAME[@N]` say which, from its Nth call on; it lasts `SECONDS`. With `MISREADS`
set, the first array of a checkpoint that is read is not what was saved, as behind a bad cable.
"""

import errno
import importlib
import itertools
import os
import sys
import time


def full(name):
    raise OSError(errno.ENOSPC, "No space left on device", "somewhere")


def last(name):
    print(f"{name} lasts", file=sys.stderr, flush=True)
    time.sleep(float(os.environ.get("SECONDS", "120")))


def replace(place, harm):
    """Has the function that is named do harm first."""
    where, _, first = place.partition("@")
    module, _, name = where.partition(":")
    owner = importlib.import_module(module)
    *owners, name = name.split(".")
    for part in owners:
        owner = getattr(owner, part)
    real, calls = getattr(owner, name), itertools.count(1)

    def call(*args, **kwargs):
        if next(calls) >= int(first or 1):
            harm(name)
        return real(*args, **kwargs)

    setattr(owner, name, call)


def misread_once():
    from jaxgan.runs import checkpoint

    real = checkpoint._describe

    def describe(array):
        checkpoint._describe = real
        return {**real(array), "sha256": "another"}

    checkpoint._describe = describe


if __name__ == "__main__":
    from jaxgan.commands.main import entry_point

    for variable, harm in (("FAILS", full), ("LASTS", last)):
        if os.environ.get(variable):
            replace(os.environ[variable], harm)
    if os.environ.get("MISREADS"):
        misread_once()
    entry_point()
