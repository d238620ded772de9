"""The archive of the PANDA challenge as Kaggle gives it: slides, and a table with the grade of each.

The archive, a zip file or what lies in it, holds `train.csv` (image_id, data_provider, isup_grade, gleason_score), the
folder `train_images` with one TIFF a slide, and masks, which are not read. Bulten et al.
2022, doi:10.1038/s41591-021-01620-2.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from jaxgan.data.listing.label_table import read_header
from jaxgan.errors import InputError
from jaxgan.files import temporary_folder
from jaxgan.processes import ending
from jaxgan.processes.progress import counted

TABLE, SLIDES, GRADE = "train.csv", "train_images", "isup_grade"
_DAMAGE = (zipfile.BadZipFile, OSError, NotImplementedError)


def is_archive(source: Path) -> bool:
    """Whether a file or folder is the archive; a zip file that holds slides and is none raises `InputError`."""
    if source.suffix.lower() == ".zip" and source.is_file():
        with _opened(source) as archive:
            if not _members(archive):
                raise InputError(f"{source}: holds no {TABLE} with {SLIDES}/*.tiff beside it; unpack it")
        return True
    return (source / SLIDES).is_dir() and (source / TABLE).is_file() and GRADE in read_header(source / TABLE)


@contextlib.contextmanager
def unpacked(source: Path, data_dir: Path, progress: bool = False) -> Iterator[Path]:
    """The folder that holds the table and the slides: `source`, or, within the block, what a zip file holds.

    Slides are read by tiles from any place, which packed files do not allow: they are unpacked below `data_dir` first.

    Args:
      source: for which `is_archive` holds.
      data_dir: made if absent.
      progress: shows progress.

    Raises:
      InputError: a damaged archive, or no room.
    """
    if source.is_dir():
        yield source
        return
    made = [folder for folder in (data_dir, *data_dir.parents) if not folder.exists()]
    data_dir.mkdir(parents=True, exist_ok=True)
    folder = temporary_folder(data_dir)
    try:
        with ending.scratch(folder):
            _unpack(source, folder, progress)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # Of folders made for this, those that stayed empty go.
            for empty in made:
                empty.rmdir()


def _unpack(source: Path, folder: Path, progress: bool) -> None:
    with _opened(source) as archive:
        members = _members(archive)
        needed, free = sum(member.file_size for member in members.values()), shutil.disk_usage(folder).free
        if needed > 0.95 * free:
            raise InputError(
                f"{source}: its slides take {needed / 1e9:.1f} GB unpacked and {folder.parent} has {free / 1e9:.1f} GB:"
                " unpack it where there is room, and give the folder"
            )
        (folder / SLIDES).mkdir()
        for name, member in counted(members.items(), "unpacking", len(members), "file", progress):
            try:
                with archive.open(member) as packed, (folder / name).open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
            except (*_DAMAGE, EOFError, RuntimeError, zlib.error) as error:
                reason = f"{member.filename} cannot be unpacked ({error})"
                raise InputError(f"{source}: {reason}; download it again") from None


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(source)
    except _DAMAGE as error:
        raise InputError(f"{source}: cannot be read as a zip archive ({error}); download it again") from None
    with archive:
        yield archive


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The table and the slides by their place below the folder of the table; empty if this is no such archive."""
    files = {PurePosixPath(member.filename): member for member in archive.infolist() if not member.is_dir()}
    table = min((path for path in files if path.name == TABLE), key=lambda path: len(path.parts), default=None)
    if table is None:
        return {}
    slides = {
        f"{SLIDES}{os.sep}{path.name}": member
        for path, member in files.items()
        if path.parent == table.parent / SLIDES and path.suffix.lower() in (".tif", ".tiff")
    }
    return {TABLE: files[table], **slides} if slides else {}
