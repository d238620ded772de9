"""DICOM: images, series of slices and enhanced multi-frame objects, in physical values and canonical orientation.

Only pixels and geometry leave this module. What else a header says is of a patient: no message of ours quotes it.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.readers.decoded import Decoded, check_claim
from jaxgan.errors import InputError, library

# Slices whose distances differ by more than this share are not a volume: some are missing, or their order is unknown.
_UNEVEN = 0.02
# DICOM counts to the left and to the back, RAS+ to the right and to the front.
_FROM_DICOM = np.diag([-1.0, -1.0, 1.0, 1.0])
# Cosine between the normal of the slices and their way: a tilted gantry shears the volume.
_STRAIGHT = 0.999


@dataclasses.dataclass(frozen=True)
class Header:
    """What groups files to volumes.

    Attributes:
      series: what the files of one series share.
      patient: what the files of one patient share.
      frames: how many images the file holds; 0 of reports, plans and other files without pixels.
    """

    series: str
    patient: str
    frames: int


@dataclasses.dataclass(frozen=True)
class _Frame:
    """One slice.

    Attributes:
      pixels: `[H, W]` or `[H, W, 3]`.
      spacing: mm between rows and between columns, or None.
      axes: unit vectors along a row and down a column in DICOM's coordinates, `[2, 3]`, or None.
      position: of the first pixel's centre in mm, `[3]`, or None.
      number: of the instance, for slices without a position.
    """

    pixels: np.ndarray
    spacing: tuple[float, float] | None
    axes: np.ndarray | None
    position: np.ndarray | None
    number: int


def read(path: Path, spatial_rank: int) -> list[Decoded]:
    """One image, or the volume of a file with several frames.

    Raises:
      InputError: as `read_series`; or several frames where an image is asked for.
    """
    if spatial_rank == 3:
        return read_series([path])
    frames = _frames(path)
    if len(frames) > 1:
        raise InputError(f"{path}: holds {len(frames)} frames, not one image; use 'jaxgan prepare volumes'")
    return [Decoded(_with_channels(frames[0].pixels), spacing=frames[0].spacing)]


def read_series(paths: Sequence[Path]) -> list[Decoded]:
    """The volume of the files of one series, turned to the closest canonical (RAS+) orientation.

    The array is `[x, y, z, C]`, left to right, back to front, bottom to top, as from NIfTI. Values are those of the
    rescale slope and intercept, float32, where the files have them, else the stored ones.

    Raises:
      InputError: the slices do not form one volume, text is burned into the pixels, or no decoder is installed.
    """
    from nibabel import orientations

    frames = [frame for path in paths for frame in _frames(path)]
    where = paths[0] if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more of its series"
    if len(frames) < 2:
        raise InputError(f"{where}: is a single slice, not a volume; use 'jaxgan prepare folder' for images")
    if len({frame.pixels.shape for frame in frames}) > 1:
        raise InputError(f"{where}: its slices differ in size; they are no volume: remove what does not belong")
    check_claim(paths[0], (len(frames), *frames[0].pixels.shape), frames[0].pixels.dtype)
    frames, affine, measured = _in_order(frames, str(where))
    # From slice, row, column to column, row, slice, as the matrix counts.
    voxels = np.moveaxis(np.stack([frame.pixels for frame in frames]), (0, 1, 2), (2, 1, 0))
    turn = orientations.io_orientation(affine)
    affine = affine @ orientations.inv_ornt_aff(turn, voxels.shape[:3])
    spacing = tuple(float(size) for size in np.linalg.norm(affine[:3, :3], axis=0)) if measured else None
    voxels = np.ascontiguousarray(orientations.apply_orientation(voxels, turn))
    return [Decoded(_with_channels(voxels, 3), affine=affine, spacing=spacing)]


def read_header(path: Path) -> Header | None:
    """What groups a file with others; None if it is no DICOM file, or a damaged one.

    Raises:
      InputError: pydicom is not installed.
    """
    pydicom = _library(path)
    wanted = ["SOPClassUID", "SeriesInstanceUID", "PatientID", "NumberOfFrames", "Rows"]
    try:
        found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
        if "Rows" not in found and "Image" in found.SOPClassUID.name:
            return None
        frames = int(found.get("NumberOfFrames", 1) or 1) if "Rows" in found else 0
        return Header(str(found.get("SeriesInstanceUID", "")), str(found.get("PatientID", "")), frames)
    except Exception:
        return None


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM does; many have no suffix. A DICOMDIR lists others and has no pixels."""
    try:
        if not path.is_file() or path.name.upper() == "DICOMDIR":
            return False
        with path.open("rb") as file:
            file.seek(128)
            return file.read(4) == b"DICM"
    except OSError:
        return False


def _library(path: Path):
    pydicom = library("pydicom", "dicom", f"{path}: reading DICOM")
    # Its warnings quote the values that they are about. No context manager: files are read in many threads.
    warnings.filterwarnings("ignore", module=r"pydicom\b|jaxgan\.data\.readers\.dicom")
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    return pydicom


