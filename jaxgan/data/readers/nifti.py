"""NIfTI volumes in canonical orientation."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

from jaxgan.data.readers.decoded import Decoded, check_claim
from jaxgan.errors import InputError

# Files that name no unit mean millimetres.
_MAX_HEADER_BYTES = 16 << 20
_MM = {"meter": 1000.0, "mm": 1.0, "micron": 1e-3}


def read(path: Path, spatial_rank: int) -> list[Decoded]:
    """Decodes a 3-D NIfTI-1 or -2 volume, turned to the closest canonical (RAS+) orientation.

    The array keeps the axes of the file's world frame: `[x, y, z, 1]`, left to right, back to front, bottom to top.
    A file with a scale slope gives its physical values as float32, one without keeps its stored dtype.

    Raises:
      InputError: an image was asked for, the file holds a series of volumes, or colours.
    """
    import nibabel

    if spatial_rank == 2:
        raise InputError(f"{path}: is a volume, not a flat image; use 'jaxgan prepare volumes'")
    nibabel.imageglobals.logger.setLevel("CRITICAL")
    _check_offset(path)
    image = nibabel.load(path)
    if not isinstance(image, nibabel.Nifti1Pair):
        raise InputError(
            f"{path}: holds {type(image).__name__.removesuffix('Image')} data, not a volume; save it as NIfTI"
        )
    assert isinstance(image.dataobj, nibabel.arrayproxy.ArrayProxy)  # as of all files
    shape = image.shape
    if image.get_data_dtype().fields is not None:
        raise InputError(f"{path}: holds colours ({image.get_data_dtype()}); save one value a voxel")
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(
            f"{path}: has {len(shape)} axes {shape}, a series and not one volume; split it with "
            "nibabel.four_to_three and keep what you need"
        )
    # Scaled values come as float64, whatever is stored.
    scaled = (image.dataobj.slope, image.dataobj.inter) != (1, 0)
    check_claim(path, shape, np.dtype(np.float64) if scaled else image.get_data_dtype())
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise InputError(f"{path}: its affine matrix is singular, so its orientation is unknown; mend the header")
    image = nibabel.as_closest_canonical(image)
    affine = np.array(image.affine, np.float64)
    affine[:3] *= _MM.get(image.header.get_xyzt_units()[0], 1.0)
    spacing = tuple(float(size) for size in np.linalg.norm(affine[:3, :3], axis=0))
    voxels = np.asanyarray(image.dataobj).reshape(image.shape[:3])
    if voxels.dtype == np.float64:
        voxels = voxels.astype(np.float32)
    return [Decoded(np.ascontiguousarray(voxels)[..., None], affine=affine, spacing=spacing)]


def _check_offset(path: Path) -> None:
    """Raises `InputError` if the voxels are said to begin so late that what precedes them would fill the memory.

    nibabel reads all that lies between the header and the voxels; packed zeros make gigabytes of a few kilobytes.
    """
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        header = stream.read(544)
    if len(header) < 176:
        raise InputError(f"{path}: is truncated, it holds no NIfTI header; replace or remove it")
    order = "<" if header[:4] in (b"\x5c\x01\0\0", b"\x1c\x02\0\0") else ">"
    (length,) = struct.unpack_from(f"{order}i", header)
    (offset,) = (
        struct.unpack_from(f"{order}q", header, 168) if length == 540 else struct.unpack_from(f"{order}f", header, 108)
    )
    if not 0 <= offset <= _MAX_HEADER_BYTES:
        raise InputError(f"{path}: says that its voxels begin at byte {offset:g}; the header is damaged: replace it")
