"""OME-Zarr (NGFF 0.4 and 0.5): the finest level of an image, with the size of its pixels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data.readers.decoded import Decoded, check_claim
from jaxgan.data.readers.pixel_size import in_mm, stack_affine
from jaxgan.data.readers.tiff import arrange
from jaxgan.data.readers.zarr_chunks import check_chunks
from jaxgan.errors import InputError, library

SUFFIX = ".zarr"


def read(path: Path, spatial_rank: int) -> list[Decoded]:
    """Decodes the finest level of a store: an image of `y, x`, or a volume of `z, y, x`, with channels or without.

    Raises:
      InputError: ngff-zarr is not installed; several times, or slices where an image is asked for; a store of several
        images (a plate or a collection), or one that reaches outside its folder.
    """
    ngff_zarr = library("ngff_zarr", "zarr", f"{path}: reading OME-Zarr")
    try:
        folder = _image_folder(path)
        multiscales: Any = ngff_zarr.from_ngff_zarr(str(folder))
        image, dataset = multiscales.images[0], folder / multiscales.metadata.datasets[0].path
    except Exception as error:
        raise InputError(
            f"{path}: is no single OME-Zarr image ({type(error).__name__}); plates and collections are not read: give"
            " the folders of their images"
        ) from None
    check_claim(path, image.data.shape, image.data.dtype)
    _check_store(path, dataset, image.data.dtype)
    units = image.axes_units or {}
    sizes = {axis.upper(): in_mm(image.scale.get(axis), units.get(axis)) for axis in image.dims if axis in "zyx"}
    wanted = [sizes.get(axis) for axis in "ZYX"[-spatial_rank:]]
    known = tuple(size for size in wanted if size is not None and 0 < size < math.inf)
    spacing = known if len(known) == len(wanted) else None
    pixels = arrange(path, np.asarray(image.data), "".join(image.dims).upper(), spatial_rank)
    return [Decoded(pixels, stack_affine(spacing) if spatial_rank == 3 else None, spacing)]


def _image_folder(path: Path) -> Path:
    """The store itself, or the only image of a container such as bioformats2raw makes."""
    if not any(_is_container(path / name) for name in (".zattrs", "zarr.json")):
        return path
    image = path / "0"
    if (path / "1").exists() or any(_is_container(image / name) for name in (".zattrs", "zarr.json")):
        raise ValueError("several images")
    return image


def _is_container(file: Path) -> bool:
    record = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    attributes = record.get("attributes", {}) if file.name == "zarr.json" else record
    return any("bioformats2raw.layout" in part for part in (attributes, attributes.get("ome", {})))


def _check_store(path: Path, dataset: Path, dtype: np.dtype) -> None:
    """Raises `InputError` for an array outside the store, or with chunks that claim or hold too much."""
    if not dataset.resolve().is_relative_to(path.resolve()):
        raise InputError(f"{path}: names an array outside its own folder; replace it")
    for name in (".zarray", "zarr.json"):
        if (dataset / name).is_file():
            record = json.loads((dataset / name).read_text(encoding="utf-8"))
            chunks = record["chunks"] if name == ".zarray" else record["chunk_grid"]["configuration"]["chunk_shape"]
            check_claim(path, tuple(map(int, chunks)), dtype)
            check_chunks(path, dataset, record, dtype.itemsize)