def _frames(path: Path) -> list[_Frame]:
    """The slices of one file in its own order, in physical values."""
    pydicom = _library(path)
    try:
        data = pydicom.dcmread(path)
        shape = [int(data.get(key, 1) or 1) for key in ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel")]
        has_pixels = any(key in data for key in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
        bits = int(data.get("BitsAllocated", 8))
    except Exception as error:
        raise _damaged(path, error) from None
    if not has_pixels:
        raise InputError(f"{path}: is a DICOM file without pixels; remove it")
    if str(data.get("BurnedInAnnotation", "")).upper() == "YES":
        raise InputError(f"{path}: says that text is burned into its pixels (BurnedInAnnotation YES); remove it")
    check_claim(path, tuple(shape), np.dtype(f"u{max(1, bits // 8)}"))
    try:
        pixels = _pixels(data, pydicom).reshape(shape[0], *shape[1:3], -1)
    except Exception as error:
        syntax = data.file_meta.get("TransferSyntaxUID") if hasattr(data, "file_meta") else None
        if syntax is not None and syntax.is_compressed and isinstance(error, RuntimeError | NotImplementedError):
            raise InputError(
                f"{path}: is compressed as {syntax.name}, for which no decoder is installed: pip install"
                " 'jaxgan[dicom]', or decompress it"
            ) from None
        raise _damaged(path, error) from None
    try:
        return [_frame(data, image, number) for number, image in enumerate(pixels)]
    except Exception as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    # The error's own words may quote the header.
    return InputError(
        f"{path}: cannot be read as a DICOM ({type(error).__name__}); the file is damaged or not a DICOM: replace or"
        " remove it"
    )


def _pixels(data: Any, pydicom: Any) -> np.ndarray:
    """The stored values; colours as RGB, to which pydicom itself converts YBR, and black where a gray value is 0."""
    meaning = str(data.PhotometricInterpretation)
    pixels = data.pixel_array
    if meaning == "PALETTE COLOR":
        coloured = pydicom.pixels.apply_color_lut(pixels, data)
        return (coloured >> 8).astype(np.uint8) if coloured.dtype == np.uint16 else coloured
    if meaning == "MONOCHROME1" and np.issubdtype(pixels.dtype, np.integer):
        stored, signed = int(data.BitsStored), bool(data.get("PixelRepresentation", 0))
        return (-1 if signed else (1 << stored) - 1) - pixels
    return pixels


def _frame(data: Any, image: np.ndarray, number: int) -> _Frame:
    def entry(sequence: str, key: str) -> Any:
        """A value of a frame: its own functional group, that of all frames, or the file's."""
        for groups, place in (("PerFrameFunctionalGroupsSequence", number), ("SharedFunctionalGroupsSequence", 0)):
            found = data.get(groups)
            if found and len(found) > place and (inner := found[place].get(sequence)) and key in inner[0]:
                return inner[0][key].value
        return data.get(key)

    slope = entry("PixelValueTransformationSequence", "RescaleSlope")
    offset = entry("PixelValueTransformationSequence", "RescaleIntercept")
    slope, offset = (default if value is None else float(value) for value, default in ((slope, 1.0), (offset, 0.0)))
    if (slope, offset) != (1.0, 0.0) and image.shape[-1] == 1:
        image = (image.astype(np.float64) * slope + offset).astype(np.float32)
    spacing = entry("PixelMeasuresSequence", "PixelSpacing") or data.get("ImagerPixelSpacing")
    axes = entry("PlaneOrientationSequence", "ImageOrientationPatient")
    position = entry("PlanePositionSequence", "ImagePositionPatient")
    return _Frame(
        image[..., 0] if image.shape[-1] == 1 else image,
        None if not spacing else (float(spacing[0]), float(spacing[1])),
        None if not axes else np.array(axes, np.float64).reshape(2, 3),
        None if not position else np.array(position, np.float64).reshape(3),
        int(data.get("InstanceNumber") or 0) + number,
    )


def _in_order(frames: list[_Frame], where: str) -> tuple[list[_Frame], np.ndarray, bool]:
    """The slices along their normal, the matrix from `column, row, slice` to RAS+ coordinates, whether that is in mm.

    Slices without a place in space stay in the order of their numbers, and lie as axial ones do.

    Raises:
      InputError: the slices are not parallel, not evenly spaced, at the same place, or sheared.
    """
    placed = [
        (frame, frame.axes, frame.position, frame.spacing)
        for frame in frames
        if frame.axes is not None and frame.position is not None and frame.spacing
    ]
    if not placed:
        return sorted(frames, key=lambda frame: frame.number), _FROM_DICOM, False
    if len(placed) < len(frames):
        raise InputError(f"{where}: some of its slices have no place in space; remove what does not belong")
    _, axes, _, spacing = placed[0]
    if not all(
        np.allclose(its_axes, axes, atol=1e-3) and np.allclose(its_spacing, spacing, rtol=1e-3)
        for _, its_axes, _, its_spacing in placed
    ):
        raise InputError(f"{where}: its slices differ in orientation or spacing; remove what does not belong")
    normal = np.cross(*axes)
    placed.sort(key=lambda each: float(normal @ each[2]))
    places = np.stack([position for _, _, position, _ in placed])
    gaps = np.diff(places @ normal)
    if gaps.min() < 1e-3:
        raise InputError(f"{where}: holds several slices at one place, so several volumes; split it by time or echo")
    if gaps.max() - gaps.min() > max(_UNEVEN * gaps.mean(), 1e-2):
        raise InputError(
            f"{where}: its slices lie {gaps.min():.4g} to {gaps.max():.4g} mm apart; some are missing: complete the"
            " series, or resample it"
        )
    step = (places[-1] - places[0]) / (len(frames) - 1)
    if abs(step @ normal) < _STRAIGHT * np.linalg.norm(step):
        raise InputError(f"{where}: its slices are sheared (a tilted gantry); straighten it, e.g. with dcm2niix")
    affine = np.eye(4)
    # Rows are `spacing[0]` apart, along a column; columns `spacing[1]`, along a row.
    columns = [axes[0] * spacing[1], axes[1] * spacing[0], step, places[0]]
    affine[:3] = np.stack(columns, axis=1)
    return [frame for frame, _, _, _ in placed], _FROM_DICOM @ affine, True


def _with_channels(pixels: np.ndarray, rank: int = 2) -> np.ndarray:
    return pixels[..., None] if pixels.ndim == rank else pixels
