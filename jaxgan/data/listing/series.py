"""Which files are one sample: a file alone, or all files of a DICOM series of slices."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

from jaxgan.data.readers import Decoded, dicom, format_of, read_file, read_series

DICOM = ".dcm"


@dataclasses.dataclass
class Unit:
    """Files that give one sample.

    Attributes:
      paths: in natural order; the first one names the sample.
      group: the patient, as a number and not by name or identifier; "" where it is not known.
    """

    paths: list[Path]
    group: str = ""

    def reader(self, spatial_rank: int) -> Callable[[], list[Decoded]]:
        """What decodes the sample."""
        if len(self.paths) > 1:
            return partial(read_series, tuple(self.paths))
        return partial(read_file, self.paths[0], spatial_rank)


class Grouping:
    """Puts the files of a source together; patients get their numbers in the order in which they come.

    Args:
      spatial_rank: 2: every file is an image; 3: slices of one series are a volume.
      ignored: `(file, reason)`; DICOM files without pixels are added.
    """

    def __init__(self, spatial_rank: int, ignored: list[tuple[str, str]]):
        self._rank, self._ignored = spatial_rank, ignored
        self._patients: dict[str, str] = {}

    @property
    def by_patient(self) -> bool:
        """Whether any file said whose it is."""
        return bool(self._patients)

    def units(self, paths: list[Path]) -> list[Unit]:
        """The samples of some files, in order of their first file; raises `InputError` for DICOM without pydicom."""
        found: list[Unit] = []
        series: dict[tuple[Path, str], Unit] = {}
        for path in paths:
            header = dicom.read_header(path) if is_dicom(path) else None
            if header is None:  # Another format, or damaged, as will be said when it is decoded.
                found.append(Unit([path]))
            elif header.frames == 0:
                self._ignored.append((str(path), "DICOM without pixels"))
            else:
                # The same series in two folders is two copies of it.
                key = (path.parent, header.series)
                if self._rank == 3 and header.frames == 1 and header.series and key in series:
                    series[key].paths.append(path)
                    continue
                unit = Unit([path], self._group(header.patient))
                found.append(unit)
                if header.frames == 1:
                    series[key] = unit
        return found

    def _group(self, patient: str) -> str:
        return self._patients.setdefault(patient, f"patient {len(self._patients) + 1}") if patient else ""


def is_dicom(path: Path) -> bool:
    """Whether a file is read as DICOM."""
    return format_of(path) in (DICOM, ".dicom", ".ima")
