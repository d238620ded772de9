"""Hashes that tell whether a source is still the one that was prepared."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxgan.errors import InputError


def of_content(files: Iterable[Path], root: Path) -> str:
    """Hash of names (relative to `root`) and contents, of folders by what they hold; unreadable files count by name."""
    digest = hashlib.blake2b(digest_size=16)
    for path in _inside(files):
        digest.update(os.path.relpath(path, root).encode(errors="surrogateescape") + b"\0")
        try:
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).digest())
        except OSError:
            digest.update(b"unreadable")
    return digest.hexdigest()


def of_listing(files: Iterable[Path], *choices: object) -> str:
    """Hash of names, sizes and modification times, and of any JSON-able choices: quick, for unchanged sources."""
    rows = []
    for path in _inside(files):
        try:
            status = path.stat()
        except OSError:
            continue
        rows.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
    return combine(rows, *choices)


def _inside(files: Iterable[Path]) -> Iterator[Path]:
    """The files in order, and those in a folder (an image in one of the formats that are folders) in its place."""
    for path in sorted(files):
        if path.is_dir():
            yield from sorted(inner for inner in path.rglob("*") if inner.is_file())
        else:
            yield path


def combine(*parts: object) -> str:
    """Hash of JSON-able values."""
    try:
        text = json.dumps(parts, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise InputError(f"fingerprint: {error}") from None
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
