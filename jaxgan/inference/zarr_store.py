"""A sample as OME-Zarr (NGFF 0.4, which most viewers read)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import library

_UNITS = {"µm": "micrometer", "mm": "millimeter"}


def ngff_zarr() -> Any:
    """The library; raises `InputError` without it."""
    return library("ngff_zarr", "zarr", "--formats zarr")


def write_zarr(
    path: Path, values: np.ndarray, window: tuple[float, float], size: tuple[str, tuple[float, ...]] | None, origin: Any
) -> None:
    """One image at one level.

    Args:
      path: the folder to make.
      values: float32 `[H, W, C]` or `[D, H, W, C]` in original units.
      window: smallest and largest value, for the display.
      size: the unit ("µm" or "mm") and the size of a pixel along each spatial axis, or None where it is not known.
      origin: what made the sample; JSON-able, under "jaxgan" in the attributes.
    """
    ngff = ngff_zarr()
    spatial = "zyx"[-(values.ndim - 1) :]
    dims = ["c", *spatial]
    unit, sizes = (None, (1.0,) * len(spatial)) if size is None else (_UNITS[size[0]], size[1])
    image = ngff.to_ngff_image(
        np.ascontiguousarray(np.moveaxis(values, -1, 0)),
        dims=dims,
        scale={"c": 1.0, **dict(zip(spatial, sizes, strict=True))},
        translation=dict.fromkeys(dims, 0.0),
        axes_units=None if unit is None else dict.fromkeys(spatial, unit),
        name="image",
    )
    levels = ngff.to_multiscales(image, scale_factors=[], cache=False)
    # Without the copy of all attributes in .zmetadata, as they are completed below.
    ngff.to_ngff_zarr(str(path), levels, version="0.4", consolidate_metadata=False)
    attributes = json.loads((path / ".zattrs").read_text(encoding="utf-8"))
    for key in ("type", "metadata"):  # How levels were made: there is but one.
        attributes["multiscales"][0].pop(key, None)
    low, high = window
    shown = {"start": low, "end": high, "min": low, "max": high}
    colours = ["FF0000", "00FF00", "0000FF"] if values.shape[-1] == 3 else ["FFFFFF"] * values.shape[-1]
    attributes["omero"] = {"channels": [{"active": True, "color": colour, "window": shown} for colour in colours]}
    attributes["jaxgan"] = origin
    (path / ".zattrs").write_text(json.dumps(attributes, indent=2) + "\n", encoding="utf-8")
