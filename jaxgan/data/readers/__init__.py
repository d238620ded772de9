"""One function, `read_file`, that decodes any supported image or volume file without changing a value."""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxgan.data.readers import arrays, dicom, nifti, raster, tiff, zarr
from jaxgan.data.readers.decoded import Decoded
from jaxgan.errors import InputError

__all__ = [
    "READERS",
    "SUFFIXES",
    "VOLUME_SUFFIXES",
    "Decoded",
    "check_regular",
    "format_of",
    "read_file",
    "read_series",
    "suffix_of",
]

# By suffix: what errors call the format, and `(path, spatial_rank) -> [Decoded]`.
READERS: dict[str, tuple[str, Callable[[Path, int], list[Decoded]]]] = {
    **dict.fromkeys((".tif", ".tiff"), ("TIFF", tiff.read)),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".bmp"), ("picture", raster.read)),
    **dict.fromkeys((".npy", ".npz"), ("NumPy file", arrays.read)),
    **dict.fromkeys((".nii", ".nii.gz"), ("NIfTI", nifti.read)),
    **dict.fromkeys((".dcm", ".dicom", ".ima"), ("DICOM", dicom.read)),
    zarr.SUFFIX: ("OME-Zarr", zarr.read),
}
SUFFIXES = READERS.keys()
VOLUME_SUFFIXES = (".nii", ".nii.gz")


def suffix_of(path: Path) -> str:
    """The lower-case suffix, ".nii.gz" counting as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def format_of(path: Path) -> str:
    """The suffix that says how a file is read: its own, or ".dcm" of a DICOM file that has none of ours."""
    suffix = suffix_of(path)
    return ".dcm" if suffix not in READERS and dicom.is_dicom(path) else suffix


def read_file(path: Path, spatial_rank: int = 2) -> list[Decoded]:
    """Decodes one file.

    Args:
      path: a file with one of `SUFFIXES`, or a DICOM file; an OME-Zarr is a folder.
      spatial_rank: 2 for images, 3 for volumes; it decides what the axes of a multi-page file mean.

    Returns:
      The file's images in order; more than one only from formats that hold several.

    Raises:
      InputError: one line that names the file, what is wrong with it and the way out.
    """
    suffix = format_of(path)
    if suffix != zarr.SUFFIX or not path.is_dir():
        check_regular(path)
    if suffix not in READERS:
        raise InputError(f"{path}: unknown format {suffix or 'without suffix'}; known: {' '.join(sorted(SUFFIXES))}")
    kind, reader = READERS[suffix]
    return _decode(path, kind, lambda: reader(path, spatial_rank))


def read_series(paths: Sequence[Path]) -> list[Decoded]:
    """Decodes the files of one DICOM series as one volume; raises as `read_file`."""
    for path in paths:
        check_regular(path)
    return _decode(paths[0], "DICOM series", lambda: dicom.read_series(paths))


def _decode(path: Path, kind: str, read: Callable[[], list[Decoded]]) -> list[Decoded]:
    """What a reader gives; whatever it raises as one line."""
    try:
        return read()
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: does not fit in memory; make it smaller or use a larger machine") from None
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise InputError(
            f"{path}: cannot be read as a {kind} ({reason}); the file is damaged or not a {kind}: replace or remove it"
        ) from None


def check_regular(path: Path) -> None:
    """Raises `InputError` unless `path` is a readable, regular file that is not empty."""
    try:
        status = path.stat()
        with_content = stat.S_ISREG(status.st_mode)
        if with_content:
            with path.open("rb"):
                pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be opened ({reason}); mend its permissions or remove it") from None
    if not with_content:
        raise InputError(f"{path}: is not a regular file; remove it")
    if status.st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); replace or remove it")
