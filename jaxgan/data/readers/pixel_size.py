"""The physical size of pixels. Of a TIFF: OME's metadata, ImageJ's, or the resolution tags, in this order."""

from __future__ import annotations

import math
import re

import numpy as np

_MM = {
    "m": 1e3, "cm": 10.0, "centimeter": 10.0, "mm": 1.0, "millimeter": 1.0, "inch": 25.4, "in": 25.4,
    "um": 1e-3, "µm": 1e-3, "μm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3, "nm": 1e-6,
    "nanometer": 1e-6, "pm": 1e-9, "picometer": 1e-9, "å": 1e-7, "angstrom": 1e-7, "meter": 1e3,
}  # fmt: skip
_OME = re.compile(r"<Pixels\b[^>]*>")
# Programs that do not know the size write 72, 96 or 300 dots an inch: those are of paper, not of what is shown.
_COARSEST_DOTS = 0.05


def pixel_size(file, page, spatial_rank: int) -> tuple[float, ...] | None:
    """Millimetres along Y and X, or Z, Y and X; None unless the file states all of them.

    Args:
      file: tifffile's open file.
      page: of the picture; a file may hold others of other sizes.
      spatial_rank: 2 or 3.
    """
    if file.is_ome:
        sizes = _from_ome(file.ome_metadata or "", page)
    elif file.is_imagej:
        sizes = _from_imagej(file)
    else:
        sizes = {axis: size for axis, size in _from_tags(page).items() if size < _COARSEST_DOTS}
    wanted = [sizes.get(axis) for axis in "ZYX"[-spatial_rank:]]
    known = tuple(size for size in wanted if size is not None and 0 < size < math.inf)
    return known if len(known) == len(wanted) else None


def in_mm(size: float | None, unit: str | None) -> float | None:
    """A size in a unit as millimetres; None where either is not known."""
    factor = _MM.get(str(unit).lower())
    return None if size is None or factor is None else float(f"{float(size) * factor:.15g}")


def stack_affine(spacing: tuple[float, ...] | None) -> np.ndarray:
    """Array indices `z, y, x` of a stack to RAS+ world coordinates: x to the right of the page, y down it, z into it.

    That is the orientation in which ITK and its viewers open a stack; RAS+ counts to the left and up instead.
    """
    z, y, x = spacing or (1.0, 1.0, 1.0)
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 1], affine[2, 0], affine[3, 3] = -x, -y, z, 1.0
    return affine


def _from_ome(text: str, page) -> dict[str, float]:
    # No XML parser: what is wanted are eight attributes, and the text is a stranger's.
    found = _OME.findall(text)
    shape = rf'\bSize(?:X="{page.imagewidth}"|Y="{page.imagelength}")'
    own = next((each for each in found if len(re.findall(shape, each)) == 2), found[0] if found else "")
    attributes = dict(re.findall(r'(PhysicalSize[XYZ](?:Unit)?)="([^"]*)"', own))
    sizes = {}
    for axis in "XYZ":
        value, unit = attributes.get(f"PhysicalSize{axis}"), attributes.get(f"PhysicalSize{axis}Unit", "µm")
        if value is not None and (factor := _MM.get(unit.lower())) is not None:
            sizes[axis] = _number(value) * factor
    return sizes


def _from_imagej(file) -> dict[str, float]:
    metadata = file.imagej_metadata or {}
    unit = str(metadata.get("unit", "")).strip().lower().replace("\\u00b5", "µ")
    factor = _MM.get(unit)
    if factor is None:
        return {}
    sizes = {axis: size * factor for axis, size in _resolution(file.pages[0]).items()}
    if "spacing" in metadata:
        sizes["Z"] = abs(_number(metadata["spacing"])) * factor
    return sizes


def _from_tags(page) -> dict[str, float]:
    tags = page.tags
    unit = getattr(tags["ResolutionUnit"].value if "ResolutionUnit" in tags else None, "name", "")
    factor = _MM.get(unit.lower())
    return {} if factor is None else {axis: size * factor for axis, size in _resolution(page).items()}


def _resolution(page) -> dict[str, float]:
    """Units a pixel from the tags, which hold pixels a unit as fractions."""
    tags = page.tags
    sizes = {}
    for axis in "XY":
        if f"{axis}Resolution" in tags:
            pixels, unit = tags[f"{axis}Resolution"].value
            if pixels > 0 and unit > 0:
                sizes[axis] = unit / pixels
    return sizes


def _number(value) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
