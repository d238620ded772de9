"""What `scripts/prepare_data.py` does."""

from __future__ import annotations

import csv
from pathlib import Path

from jaxgan.data.listing import medmnist
from jaxgan.data.listing.archives import list_idx, list_npz
from jaxgan.data.listing.collection import Collection, list_folder
from jaxgan.data.listing.patches import Cutting, list_slides
from jaxgan.data.open import identifier
from jaxgan.data.preparing.check import Report, check, describe_space
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import Policy, prepare
from jaxgan.data.preparing.prepared import find_prepared, load_record
from jaxgan.errors import InputError

KINDS = ("folder", "idx", "npz", "volumes", "slides")


def prepare_source(
    kind: str,
    source: str,
    data_dir: str,
    *,
    name: str | None = None,
    labelled: bool | None = None,
    label_table: str | None = None,
    label_column: str | None = None,
    spatial_rank: int | None = None,
    conversion: Conversion,
    policy: Policy,
    cutting: Cutting | None = None,
    progress: bool = True,
) -> Path:
    """Prepares a source of a known kind and returns the folder of the prepared dataset.

    Args:
      kind: one of `KINDS`.
      source: file or folder, or the name of an official MedMNIST archive with kind "npz".
      data_dir: where prepared datasets live.
      name: of the dataset; None: from the source's name.
      labelled: see `collection.list_folder`.
      label_table: CSV file with a column of file names and one of classes.
      label_column: of the table; None: its second.
      spatial_rank: with kind "npz", where a shape fits images and volumes.
      conversion: how an image becomes a sample.
      policy: choices about the whole set.
      cutting: with kind "slides".
      progress: shows progress bars on a terminal.

    Raises:
      InputError: one line that names the file or field and the way out.
    """
    path = Path(source).expanduser()
    target = Path(data_dir).expanduser()
    if kind == "npz" and not path.exists() and medmnist.is_name(source):
        path = medmnist.download(source, target)
    if not path.exists():
        raise InputError(f"source={source}: no such file or folder")
    if label_table is not None and kind not in ("folder", "volumes", "slides"):
        raise InputError(f"labels={label_table}: {kind} sources carry their own labels; leave the table out")
    labels = None if label_table is None else read_labels(Path(label_table), label_column)
    collection = _list(kind, path, labelled, labels, spatial_rank, cutting, progress)
    return prepare(collection, target, name or identifier(path), conversion, policy, progress=progress)


def _list(kind, path, labelled, labels, spatial_rank, cutting, progress) -> Collection:
    if kind == "idx":
        return list_idx(path, labelled)
    if kind == "npz":
        if path.is_file():
            medmnist.check_official(path)
        return list_npz(path, labelled, spatial_rank)
    if kind == "slides":
        return list_slides(path, cutting or Cutting(), labels, labelled=bool(labelled), progress=progress)
    return list_folder(path, labelled=labelled, spatial_rank=3 if kind == "volumes" else 2, labels=labels)


def summary(folder: Path) -> str:
    """A few lines on a prepared dataset."""
    record = load_record(folder)
    scaling = record["scaling"]
    splits = ", ".join(f"{split} {count}" for split, count in record["splits"].items())
    lines = [
        f"prepared {folder}",
        f"{splits} samples of {'x'.join(str(n) for n in record['shape'])} {scaling['dtype']}",
        f"scaling {scaling['policy']}: {scaling['low']:g} to {scaling['high']:g}, {scaling['clipped']} values clipped",
    ]
    if len(record["shape"]) == 4 or record.get("spacing"):
        lines += describe_space(record)
    if record["class_names"]:
        lines.append(f"classes {', '.join(record['class_names'])}")
    if record["rejected"] or record["ignored"]:
        lines.append(f"rejected {record['rejected']}, ignored {record['ignored']} files: {folder / 'rejected.csv'}")
    if record["composited_on_white"]:
        lines.append(f"laid {record['composited_on_white']} transparent pictures on white")
    return "\n".join(lines)


def check_prepared(data_dir: str, name: str | None = None, preview: str | None = None) -> list[tuple[Path, Report]]:
    """Checks the prepared datasets of a folder, or those of one name; raises `InputError` if there are none."""
    found = find_prepared(Path(data_dir).expanduser())
    known = ", ".join(sorted({path.parts[-3] for path in found})) or "none"
    found = [path for path in found if name in (None, path.parts[-3], "/".join(path.parts[-3:-1]))]
    if not found:
        raise InputError(f"data_dir={data_dir}: no prepared dataset {name or ''}, found: {known}; prepare it first")
    if preview is not None and len(found) > 1:
        raise InputError(f"preview={preview}: {len(found)} datasets are checked; choose one by --name NAME/CONFIG")
    return [(path, check(path, None if preview is None else Path(preview))) for path in found]


def read_labels(path: Path, column: str | None = None) -> dict[str, str]:
    """`{name: class}` from a CSV file with a header; names are in its first column."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.reader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error}); give a comma-separated table") from None
    if len(rows) < 2 or len(rows[0]) < 2:
        raise InputError(f"{path}: needs a header, a column of names, a column of classes and one row at least")
    header = rows[0]
    if column is not None and column not in header:
        raise InputError(f"label_column={column!r}: {path} has {', '.join(header)}")
    index = 1 if column is None else header.index(column)
    short = [number for number, row in enumerate(rows[1:], 2) if row and (len(row) <= index or not row[index])]
    if short:
        raise InputError(f"{path}: line {short[0]} has no class; complete or remove it")
    return {row[0]: row[index] for row in rows[1:] if row}
