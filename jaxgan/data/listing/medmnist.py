"""The official MedMNIST archives: where they are and how to tell them."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import socket
import urllib.request
from pathlib import Path
from typing import Any

from jaxgan.errors import InputError

_URL = "https://zenodo.org/records/10519652/files/{}.npz?download=1"


def is_name(source: str) -> bool:
    """Whether `source` is the name of an official archive, such as "pathmnist" or "pathmnist_64"."""
    return source in _md5s()


def check_official(path: Path) -> None:
    """Warns if a file has the name of an official archive but other content; that may be meant, so no error."""
    if path.suffix == ".npz" and path.stem in _md5s() and (found := _md5(path)) != _md5s()[path.stem]:
        logging.getLogger("jaxgan").warning(
            "%s is not the official MedMNIST file of that name (md5 %s, official %s); if it has as many classes, they"
            " are called as the official ones: rename it if they are others",
            path,
            found,
            _md5s()[path.stem],
        )


def class_names(stem: str, count: int) -> tuple[str, ...]:
    """The names of `count` classes: of the official archive that a file is called after, if it has as many, else their
    numbers.

    The names are those of the medmnist package 3.0.2, but for commas and long additions in brackets: labels on a
    command line are parted by commas.
    """
    names = _json("medmnist_classes").get(stem.partition("_")[0], [])
    return tuple(names) if len(names) == count and is_name(stem) else tuple(map(str, range(count)))


def download(name: str, folder: Path) -> Path:
    """Downloads an official archive through tfds into `folder` and checks it.

    Returns:
      `folder/NAME.npz`; a file that is already there and right is kept.

    Raises:
      InputError: no network, no space, or content that is not the official one.
    """
    target = folder / f"{name}.npz"
    if target.exists() and _md5(target) == _md5s()[name]:
        return target
    import tensorflow_datasets as tfds

    url = _URL.format(name)
    try:
        if not urllib.request.getproxies():
            # Without a network tfds tries again for over three minutes; find out first.
            socket.create_connection(("zenodo.org", 443), timeout=10).close()
        manager = tfds.download.DownloadManager(download_dir=str(folder / "downloads"), dataset_name=name)
        path = Path(str(manager.download(url)))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:160]
        raise InputError(
            f"{name}: could not be downloaded from {url} ({reason}); download it elsewhere and give the file as source"
        ) from None
    if (found := _md5(path)) != _md5s()[name]:
        path.unlink()
        raise InputError(f"{url}: the download has md5 {found}, not {_md5s()[name]}; try again")
    path.replace(target)
    return target


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _md5s() -> dict[str, str]:
    """MD5 of each file of the release, as the medmnist package 3.0.2 lists them."""
    return _json("medmnist")


@functools.cache
def _json(name: str) -> dict[str, Any]:
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text())
