"""The formats in which samples are written, and the names of their files; apart from the writers: `--help` is quick."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jaxgan.errors import InputError, library, way_out

# How the names of files end. One file holds all samples with the formats of `_OF_ALL`, else there is one a sample.
FORMATS = {
    "grid": "_grid.png",
    "png": ".png",
    "tiff8": "_tiff8.tif",
    "tiff32": "_tiff32.tif",
    "tiff01": "_tiff01.tif",
    "tiff_units": "_tiff_units.tif",
    "ome": ".ome.tif",
    "npy": "s.npy",
    "nifti": ".nii.gz",
    "dicom": ".dcm",
    "zarr": ".ome.zarr",
}
_OF_ALL = ("grid", "npy")
_LABELS = "s_labels.csv"


def check_formats(formats: Sequence[str]) -> None:
    """Raises `InputError` for formats that are not known or whose library is missing: all that needs no samples."""
    if not formats:
        raise InputError(f"--formats is empty: choose one of {', '.join(FORMATS)}")
    for form in formats:
        if form not in FORMATS:
            raise InputError(f"--formats: {form!r} is not known: {way_out(form, FORMATS)}")
    if "zarr" in formats:
        library("ngff_zarr", "zarr", "--formats zarr")
    if "dicom" in formats:
        library("pydicom", "dicom", "--formats dicom")


def check_shape(formats: Sequence[str], shape: Sequence[int]) -> None:
    """Raises `InputError` for formats that cannot hold samples `(H, W, C)` or `(D, H, W, C)`."""
    if "nifti" in formats and len(shape) != 4:
        raise InputError("--formats: nifti holds volumes, these samples are images: use tiff_units")
    if "dicom" in formats and shape[-1] not in (1, 3):
        raise InputError(f"--formats: dicom holds gray or RGB, not {shape[-1]} channels: use ome or npy")


def file_names(
    form: str, count: int, stem: str = "sample", labels: Iterable[int] | None = None, class_names: Sequence[str] = ()
) -> list[str]:
    """The files of a format, in the order of the samples; of "labels" the list of their classes.

    Args:
      form: one of `FORMATS`, or "labels".
      count: of the samples.
      stem: first part of every name.
      labels: `[count]` class numbers, or None.
      class_names: their names.
    """
    if form == "labels" or form in _OF_ALL:
        return [stem + (_LABELS if form == "labels" else FORMATS[form])]
    parts = [""] * count
    if labels is not None:
        labels = [int(label) for label in labels]
        of_class = {label: _file_part(label, class_names) for label in labels}
        if len(set(of_class.values())) < len(of_class):  # Names that differ only in what file names cannot have.
            of_class = {label: f"class{label}" for label in of_class}
        parts = [f"_{of_class[label]}" for label in labels]
    return [f"{stem}_{i:05d}{part}{FORMATS[form]}" for i, part in enumerate(parts)]


def _file_part(label: int, names: Sequence[str]) -> str:
    """A class's name as part of a file name; `class3` where the name is a number, as `--labels 3` asks for it."""
    name = names[label] if len(names) > label else str(label)
    # A minus in front is part of a number: -1 and 1 are two classes.
    plain = name if re.fullmatch(r"-\d{1,39}", name) else re.sub(r"[^\w-]+", "-", name).strip("-")[:40]
    return plain if plain and not plain.lstrip("-").isdecimal() else f"class{plain or label}"
