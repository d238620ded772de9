"""What a source holds before anything of it is decoded: named samples in splits, each with a way to read it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from jaxgan.data.listing.label_table import match
from jaxgan.data.listing.series import Grouping, Unit
from jaxgan.data.preparing.seal import RECORD_FILE
from jaxgan.data.readers import SUFFIXES, VOLUME_SUFFIXES, Decoded, format_of, suffix_of
from jaxgan.errors import InputError

CACHE_SUFFIX = ".jaxgan"
SPLIT_ALIASES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
                 "test": "test", "testing": "test", "t10k": "test"}  # fmt: skip
SPLITS = tuple(dict.fromkeys(SPLIT_ALIASES.values()))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One image of a source.

    Attributes:
      name: its file, or place in a file, for messages.
      read: decodes it; more than one result if the file holds several images.
      label: its class, or None.
      group: what it must not be separated from when a test split is held out, "" for nothing.
    """

    name: str
    read: Callable[[], list[Decoded]]
    label: int | None = None
    group: str = ""


@dataclasses.dataclass(frozen=True)
class Collection:
    """A source, listed.

    Attributes:
      root: what the user named.
      spatial_rank: 2 for images, 3 for volumes.
      splits: the samples of each split in a fixed order.
      class_names: one a label; empty without labels.
      files: every file that the samples come from (an OME-Zarr is a folder); their content is the source's identity.
      ignored: `(file, reason)` of what lies in the source but is no image.
      grouped_by: the column of a table or the field of the files that the groups of the entries are from, or "".
    """

    root: Path
    spatial_rank: int
    splits: dict[str, list[Entry]]
    class_names: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    ignored: tuple[tuple[str, str], ...] = ()
    grouped_by: str = ""


