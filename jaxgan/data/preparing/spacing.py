"""Millimetres: one voxel size for a whole set of volumes, and what the stored grid may claim of the world."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgan.data.listing.collection import Collection, Entry
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.disk_buffer import ordered_map
from jaxgan.data.readers import Decoded
from jaxgan.errors import InputError
from jaxgan.processes.progress import counted

# Voxels this many times longer than wide are named in a warning: what lies between their slices is interpolated.
ANISOTROPY = 3.0
# Files whose pixel sizes differ by less than this share have the same one.
_SAME = 1e-3
# Decoded volumes that wait in memory from when their set was measured until they are stored.
_MOST_REMEMBERED = 2**30


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How the volumes of a set come to one grid.

    Attributes:
      conversion: with the spacing in mm, or without any where volumes are fitted by their voxels.
      record: what was measured and chosen, JSON-able; None where no file states a voxel size, and for images.
      warnings: one line each.
      claims: whether the stored grid may state millimetres.
    """

    conversion: Conversion
    record: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    claims: bool = True


def settle(collection: Collection, conversion: Conversion, progress: bool = False) -> tuple[Collection, Geometry]:
    """Chooses the spacing of a set; see `Conversion.spacing` for what can be asked for.

    Volumes of physical size are read for that, before they are read to be stored: the collection that is returned
    remembers them, see `decoded_once`.

    Raises:
      InputError: a spacing for images, or volumes that state a voxel size beside some that do not.
    """
    wanted = conversion.spacing
    by_voxels = dataclasses.replace(conversion, spacing=None)
    if collection.spatial_rank == 2:
        if wanted is not None:
            raise InputError(f"spacing={wanted}: is for volumes; images are fitted by --size and --fit")
        return collection, Geometry(by_voxels)
    if wanted == "none":
        return collection, Geometry(by_voxels, claims=False)
    if conversion.size is None or (wanted is None and conversion.fit is not None):
        return collection, Geometry(by_voxels)
    collection = decoded_once(collection)
    sizes = _measure(collection, progress)
    unknown = [name for name, (_, spacing) in sizes.items() if spacing is None]
    if len(unknown) == len(sizes):
        if unknown and isinstance(wanted, float):
            raise InputError(f"spacing={wanted}: {unknown[0]} does not state its voxel size; use --spacing none")
        return collection, Geometry(by_voxels)
    if unknown:
        known = next(name for name, (_, spacing) in sizes.items() if spacing is not None)
        raise InputError(
            f"{known} states its voxel size and {unknown[0]} does not, so they have no common one: mend the file, "
            "separate them, or fit all by their voxels (--spacing none)"
        )
    voxels = np.array([spacing for _, spacing in sizes.values()])
    extents = np.array([shape for shape, _ in sizes.values()]) * voxels
    largest = extents.max(1).argmax()
    # Six digits: as many as NIfTI's float32 voxel sizes are sure of.
    spacing = wanted if isinstance(wanted, float) else float(f"{extents.max() / conversion.size:.6g}")
    cut = int((extents.max(1) > spacing * conversion.size * (1 + _SAME)).sum())
    record = {
        "policy": "given" if isinstance(wanted, float) else "auto",
        "mm": spacing,
        "extents_mm": _range(extents),
        "voxels_mm": _range(voxels),
        "largest": list(sizes)[largest],
        "cut": cut,
    }
    warnings = _warn(list(sizes), voxels, spacing, cut, conversion.size)
    return collection, Geometry(dataclasses.replace(conversion, spacing=spacing), record, warnings)


def decoded_once(collection: Collection, most_bytes: int = _MOST_REMEMBERED) -> Collection:
    """The collection, each file of which remembers what it was read as until it is read again.

    Args:
      collection: as listed.
      most_bytes: remembered at a time; what is beyond is decoded twice.
    """
    free, lock = most_bytes, threading.Lock()

    def once(read: Callable[[], list[Decoded]]) -> Callable[[], list[Decoded]]:
        kept: list[list[Decoded]] = []

        def read_or_take() -> list[Decoded]:
            nonlocal free
            with lock:
                if kept:
                    free += _nbytes(kept[0])
                    return kept.pop()
            found = read()
            with lock:
                if _nbytes(found) <= free:
                    free -= _nbytes(found)
                    kept.append(found)
            return found

        return read_or_take

    splits = {
        split: [dataclasses.replace(entry, read=once(entry.read)) for entry in entries]
        for split, entries in collection.splits.items()
    }
    return dataclasses.replace(collection, splits=splits)


def _nbytes(images: list[Decoded]) -> int:
    return sum(image.pixels.nbytes for image in images)


