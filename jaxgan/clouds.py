"""Data and runs at cloud addresses (`s3://`, `gs://`): a local copy is what everything else works with.

An object store has no rename: what consists of several objects is whole when its marker is there, which is written
last and deleted first. That is how checkpoints go up; one without its marker is not taken down.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from jaxgan.errors import InputError, one_line
from jaxgan.files import atomic_files, cache_folder, write_json

# What an address begins with, and the extra that brings its client.
EXTRAS = {"s3": "s3", "gs": "gs"}
MARKER = "COMMITTED"
# What the names begin with by which processes find each other at an address: no part of what lies there.
PRIVATE = ".jaxgan-"
_CHECKPOINTS = "checkpoints"
_AT_ONCE = 8


def is_remote(place: object) -> bool:
    """Whether a place is a cloud address, or meant as one."""
    return re.match(r"[a-z][a-z0-9+.-]*://", str(place)) is not None


def fetch(address: str) -> Path:
    """A local copy, in the cache, of a file or of all that is in a folder; what has not changed is not sent again.

    Args:
      address: `s3://BUCKET/KEY` or `gs://BUCKET/KEY`.

    Returns:
      the copy, which has the same name.

    Raises:
      InputError: the client is not installed, nothing is there, or it cannot be read.
    """
    store = Store(address)
    local = local_copy(store, "read")
    listing = store.listing()
    if not listing:
        raise InputError(f"{address}: nothing is there; mend the address")
    take(store, listing, local)
    return local


class Store:
    """The files below one address; every failure is an `InputError` that names it."""

    def __init__(self, address: str):
        scheme, _, path = address.partition("://")
        path = path.rstrip("/")
        self.address = f"{scheme}://{path}"
        self.name = PurePosixPath(path).name
        if scheme not in EXTRAS:
            known = ", ".join(f"{name}://" for name in EXTRAS)
            raise InputError(f"{address}: {scheme}:// is not known, only {known}: copy the data to a local folder")
        # The copy has the address's last part as its name.
        if any(part in ("", ".", "..") for part in path.split("/")):
            raise InputError(f"{address}: names no bucket or no folder in it: write {scheme}://BUCKET/FOLDER")
        try:
            import fsspec

            # Listings are not kept: another process may write there.
            self._files, self._root = fsspec.url_to_fs(self.address, use_listings_cache=False)
        except ImportError:
            raise InputError(f"{address}: needs its client: pip install 'jaxgan[{EXTRAS[scheme]}]'") from None
        except Exception as error:
            raise self._failed("opened", error) from None

    def listing(self) -> dict[str, Any]:
        """`{path below the address: what changes when the file does}`; a single file has the path of its name."""
        try:
            self._files.invalidate_cache()
            found = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise self._failed("read", error) from None
        listing = {}
        for path, info in found.items():
            below = path.removeprefix(self._root).lstrip("/")
            if path != self._root and not path.startswith(f"{self._root}/"):
                continue
            if path.endswith("/") or info.get("type") == "directory":  # What consoles make for an empty folder.
                continue
            if below.startswith(PRIVATE):
                continue
            if any(part in ("", ".", "..") for part in below.split("/")) and below:
                raise InputError(f"{self.address}: the name {below!r} is none of a file; rename it")
            version = next(filter(None, map(info.get, ("ETag", "etag", "md5Hash", "mtime", "created"))), None)
            listing[below] = [info.get("size"), str(version)]
        return listing

    def get(self, below: str, target: Path) -> None:
        """Downloads one file, whole or not at all."""
        try:
            with atomic_files([target], overwrite=True) as (temporary,):
                self._files.get_file(self._path(below), str(temporary))
        except InputError:
            raise
        except Exception as error:
            raise self._failed(f"read ({below})", error) from None

    def put(self, source: Path, below: str) -> None:
        """Uploads one file; raises `FileNotFoundError` if it is gone meanwhile."""
        try:
            self._files.put_file(str(source), self._path(below))
        except Exception as error:
            if not source.exists():
                raise FileNotFoundError(source) from None
            raise self._failed("written", error) from None

    def write(self, below: str, content: bytes) -> None:
        """Writes a small file."""
        try:
            self._files.pipe_file(self._path(below), content)
        except Exception as error:
            raise self._failed("written", error) from None

    def read(self, below: str) -> bytes | None:
        """What a small file holds; None where there is none."""
        try:
            return self._files.cat_file(self._path(below))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed(f"read ({below})", error) from None

    def modified(self, below: str) -> datetime.datetime | None:
        """When a file was written, by the store's own clock; None where there is none."""
        try:
            return self._files.modified(self._path(below))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._failed(f"read ({below})", error) from None

    def remove(self, below: Iterable[str]) -> None:
        """Deletes files, in this order; those that are gone already are no error."""
        for name in below:
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                pass
            except Exception as error:
                raise self._failed("written", error) from None

    def _path(self, below: str) -> str:
        return f"{self._root}/{below}" if below else self._root

    def _failed(self, what: str, error: Exception) -> InputError:
        return InputError(f"{self.address}: cannot be {what} ({type(error).__name__}: {one_line(error)[:300]})")


def local_copy(store: Store, purpose: str) -> Path:
    """Where in the cache the copy lies; a run that is trained has another than what is read of it meanwhile."""
    key = hashlib.sha256(store.address.encode()).hexdigest()[:16]
    return cache_folder() / "clouds" / key / purpose / store.name


def take(store: Store, listing: dict[str, Any], local: Path) -> None:
    """Makes the local copy what the listing says, downloading what differs."""
    from tqdm import tqdm

    wanted = {name: version for name, version in listing.items() if is_whole(name, listing)}
    note = local.with_name(f"{local.name}.listing.json")
    known = read_note(note)
    single = list(listing) == [""]

    def place(name: str) -> Path:
        return local if single else local.joinpath(*name.split("/"))

    def is_there(name: str) -> bool:
        try:
            return known.get(name) == wanted[name] and place(name).stat().st_size == wanted[name][0]
        except OSError:
            return False

    if local.exists() and single == local.is_dir():  # What was a file is a folder now, or the other way.
        shutil.rmtree(local, ignore_errors=True)
        local.unlink(missing_ok=True)
    missing = [name for name in wanted if not is_there(name)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = pool.map(lambda name: store.get(name, place(name)), missing)
        for _ in tqdm(jobs, f"fetching {store.address}", len(missing), unit="file", disable=None if missing else True):
            pass
    if not single and local.is_dir():
        for path in [path for path in local.rglob("*") if path.is_file()]:
            if path.relative_to(local).as_posix() not in wanted:
                path.unlink(missing_ok=True)
        for folder in sorted((path for path in local.rglob("*") if path.is_dir()), reverse=True):
            with contextlib.suppress(OSError):
                folder.rmdir()  # if it is empty
    if missing or known.keys() != wanted.keys():
        write_json(note, wanted)


def step_of(name: str) -> str | None:
    """The folder of the checkpoint that a file of a run belongs to."""
    parts = name.split("/")
    return "/".join(parts[:2]) if len(parts) > 2 and parts[0] == _CHECKPOINTS and parts[1].isdecimal() else None


def is_whole(name: str, listing: dict[str, Any]) -> bool:
    """Whether a file is there with all that belongs to it: a checkpoint's with its marker, which is none itself."""
    step = step_of(name)
    return step is None or (f"{step}/{MARKER}" in listing and name != f"{step}/{MARKER}")


def read_note(note: Path) -> dict[str, Any]:
    """What was noted beside a copy; empty where nothing was, or it is damaged."""
    try:
        return dict(json.loads(note.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