def list_folder(
    root: Path, *, labelled: bool | None = None, spatial_rank: int = 2, labels: dict[str, str] | None = None
) -> Collection:
    """Lists a folder of images or volumes.

    Args:
      root: holds the files, at any depth.
      labelled: True: the class of a file is the sub-folder of `root` it lies in, at any depth; False: no labels;
        None: labels if all files lie directly in at least two sub-folders, which are not those of patients: that
        each holds one sample, or DICOM files of a patient of its own, tells these.
      spatial_rank: 2 or 3.
      labels: classes by file, see `label_table.match`, instead of sub-folders; not used where `labelled` is False.

    Returns:
      Sub-folders named like splits (train, val, test) are splits if there is nothing else; else all is "train".

    Raises:
      InputError: no image in the folder, or labels asked for that it does not give.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds the images")
    labels = None if labelled is False else labels
    if labels is None and labelled is not False and (root / "dataset_description.json").is_file():
        raise InputError(
            f"{root}: is a BIDS dataset, whose folders are subjects and no classes; prepare it by 'jaxgan prepare "
            "volumes --bids', or without classes (--unlabelled, or config.data.labelled=False)"
        )
    files: list[Path] = []
    ignored: list[tuple[str, str]] = []
    for path in walk(root, ignored):
        if path.name.startswith("."):
            ignored.append((str(path), "hidden file"))
        elif format_of(path) in SUFFIXES:
            files.append(path)
        else:
            ignored.append((str(path), f"not an image format ({suffix_of(path) or 'no suffix'})"))
    if not files:
        seen = sorted({suffix_of(Path(name)) or "none" for name, _ in ignored})
        state = f"files with suffix {' '.join(seen)} only" if seen else "no files"
        raise InputError(
            f"{root}: holds {state}; images must be one of {' '.join(sorted(SUFFIXES))}"
            + ("; patches of slides are cut by 'jaxgan prepare slides'" if {".svs", ".ndpi", ".scn"} & {*seen} else "")
        )
    groups, depth = _group_by_split(root, files)
    grouping = Grouping(spatial_rank, ignored)
    units = {split: found for split, paths in groups.items() if (found := grouping.units(paths))}
    if not units:
        raise InputError(f"{root}: none of its {len(files)} DICOM files has pixels; give the folder of the images")
    relative = {path: path.relative_to(root).parts[depth:] for path in files}
    if labels is None:
        classes = {path: parts[0] if len(parts) > 1 else "" for path, parts in relative.items()}
    else:
        classes, labelled = match(files, root, labels), True
    one_each = _folders_of((classes[unit.paths[0]], unit) for found in units.values() for unit in found)
    if labelled is None:
        labelled = all(len(parts) == 2 for parts in relative.values()) and len(set(classes.values())) > 1
        labelled = labelled and not one_each
    elif labelled and labels is None and one_each == "sample":
        raise InputError(
            f"{root}: every folder holds one sample, as those of patients do, and a class has more; prepare without"
            " labels (--unlabelled, or config.data.labelled=False), or give classes in a table (--labels)"
        )
    if labelled and not all(classes.values()):
        without = next(path for path in files if not classes[path])
        way = "is not in the table of labels" if labels is not None else f"lies in no class folder under {root}"
        raise InputError(f"{without}: {way}, but labels are asked for; add its class or prepare without labels")
    class_names = tuple(sorted(set(classes.values()), key=natural)) if labelled else ()
    if odd := [name for name in class_names if not name.isprintable()]:
        raise InputError(f"{root}: class name {odd[0]!a} has characters that no file can list; rename the folder")
    index = {name: i for i, name in enumerate(class_names)}
    splits = {
        split: [
            Entry(
                str(unit.paths[0]),
                unit.reader(spatial_rank),
                index[classes[unit.paths[0]]] if labelled else None,
                unit.group,
            )
            for unit in found
        ]
        for split, found in units.items()
    }
    by = "PatientID" if grouping.by_patient else ""
    return Collection(root, spatial_rank, splits, class_names, tuple(files), tuple(ignored), by)


def _folders_of(units: Iterable[tuple[str, Unit]]) -> str:
    """What several folders hold if it is no class: "sample" (one each), "patient" (of its own each), else ""."""
    folders: dict[str, list[Unit]] = {}
    for name, unit in units:
        folders.setdefault(name, []).append(unit)
    patients = [{unit.group for unit in found} for found in folders.values()]
    if len(folders) > 1 and all(len(found) == 1 for found in folders.values()):
        return "sample"
    apart = all(len(each) == 1 for each in patients) and len(set().union(*patients) - {""}) == len(patients)
    return "patient" if len(folders) > 1 and apart else ""


def group_by_table(collection: Collection, column: str, subjects: dict[str, str]) -> Collection:
    """The collection with the subject of each file as its group.

    Args:
      collection: of files.
      column: what the table calls subjects.
      subjects: by file, see `label_table.match`.

    Raises:
      InputError: a file is not in the table.
    """
    # The name of a patch is a place in its slide, which is its group.
    files = set(map(str, collection.files))
    file_of = {
        entry.name: Path(entry.name if entry.name in files else entry.group)
        for entries in collection.splits.values()
        for entry in entries
    }
    found = match(dict.fromkeys(file_of.values()), collection.root, subjects)

    def grouped(entry: Entry) -> Entry:
        path = file_of[entry.name]
        if not (subject := found[path]):
            raise InputError(f"{path}: is not in the table of labels, whose column {column!r} says the subject; add it")
        return dataclasses.replace(entry, group=subject)

    splits = {split: [grouped(entry) for entry in entries] for split, entries in collection.splits.items()}
    return dataclasses.replace(collection, splits=splits, grouped_by=column)


def walk(root: Path, ignored: list[tuple[str, str]]) -> Iterator[Path]:
    """Files under `root` in natural order; follows links to folders, but enters no folder twice."""
    seen: set[tuple[int, int]] = set()

    def visit(folder: Path) -> Iterator[Path]:
        try:
            status = folder.stat()
            key = (status.st_dev, status.st_ino)
            children = sorted(folder.iterdir(), key=lambda path: natural(path.name))
        except OSError as error:
            # Leaving it out would quietly train on part of the data.
            raise InputError(f"{folder}: cannot be listed ({error.strerror}); mend its permissions") from None
        if key in seen:
            ignored.append((str(folder), "link to a folder that is already listed"))
            return
        seen.add(key)
        for child in children:
            try:
                is_folder = child.is_dir() and suffix_of(child) not in SUFFIXES
            except OSError:  # a loop of links
                is_folder = False
            if is_folder and (child.suffix == CACHE_SUFFIX or (child / RECORD_FILE).is_file()):
                ignored.append((str(child), "prepared data"))
            elif is_folder and (child / "checkpoints").is_dir() and (child / "config.json").is_file():
                ignored.append((str(child), "a run of jaxgan"))
            elif is_folder and not child.name.startswith("."):
                yield from visit(child)
            else:
                yield child

    return visit(root)


def natural(text: str) -> tuple:
    """Sort key that puts "2" before "10", and "01" before "1": no two names are alike."""
    parts = ((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", text) if part)
    return tuple(parts), text


def guess_rank(root: Path) -> int:
    """3 if the folder's first image file is of a volume format, else 2."""
    for path in walk(root, []):
        if suffix_of(path) in SUFFIXES and not path.name.startswith("."):
            return 3 if suffix_of(path) in VOLUME_SUFFIXES else 2
    return 2


def _group_by_split(root: Path, files: list[Path]) -> tuple[dict[str, list[Path]], int]:
    """The files of each split, and how many folders below the root these splits are: 1, or 0 if all is "train"."""
    splits = {path: SPLIT_ALIASES.get(path.relative_to(root).parts[0].casefold(), "") for path in files}
    if "train" not in splits.values() or not all(splits.values()) or any(path.parent == root for path in files):
        return {"train": files}, 0
    return {split: paths for split in SPLITS if (paths := [p for p in files if splits[p] == split])}, 1