def _measure(collection: Collection, progress: bool) -> dict[str, tuple[tuple[int, ...], tuple[float, ...] | None]]:
    """`{name: (shape, spacing)}` of all volumes that can be read; the others are rejected when they are stored."""

    def measure(entry: Entry):
        try:
            return [(image.pixels.shape[:-1], image.spacing) for image in entry.read()]
        except InputError:
            return []

    entries = [entry for listed in collection.splits.values() for entry in listed]
    with ordered_map(measure, entries) as done:
        steps = counted(zip(entries, done, strict=True), "measuring", len(entries), "volume", progress)
        return {entry.name: size for entry, found in steps for size in found}


def _range(rows: np.ndarray) -> dict[str, list[float]]:
    """Smallest, median and largest along each axis."""
    found = {"smallest": rows.min(0), "median": np.median(rows, 0), "largest": rows.max(0)}
    return {name: [float(f"{value:.6g}") for value in values] for name, values in found.items()}


def _warn(names: list[str], voxels: np.ndarray, spacing: float, cut: int, size: int) -> tuple[str, ...]:
    warnings = []
    ratios = voxels.max(1) / voxels.min(1)
    if (count := int((ratios > ANISOTROPY).sum())) > 0:
        worst = ratios.argmax()
        warnings.append(
            f"{count} of {len(names)} volumes have voxels more than {ANISOTROPY:g} times longer than wide, e.g. "
            f"{names[worst]} with {text(voxels[worst])} mm: what lies between their slices is interpolated"
        )
    if cut:
        warnings.append(
            f"{cut} of {len(names)} volumes are larger than {size} voxels of {spacing:g} mm and lose their border; "
            "give a larger --size or --spacing, or --spacing auto"
        )
    return tuple(warnings)


@dataclasses.dataclass(frozen=True)
class Grid:
    """The one grid of a prepared set.

    Attributes:
      affine: 4x4 matrix from array indices to RAS+ world coordinates, in mm or, without `spacing`, in voxels; None for
        images and for volumes of unknown axes.
      spacing: mm along each spatial axis, or None where nothing is known or files differ.
      warning: what had to be dropped, or "".
    """

    affine: np.ndarray | None
    spacing: tuple[float, ...] | None
    warning: str = ""


def common_grid(
    affines: list[np.ndarray | None],
    spacings: list[tuple[float, ...] | None],
    spatial: tuple[int, ...],
    claims: bool = True,
) -> Grid:
    """The grid that all samples of a set share.

    Args:
      affines: of each sample.
      spacings: of each sample.
      spatial: shape of a sample.
      claims: False leaves millimetres out.

    Returns:
      The samples' own affine if they share it; else axes along the world's, with the common spacing, and the median
      of the samples' centres as centre, so that what is generated overlays what was trained on.

    Raises:
      InputError: volumes whose array axes run along different axes of the world.
    """
    spacing, warning = None, ""
    known = [value for value in spacings if value is not None]
    if claims and known:
        if len(known) == len(spacings) and np.allclose(known, known[0], rtol=_SAME, atol=0):
            spacing = tuple(float(value) for value in np.median(known, axis=0))
        else:
            low, high = np.min(known, axis=0), np.max(known, axis=0)
            state = f"pixel sizes differ ({text(low)} to {text(high)} mm)"
            if len(known) < len(spacings):
                state = "not all files state their pixel size"
            warning = f"{state}: what is generated claims none"
    stack = [affine for affine in affines if affine is not None]
    if not stack or len(stack) < len(affines):
        return Grid(None, spacing, warning)
    if spacing is not None and np.allclose(stack, stack[0], atol=1e-4 * min(spacing)):
        return Grid(stack[0], spacing, warning)
    directions = {_directions(affine) for affine in stack}
    if len(directions) > 1:
        raise InputError("volumes store their axes in different orders (NIfTI x, y, z; TIFF z, y, x); separate them")
    affine = np.eye(4)
    affine[:3, :3] = np.array(directions.pop()) * (1.0 if spacing is None else np.array(spacing))
    middle = (np.array([*spatial, 1]) - [1, 1, 1, 0]) / [2, 2, 2, 1]
    centre = np.zeros(3) if spacing is None else np.median([(each @ middle)[:3] for each in stack], axis=0)
    affine[:3, 3] = centre - affine[:3, :3] @ middle[:3]
    return Grid(affine, spacing, warning)


def _directions(affine: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """Which axis of the world each array axis is closest to, as the columns of a signed permutation."""
    import nibabel

    matrix = np.zeros((3, 3))
    for axis, (world, sign) in enumerate(nibabel.io_orientation(affine)):
        matrix[int(world), axis] = sign
    return tuple(map(tuple, matrix.tolist()))


def text(sizes) -> str:
    """Numbers with crosses between them."""
    return "x".join(f"{size:.4g}" for size in sizes)
