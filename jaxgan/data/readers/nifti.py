"""NIfTI volumes in canonical orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jaxgan.data.readers.decoded import Decoded, check_claim
from jaxgan.errors import InputError

# Files that name no unit mean millimetres.
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
        raise InputError(f"{path}: is a volume, not a flat image; use 'prepare_data.py volumes'")
    nibabel.imageglobals.logger.setLevel("CRITICAL")
    image = nibabel.load(path)
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
    check_claim(path, shape, image.get_data_dtype())
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
