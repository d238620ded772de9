#!/usr/bin/env python3
"""Prepares images, volumes and slides for training, and checks what was prepared.

    prepare_data.py folder  --source IMAGES  --data_dir DATA --size 256 --channels 1
    prepare_data.py volumes --source VOLUMES --data_dir DATA --size 64 --labelled --normalise percentile
    prepare_data.py slides  --source SLIDES  --data_dir DATA --size 256 --max_patches 5000
    prepare_data.py check   --data_dir DATA --name images

Exit status: 0 done, 1 the check found something wrong, 2 wrong usage or input.
"""

import dataclasses

from jaxgan.commands import cli
from jaxgan.commands import prepare_data as commands
from jaxgan.data.listing.patches import Cutting
from jaxgan.data.preparing.convert import DTYPES, NORMALISATIONS, Conversion
from jaxgan.data.preparing.geometry import FITS, INTERPOLATIONS
from jaxgan.data.preparing.prepare import Policy
from jaxgan.data.scaling import POLICIES

_HELP = {
    "folder": "images in a folder, classes in sub-folders",
    "idx": "MNIST and its family",
    "npz": "MedMNIST archives, also by name (pathmnist, pathmnist_64, ...), npz and npy stacks",
    "volumes": "NIfTI, npy or TIFF volumes in a folder, classes in sub-folders",
    "slides": "patches with tissue from whole-slide TIFF or SVS",
}


def _parser() -> cli.ArgumentParser:
    parser = cli.ArgumentParser(description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in commands.KINDS:
        _add_kind(kinds.add_parser(kind, help=_HELP[kind], description=_HELP[kind]), kind)
    check = kinds.add_parser("check", help="look a prepared dataset through")
    check.add_argument("--data_dir", required=True, help="folder of prepared datasets")
    check.add_argument("--name", help="one of them; default: all")
    check.add_argument("--preview", help="file for the picture; default: preview.png in the dataset")
    return parser


def _add_kind(parser: cli.ArgumentParser, kind: str) -> None:
    add = parser.add_argument
    add("--source", required=True, help="file or folder")
    add("--data_dir", required=True, help="folder of prepared datasets")
    add("--name", help="of the dataset; default: from the source")
    add("--size", type=int, default=256 if kind == "slides" else None, help="pixels along every axis")
    add("--channels", type=int, choices=(1, 3), help="1: gray (ITU-R 601 luma), 3: colour; default: as they are")
    add("--split", help='share held out as "test", or the names of the splits to keep, with commas')
    add("--seed", type=int, default=0, help="of every random choice")
    add("--max_rejected", type=float, default=0.01, help="largest share of unusable images")
    add("--scaling", choices=POLICIES, help="default: range for uint8, else minmax over the whole set")
    add("--low", type=float, help="value that becomes -1, with --scaling fixed")
    add("--high", type=float, help="value that becomes +1, with --scaling fixed")
    add("--percentiles", type=float, nargs=2, default=(0.1, 99.9), help="with --scaling percentile")
    add("--units", default="", help="what the values measure")
    add("--dtype", choices=DTYPES, help="stored type; default: that of the files")
    add("--labelled", action="store_true", default=None, help="classes, or an error")
    add("--quiet", action="store_true", help="no progress bar")
    if kind == "slides":
        add("--level", type=int, help="pyramid level, 0 the finest; default 0")
        add("--mpp", type=float, help="micrometres a pixel, instead of --level")
        add("--overlap", type=float, default=0.0, help="share of its side that a patch shares with the next")
        add("--min_tissue", type=float, default=0.5, help="smallest share of tissue in a patch")
        add("--max_patches", type=int, help="of all slides together")
    else:
        add("--fit", choices=FITS, help="how images come to --size; default: cover, for volumes crop or contain")
        if kind in ("volumes", "npz"):
            add(
                "--spacing",
                help="of volumes, in mm, auto (one by which the largest fits --size) or none; default: auto",
            )
        add("--interpolation", choices=INTERPOLATIONS, default="linear", help="nearest for label maps")
        add("--pad_value", type=float, help="value of padding; default: the image's background")
        add("--normalise", choices=NORMALISATIONS, help="percentile: each MRI volume by itself")
        add("--unlabelled", dest="labelled", action="store_false", help="leave classes out")
    if kind in ("folder", "volumes", "slides"):
        add("--labels", help="CSV table: file name, class")
        add("--label_column", help="of the table; default: its second")
    if kind in ("folder", "slides"):
        add("--stain_normalise", action="store_true", help="bring H&E stains to one appearance (Macenko)")
    if kind == "npz":
        add("--spatial_rank", type=int, choices=(2, 3), help="where a shape fits images and volumes")


def main() -> int:
    """Runs the command line; returns the exit status."""
    flags = vars(_parser().parse_args())
    kind = flags.pop("kind")
    if kind == "check":
        status = 0
        for _, report in commands.check_prepared(flags["data_dir"], flags["name"], flags["preview"]):
            print("\n".join((*report.lines, *(f"WRONG: {problem}" for problem in report.problems))))
            status = status or bool(report.problems)
        return int(status)

    def take(record):
        """The record with the fields that have a flag here and were given or have a default."""
        names = [field.name for field in dataclasses.fields(record)]
        return record(**{name: flags[name] for name in names if flags.get(name) is not None})

    folder = commands.prepare_source(
        kind,
        flags["source"],
        flags["data_dir"],
        name=flags["name"],
        labelled=flags.get("labelled"),
        label_table=flags.get("labels"),
        label_column=flags.get("label_column"),
        spatial_rank=flags.get("spatial_rank"),
        conversion=take(Conversion),
        policy=take(Policy),
        cutting=take(Cutting) if kind == "slides" else None,
        progress=not flags["quiet"],
    )
    print(commands.summary(folder))
    return 0


if __name__ == "__main__":
    cli.run(main)
