"""Volumes of a BIDS dataset (Gorgolewski et al. 2016, doi:10.1038/sdata.2016.44), their subjects and classes.

Only names and one table are read, so that this needs none of what pybids brings (a database, among others).
"""

from __future__ import annotations

import csv
import re
from functools import partial
from pathlib import Path

from jaxgan.data.listing.collection import Collection, Entry, natural, walk
from jaxgan.data.readers import read_file
from jaxgan.errors import InputError

TABLE = "participants.tsv"
_FOLDERS = re.compile(r"sub-([0-9A-Za-z]+)/(?:ses-[0-9A-Za-z]+/)?[a-z]+")
_NAME = re.compile(r"sub-[0-9A-Za-z]+(?:_[a-z]+-[0-9A-Za-z+]+)*_(\w+)\.nii(?:\.gz)?", re.ASCII)


def list_bids(root: Path, suffix: str = "T1w", column: str | None = None) -> Collection:
    """Lists the volumes of one suffix; derivatives and source data are left out.

    Args:
      root: the dataset, with folders `sub-*`.
      suffix: what the file names end with: T1w, T2w, FLAIR, ...
      column: of `participants.tsv`, whose values are the classes; None: no classes. Subjects without a value (`n/a`)
        are left out.

    Returns:
      One split, "train", grouped by subject: no subject comes on both sides of a holdout.

    Raises:
      InputError: no subject, no volume of that suffix, or no such column or subject in the table.
    """
    if not root.is_dir() or not any(path.is_dir() for path in root.glob("sub-*")):
        raise InputError(f"{root}: is no BIDS dataset, it has no folder sub-...; give its root, or leave --bids out")
    found: list[tuple[Path, str]] = []
    seen: set[str] = set()
    ignored: list[tuple[str, str]] = []
    for folder in sorted(root.glob("sub-*"), key=lambda path: natural(path.name)):
        for path in walk(folder, ignored) if folder.is_dir() else ():
            place, name = _FOLDERS.fullmatch(path.parent.relative_to(root).as_posix()), _NAME.fullmatch(path.name)
            if place and name and path.name.startswith(f"sub-{place[1]}_"):
                seen.add(name[1])
                if name[1] == suffix:
                    found.append((path, f"sub-{place[1]}"))
    if not found:
        raise InputError(f"{root}: holds no volume *_{suffix}.nii.gz; there are {', '.join(sorted(seen)) or 'none'}")
    classes = None if column is None else _participants(root / TABLE, column)
    if classes is not None:
        missing = next((subject for _, subject in found if subject not in classes), None)
        if missing:
            raise InputError(f"{root / TABLE}: has no row for {missing}; add it")
        ignored += [(str(path), f"no {column} in {TABLE}") for path, subject in found if not classes[subject]]
        found = [(path, subject) for path, subject in found if classes[subject]]
        if not found:
            raise InputError(f"{root / TABLE}: column {column!r} has no value for any subject; choose another")
    names = () if classes is None else tuple(sorted({classes[subject] for _, subject in found}, key=natural))
    entries = [
        Entry(
            str(path),
            partial(read_file, path, 3),
            None if classes is None else names.index(classes[subject]),
            subject,
        )
        for path, subject in found
    ]
    files = tuple(path for path, _ in found)
    return Collection(root, 3, {"train": entries}, names, files, tuple(ignored), "participant_id")


def _participants(path: Path, column: str) -> dict[str, str]:
    """`{subject: value of the column}`, "" where there is none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t", restval=""))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({error}); --label_column names a column of it") from None
    columns = list(rows[0]) if rows else []
    if "participant_id" not in columns or column not in columns:
        raise InputError(f"{path}: has no column {column!r}; it has {', '.join(map(str, columns)) or 'no rows'}")
    values = {row["participant_id"]: (row[column] or "").strip() for row in rows}
    return {subject: "" if value in ("n/a", "N/A") else value for subject, value in values.items()}
