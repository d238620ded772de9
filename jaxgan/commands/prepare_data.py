"""Prepares images, volumes and slides for training, and checks what was prepared.

    jaxgan prepare folder  --source IMAGES  --data_dir DATA --size 256 --channels 1
    jaxgan prepare volumes --source VOLUMES --data_dir DATA --size 64 --labelled --normalise percentile
    jaxgan prepare slides  --source SLIDES  --data_dir DATA --size 256 --max_patches 5000
    jaxgan prepare check   --data_dir DATA --name images

Exit status: 0 done, 1 the check found something wrong, 2 wrong usage or input.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan import clouds
from jaxgan.commands import flags
from jaxgan.data.listing import medmnist, panda
from jaxgan.data.listing.archives import list_idx, list_npz
from jaxgan.data.listing.bids import list_bids
from jaxgan.data.listing.collection import Collection, group_by_table, list_folder
from jaxgan.data.listing.label_table import read_classes, read_header, read_labels
from jaxgan.data.listing.patches import Cutting, list_slides
from jaxgan.data.open import identifier
from jaxgan.data.preparing.check import Report, check, describe_space
from jaxgan.data.preparing.convert import DTYPES, NORMALISATIONS, Conversion
from jaxgan.data.preparing.geometry import FITS, INTERPOLATIONS
from jaxgan.data.preparing.prepare import Policy, prepare
from jaxgan.data.preparing.prepared import find_prepared
from jaxgan.data.preparing.seal import load_record
from jaxgan.data.scaling import POLICIES
from jaxgan.errors import InputError
from jaxgan.files import check_targets

KINDS = {
    "folder": "images in a folder, classes in sub-folders",
    "idx": "MNIST and its family",
    "npz": "MedMNIST archives, also by name (pathmnist, pathmnist_64, ...), npz and npy stacks",
    "volumes": "NIfTI, DICOM, npy or TIFF volumes in a folder, classes in sub-folders; or a BIDS dataset",
    "slides": "patches with tissue from whole-slide TIFF or SVS, or from Kaggle's PANDA archive, with its grades",
}
_NO_TABLE = "--label_column names a column of the table --labels, which is missing: give both"


def parser() -> flags.ArgumentParser:
    """The flags of every kind of source, and of the check."""
    own = flags.ArgumentParser(prog=flags.program("prepare"), description=__doc__)
    kinds = own.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, about in KINDS.items():
        _add_flags(kinds.add_parser(kind, help=about, description=about), kind)
    check = kinds.add_parser("check", help="look a prepared dataset through")
    check.add_argument("--data_dir", required=True, type=flags.path, help="folder of prepared datasets")
    check.add_argument("--name", help="one of them; default: all")
    check.add_argument("--preview", type=flags.path, help="file for the picture; default: preview.png in the dataset")
    check.add_argument("--overwrite", action="store_true", help="let --preview replace a file")
    return own


def _add_flags(own: flags.ArgumentParser, kind: str) -> None:
    add = own.add_argument
    add("--source", required=True, type=flags.source, help="file or folder, also s3://... or gs://...")
    add("--data_dir", required=True, type=flags.path, help="folder of prepared datasets")
    add("--name", help="of the dataset; default: from the source")
    add(
        "--size", type=flags.whole(1, 16_384), default=256 if kind == "slides" else None, help="pixels along every axis"
    )
    add("--channels", type=int, choices=(1, 3), help="1: gray (ITU-R 601 luma), 3: colour; default: as they are")
    add("--split", help='share held out as "test", or the names of the splits to keep, with commas')
    add("--holdout", default="", help="share, or split, that is never trained on and that evaluation compares with")
    add(
        "--group",
        default="",
        help="column of the subject in the table --labels, or regular expression of it in a name: no subject comes on"
        " both sides",
    )
    add("--seed", type=flags.whole(*flags.SEEDS), default=0, help="of every random choice")
    add("--max_rejected", type=flags.finite, default=0.01, help="largest share of unusable images")
    add("--scaling", choices=POLICIES, help="default: range for uint8, else minmax over the whole set")
    add("--low", type=flags.finite, help="value that becomes -1, with --scaling fixed")
    add("--high", type=flags.finite, help="value that becomes +1, with --scaling fixed")
    add("--percentiles", type=flags.finite, nargs=2, help="with --scaling percentile (default: 0.1 99.9)")
    add(
        "--nodata",
        type=float,
        help="value that marks missing data, nan too: becomes the image's smallest other value",
    )
    add("--units", default="", help="what the values measure")
    add("--dtype", choices=DTYPES, help="stored type; default: that of the files")
    classes = own.add_mutually_exclusive_group().add_argument
    classes("--labelled", action="store_true", default=None, help="classes, or an error")
    add("--quiet", action="store_true", help="no progress bar")
    if kind == "slides":
        add("--level", type=flags.whole(0, 100), help="pyramid level, 0 the finest; default 0")
        add("--mpp", type=flags.finite, help="micrometres a pixel, instead of --level")
        add("--overlap", type=flags.finite, default=0.0, help="share of its side that a patch shares with the next")
        add("--min_tissue", type=flags.finite, default=0.5, help="smallest share of tissue in a patch")
        add("--max_patches", type=flags.whole(1, 10**9), help="of all slides together")
    else:
        add("--fit", choices=FITS, help="how images come to --size; default: cover, for volumes crop or contain")
        if kind == "volumes":
            add("--bids", action="store_true", help="a BIDS dataset; subjects stay on one side of a split")
            add("--suffix", help="with --bids, of the volumes to take: T1w, T2w, ... (default: T1w)")
            add("--spacing", help="in mm, auto (one for all, by which the largest fits --size) or none; default: auto")
        add("--interpolation", choices=INTERPOLATIONS, default="linear", help="nearest for label maps")
        add("--pad_value", type=flags.finite, help="value of padding; default: the image's background")
        add("--normalise", choices=NORMALISATIONS, help="percentile: each MRI volume by itself")
        classes("--unlabelled", dest="labelled", action="store_false", help="leave classes out")
    if kind in ("folder", "volumes", "slides"):
        add("--labels", type=flags.path, help="CSV table: file name, or path below the source, and class")
        add("--label_column", help="of the table; default: its second. With --bids, of participants.tsv")
    if kind in ("folder", "slides"):
        add("--stain_normalise", action="store_true", help="bring H&E stains to one appearance (Macenko)")
    if kind == "npz":
        add("--spatial_rank", type=int, choices=(2, 3), help="where a shape fits images and volumes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepares, or checks; returns the exit status."""
    own = parser()
    given = vars(own.parse_args(arguments))
    kind = given.pop("kind")
    if given["name"] is not None and not given["name"]:
        own.error("--name is empty: give the dataset a name, or leave the flag out")
    if kind == "check":
        if given["overwrite"] and given["preview"] is None:
            own.error("--overwrite lets --preview replace a file: give --preview too, or leave it out")
        wrong = False
        for _, report in check_prepared(given["data_dir"], given["name"], given["preview"], given["overwrite"]):
            print("\n".join((*report.lines, *(f"WRONG: {problem}" for problem in report.problems))))
            wrong = wrong or bool(report.problems)
        return int(wrong)
    bids = given["suffix"] or "T1w" if given.get("bids") else None
    if bids is not None and given["labels"] is not None:
        own.error("--labels does not go with --bids: name a column of participants.tsv with --label_column")
    if bids is None and given.get("suffix") is not None:
        own.error("--suffix chooses volumes of a BIDS dataset: give --bids too, or leave it out")
    if given["percentiles"] is not None and given["scaling"] != "percentile":
        own.error("--percentiles goes with --scaling percentile: give both")

    def take(record: type) -> Any:
        """The record with the fields that have a flag here and were given or have a default."""
        names = [field.name for field in dataclasses.fields(record)]
        return record(**{name: given[name] for name in names if given.get(name) is not None})

    folder = prepare_source(
        kind,
        given["source"],
        given["data_dir"],
        name=given["name"],
        labelled=given.get("labelled"),
        label_table=given.get("labels"),
        label_column=given.get("label_column"),
        spatial_rank=given.get("spatial_rank"),
        bids=bids,
        conversion=take(Conversion),
        policy=take(Policy),
        cutting=take(Cutting) if kind == "slides" else None,
        progress=not given["quiet"],
    )
    print(summary(folder))
    return 0


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
    bids: str | None = None,
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
      label_table: CSV file with a column of file names and one of classes, or, where the group of the policy names one,
        of subjects.
      label_column: of the table; None: its second. With `bids`, of participants.tsv.
      bids: with kind "volumes", the suffix of the volumes to take from a BIDS dataset; None: a plain folder.
      spatial_rank: with kind "npz", where a shape fits images and volumes.
      conversion: how an image becomes a sample.
      policy: choices about the whole set.
      cutting: with kind "slides".
      progress: shows progress bars on a terminal.

    Raises:
      InputError: one line that names the file or field and the way out.
    """
    no_table = label_column is not None and label_table is None and bids is None
    if no_table and kind != "slides":
        raise InputError(_NO_TABLE)
    path = clouds.fetch(source) if clouds.is_remote(source) else Path(source).expanduser()
    target = Path(data_dir).expanduser()
    if kind == "npz" and not path.exists() and medmnist.is_name(source):
        path = medmnist.download(source, target)
    if not path.exists():
        raise InputError(f"source={source}: no such file or folder")
    if label_table is not None and kind not in ("folder", "volumes", "slides"):
        raise InputError(f"labels={label_table}: {kind} sources carry their own labels; leave the table out")
    labels = None
    if label_table is not None:
        labels = read_classes(Path(label_table), label_column, labelled, policy.group)
    if kind == "slides" and panda.is_archive(path):
        with panda.unpacked(path, target, progress) as archive:
            collection = _list_panda(archive, labels, label_column, cutting or Cutting(), progress)
            collection = _grouped(collection, label_table, policy.group)
            return prepare(collection, target, name or identifier(path), conversion, policy, progress=progress)
    if no_table:  # Only a PANDA archive, which may have had to be fetched, has one of its own.
        raise InputError(_NO_TABLE)
    if bids is not None:
        if labelled and label_column is None:
            raise InputError("labelled: classes of BIDS data are a column of participants.tsv: give --label_column")
        collection = list_bids(path, bids, None if labelled is False else label_column)
    else:
        collection = _list(kind, path, labelled, labels, spatial_rank, cutting, progress)
    collection = _grouped(collection, label_table, policy.group)
    return prepare(collection, target, name or identifier(path), conversion, policy, progress=progress)


def _grouped(collection: Collection, label_table: str | None, column: str) -> Collection:
    """The collection by subjects, where `--group` names a column of the table."""
    if not column or label_table is None or column not in read_header(Path(label_table)):
        return collection
    return group_by_table(collection, column, read_labels(Path(label_table), column))


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


def _list_panda(archive, labels, label_column, cutting, progress) -> Collection:
    """The slides of a PANDA archive, with their grades unless another table or column is named."""
    if labels is None:
        labels = read_labels(archive / panda.TABLE, label_column or panda.GRADE)
    return list_slides(archive / panda.SLIDES, cutting, labels, progress=progress)


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
    if holdout := record.get("holdout"):
        lines.append(f"held out by {holdout['by']}: {holdout['split']!r}, {holdout['groups']} {holdout['by']}s")
    if len(record["shape"]) == 4 or record.get("spacing"):
        lines += describe_space(record)
    if record["class_names"]:
        lines.append(f"classes {', '.join(record['class_names'])}")
    if record["rejected"] or record["ignored"]:
        lines.append(f"rejected {record['rejected']}, ignored {record['ignored']} files: {folder / 'rejected.csv'}")
    if record["composited_on_white"]:
        lines.append(f"laid {record['composited_on_white']} transparent pictures on white")
    return "\n".join(lines)


def check_prepared(
    data_dir: str, name: str | None = None, preview: str | None = None, overwrite: bool = False
) -> list[tuple[Path, Report]]:
    """Checks the prepared datasets of a folder, or those of one name; raises `InputError` if there are none.

    `preview` is the file for the picture, of one dataset alone; only with `overwrite` does it replace a file.
    """
    found = find_prepared(Path(data_dir).expanduser())
    known = ", ".join(sorted({path.parts[-3] for path in found})) or "none"
    found = [path for path in found if name in (None, path.parts[-3], "/".join(path.parts[-3:-1]))]
    if not found:
        raise InputError(f"data_dir={data_dir}: no prepared dataset {name or ''}, found: {known}; prepare it first")
    if preview is not None and len(found) > 1:
        raise InputError(f"preview={preview}: {len(found)} datasets are checked; choose one by --name NAME/CONFIG")
    if preview is not None:
        check_targets([preview], overwrite)
    return [(path, check(path, None if preview is None else Path(preview))) for path in found]
