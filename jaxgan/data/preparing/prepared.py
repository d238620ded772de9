"""Opening what `prepare` wrote."""

from __future__ import annotations

import csv
import os
from functools import partial
from pathlib import Path

import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.data.preparing.records import RecordReader, find_shards
from jaxgan.data.preparing.seal import RECORD_FILE, load_record, verify_files
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError


def find_prepared(folder: Path) -> list[Path]:
    """The prepared datasets at or below `folder`, which may be any of DIR, DIR/NAME, DIR/NAME/CONFIG, .../VERSION."""
    # The name of a set is that of a folder above it, which "." and ".." do not say; a link keeps its own.
    folder = Path(os.path.abspath(folder))
    for depth in ("", "*/", "*/*/", "*/*/*/"):
        found = sorted(path.parent for path in folder.glob(f"{depth}{RECORD_FILE}"))
        # A run that was killed may have left its temporary folder.
        found = [p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts)]
        if found:
            return found
    return []


def open_prepared(folder: Path, split: str = "train", labelled: bool | None = None) -> Dataset:
    """A `Dataset` over a folder that `prepare` wrote.

    Args:
      folder: DIR/NAME/CONFIG/VERSION.
      split: a split, several joined by "+", or "all".
      labelled: False leaves labels out; True insists on them.

    Raises:
      InputError: unknown split, missing labels, files that changed since they were written.
    """
    record = load_record(folder)
    verify_files(folder, record)
    try:
        return _open(folder, record, split, labelled)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        # Only a record without a seal can still hold what makes no sense.
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder / RECORD_FILE}: is damaged ({error!r}); prepare the data again") from None


def _open(folder: Path, record: dict, split: str, labelled: bool | None) -> Dataset:
    available, shape, class_names = record["splits"], record["shape"], record["class_names"]
    sound = isinstance(available, dict) and isinstance(shape, list) and isinstance(class_names, list)
    if not sound or not all(isinstance(name, str) for name in class_names):
        raise ValueError("splits, shape or class names are of the wrong type")
    names = list(available) if split == "all" else split.split("+")
    if missing := [name for name in names if name not in available]:
        raise InputError(
            f"split={split!r}: {record['name']} has no {missing[0]!r}, only {', '.join(available)}: give one of these"
            f" (to train on it, config.data.split={next(iter(available), 'all')})"
        )
    class_names = tuple(class_names)
    if labelled and not class_names:
        raise InputError(f"{folder}: was prepared without labels; prepare it again with --labelled")
    if labelled is False:
        class_names = ()
    scaling = Scaling.from_dict(record["scaling"])
    shape = tuple(shape)
    shards = [shard for name in names for shard in find_shards(folder, name, available[name])]
    reader = RecordReader(shards, shape, np.dtype(scaling.dtype))
    labels = None
    if class_names:
        labels = np.concatenate([np.load(folder / f"labels-{name}.npy", allow_pickle=False) for name in names])
    affine, spacing, holdout = (record.get(field) for field in ("affine", "spacing", "holdout"))
    held_out, trainable = None, True
    if holdout is not None:
        trainable = holdout["split"] not in names
        held_out = _open(folder, record, holdout["split"], labelled) if trainable else None
    return Dataset(
        record["name"],
        len(reader),
        shape,
        reader,
        scaling,
        labels,
        class_names,
        f"{record['fingerprint']}/{split}",
        None if affine is None else np.array(affine),
        # Data that were prepared before there was a spacing state none: their volumes were fitted by voxels.
        None if spacing is None else tuple(spacing),
        held_out,
        trainable,
        partial(_files, folder, names),
    )


def _files(folder: Path, names: list[str]) -> list[str]:
    """The file that each sample of the splits came from, in their order."""
    found: dict[str, list[str]] = {name: [] for name in names}
    with (folder / "samples.csv").open(newline="", errors="surrogateescape") as stream:
        for row in csv.DictReader(stream):
            if row["split"] in found:
                found[row["split"]].append(row["source"])
    return [source for name in names for source in found[name]]
