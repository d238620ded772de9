"""Where a model lies: a folder, inside this package (`demo:NAME`), on the Hugging Face Hub, or in a cloud."""

from __future__ import annotations

import os
import re
from pathlib import Path

from jaxgan import clouds
from jaxgan.errors import InputError, library, one_line, way_out
from jaxgan.inference.exported import CONFIG, WEIGHTS, is_export

DEMO, HUB = "demo:", "hf://"
# Small exported generators that come with the package, a folder each.
DEMO_MODELS = Path(__file__).parents[1] / "demo_models"
_REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def locate(checkpoint: str | os.PathLike) -> Path:
    """The folder of what `--checkpoint` names; a model of the hub is fetched into the hub's own cache.

    Args:
      checkpoint: a path, `demo:NAME`, `hf://ORGANISATION/NAME[@REVISION]`, or a cloud address.

    Raises:
      InputError: there is no such model, or it cannot be fetched.
    """
    text = os.fspath(checkpoint)
    if text.startswith(DEMO):
        return _demo(text.removeprefix(DEMO))
    if text.startswith(HUB):
        return _fetch(text)
    return clouds.fetch(text) if clouds.is_remote(text) else Path(text)


def demo_names() -> list[str]:
    """The models inside the package."""
    return sorted(folder.name for folder in DEMO_MODELS.glob("*") if is_export(folder))


def repository(address: str) -> tuple[str, str | None]:
    """`hf://org/name@revision` as ("org/name", "revision"), the revision None where there is none.

    Raises:
      InputError: it is no such address.
    """
    found = _REPOSITORY.fullmatch(address.removeprefix(HUB)) if address.startswith(HUB) else None
    if found is None:
        raise InputError(f"{address}: is no repository of the hub: write hf://ORGANISATION/NAME or .../NAME@REVISION")
    return found[1], found[2]


def _demo(name: str) -> Path:
    names = demo_names()
    if name in names:
        return DEMO_MODELS / name
    raise InputError(f"--checkpoint {DEMO}{name}: no such model comes with jaxgan: {way_out(name, names)}")


def _fetch(address: str) -> Path:
    name, revision = repository(address)
    hub = library("huggingface_hub", "hub", address)
    try:
        # Nothing else of the repository: the program and its loader are for those without jaxgan.
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=[CONFIG, WEIGHTS]))
    except Exception as error:  # Many kinds: no such repository or revision, no access, no network.
        raise InputError(f"{address}: cannot be fetched ({type(error).__name__}: {one_line(error)[:300]})") from None
    if not is_export(folder):
        raise InputError(f"{address}: holds no {WEIGHTS}: it is no generator that 'jaxgan share' wrote")
    return folder
