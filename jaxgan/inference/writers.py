"""Samples out: PNG grids, TIFF, NIfTI and npy files, each written whole or not at all.

Samples come in as the library holds them: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`. Every file
is written under a temporary name in its folder and then moved into place, so a reader never sees half a file,
and nothing is overwritten unless the caller says so.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import pictures
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.inference import dicom_file, zarr_store
from jaxgan.inference.formats import FORMATS, check_formats, check_shape, file_names
from jaxgan.pictures import flatten_volumes, to_uint8

_IN_UNITS = ("tiff_units", "ome", "nifti", "dicom", "zarr")
_DESCRIBED = ("run", "step", "seed", "sample")  # in the 80 bytes of a NIfTI's `descrip`


def write_samples(
    samples: np.ndarray,
    output_dir: str | os.PathLike,
    formats: Sequence[str],
    *,
    scaling: Scaling | None,
    affine: np.ndarray | None = None,
    spacing: tuple[float, ...] | None = None,
    provenance: Mapping[str, Any] | None = None,
    stem: str = "sample",
    overwrite: bool = False,
    labels: Sequence[int] | np.ndarray | None = None,
    class_names: Sequence[str] = (),
) -> list[Path]:
    """Writes samples in any of `FORMATS`; either every file appears or none does.

    | format | files | values |
    |---|---|---|
    | `grid` | `sample_grid.png` | 8 bits, all samples (a block of rows per class when labels are given) |
    | `png` | `sample_00000.png` ... | 8 bits |
    | `tiff8` | `sample_00000_tiff8.tif` ... | uint8, [0, 255] |
    | `tiff32` | `sample_00000_tiff32.tif` ... | float32, raw [-1, 1] |
    | `tiff01` | `sample_00000_tiff01.tif` ... | float32, [0, 1] |
    | `tiff_units` | `sample_00000_tiff_units.tif` ... | float32, the data's original units |
    | `ome` | `sample_00000.ome.tif` ... | OME-TIFF, float32, the data's original units |
    | `npy` | `samples.npy` | float32, raw [-1, 1], `[N, ..., C]` |
    | `nifti` | `sample_00000.nii.gz` ... | float32, the data's original units, volumes only |
    | `dicom` | `sample_00000.dcm` ... | 16 bits with a rescale slope to the original units, or RGB of 8 bits |
    | `zarr` | `sample_00000.ome.zarr` ... | OME-Zarr (folders), float32, the data's original units |

    TIFF, NIfTI, DICOM and OME-Zarr files state the size of a pixel where it is known, and where they come from:
    `provenance`, the number and the class of the sample and the scaling, as JSON in ImageJ's "Info", OME's description,
    a NIfTI comment, DICOM's derivation description or OME-Zarr's attributes.

    With labels, the class's name (`_tumour`, or `_class3` where the name is the number 3) stands after the number, and
    `samples_labels.csv` lists number, class and name.

    Args:
      samples: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`.
      output_dir: folder, made if needed.
      formats: subset of `FORMATS`.
      scaling: the data's record, for the formats in original units; None if none of these is asked for.
      affine: 4x4 matrix from `D, H, W` indices to RAS+ world coordinates, for NIfTI; identity by default. It is in mm
        if `spacing` is given, else in voxels of unknown size.
      spacing: mm along each spatial axis, or None where it is not known.
      provenance: what made the samples, e.g. run, step, seed and truncation; JSON-able. What differs
        in it is another study and series in DICOM.
      stem: first part of every file name.
      overwrite: replace files that exist.
      labels: `[N]` class numbers.
      class_names: their names, for file names, the list and the grid.

    Returns:
      the files written.

    Raises:
      InputError: an unknown format, samples that the format cannot hold or that are not finite, a file that
        exists, or a folder that cannot be written to.
    """
    samples = np.asarray(samples, np.float32)
    spacing = None if spacing is None else tuple(float(size) for size in spacing)
    _check(samples, formats, scaling, labels)
    labels = None if labels is None else [int(label) for label in labels]
    known: Any = {"scaling": scaling, "spacing": spacing}  # A scaling, where a format needs one: see _check.
    of_sample: dict[str, Callable[..., object]] = {
        "png": _write_sample_png,
        "ome": partial(_write_ome, **known),
        "nifti": partial(_write_nifti, affine=affine, **known),
        "dicom": partial(dicom_file.write_dicom, affine=affine, **known),
        "zarr": partial(_write_zarr, **known),
        **{form: partial(_write_tiff, form=form, **known) for form in FORMATS if form.startswith("tiff")},
    }
    plan: dict[str, Callable[[Path], object]] = {}

    def add(form: str, *writers: Callable[[Path], object]) -> None:
        plan.update(zip(file_names(form, len(samples), stem, labels, class_names), writers, strict=True))

    if labels is not None:
        add("labels", partial(_write_labels, labels=labels, names=class_names))
    for form in formats:
        if form == "grid":
            picture = pictures.grid(samples, labels=labels, names=class_names, affine=affine)
            add(form, partial(pictures.save_png, image=picture))
        elif form == "npy":
            add(form, partial(np.save, arr=samples, allow_pickle=False))
        else:
            origins = [_origin(provenance, i, form, scaling) for i in range(len(samples))]
            for origin, label in zip(origins, labels or (), strict=False):
                origin["class"] = _class_name(label, class_names)
            write = of_sample[form]
            add(form, *(partial(write, sample=s, origin=o) for s, o in zip(samples, origins, strict=True)))
    targets = [Path(output_dir) / name for name in plan]
    with atomic_files(targets, overwrite) as temporary:
        for path, write in zip(temporary, plan.values(), strict=True):
            write(path)
    return targets


def _check(samples: np.ndarray, formats: Sequence[str], scaling: Scaling | None, labels) -> None:
    check_formats(formats)
    for form in formats:
        if form in _IN_UNITS and scaling is None:
            raise InputError(f"--formats: {form} needs the data's scaling record: use tiff32 or npy")
    if samples.ndim not in (4, 5) or not samples.size:
        raise InputError(f"samples have shape {samples.shape}: {pictures.SHAPES}")
    check_shape(formats, samples.shape[1:])
    if labels is not None and len(labels) != len(samples):
        raise InputError(f"--labels: {len(labels)} labels for {len(samples)} samples, give one a sample")
    if not np.isfinite(samples).all():
        raise InputError("samples hold NaN or Inf, the training has diverged: choose an earlier --step")


def _write_labels(path: Path, labels: Sequence[int], names: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["sample", "class", "name"])
        rows.writerows([i, label, _class_name(label, names)] for i, label in enumerate(labels))


def _class_name(label: int, names: Sequence[str]) -> str:
    return names[label] if len(names) > label else str(label)


def _origin(provenance: Mapping[str, Any] | None, index: int, form: str, scaling: Scaling | None) -> dict[str, Any]:
    """What a file says of where it comes from and of what its values mean."""
    record = {"program": "jaxgan", **(provenance or {}), "sample": index, "format": form}
    if scaling is not None:
        record["scaling"] = {"low": scaling.low, "high": scaling.high, "units": scaling.units}
    return record


def _write_sample_png(path: Path, sample: np.ndarray, origin: dict[str, Any]) -> None:
    del origin  # A picture for the eye.
    pictures.save_png(path, to_uint8(flatten_volumes(sample[None])[0]))


def _write_tiff(
    path: Path,
    sample: np.ndarray,
    form: str,
    scaling: Scaling | None,
    spacing: tuple[float, ...] | None,
    origin: dict[str, Any],
) -> None:
    """One `[H, W, C]` or `[D, H, W, C]` sample as ImageJ TIFF: tifffile, ImageJ and napari read its axes."""
    import tifffile

    if form == "tiff8":
        values, low, high = to_uint8(sample), 0.0, 255.0
    elif form == "tiff32":
        values, low, high = sample, -1.0, 1.0
    elif form == "tiff01":
        values, low, high = np.clip((sample + 1.0) * np.float32(0.5), 0.0, 1.0), 0.0, 1.0
    else:
        assert scaling is not None  # see _check
        values, low, high = scaling.restore(sample).astype(np.float32), scaling.low, scaling.high
    axes = "ZYX" if sample.ndim == 4 else "YX"
    if sample.shape[-1] == 1:
        values = values[..., 0]
    elif sample.shape[-1] == 3 and values.dtype == np.uint8:
        axes += "S"
    else:
        # ImageJ has no interleaved float RGB: channels become planes.
        values, axes = np.moveaxis(values, -1, -3), axes[:-2] + "CYX"
    # min and max fix the display range, so that all samples of a set look alike when opened.
    metadata = {"axes": axes, "min": float(low), "max": float(high), "Info": json.dumps(origin) + "\n"}
    options: dict[str, Any] = {}
    if spacing is not None:
        unit, sizes = _in_unit(spacing)
        options = {"resolution": (1 / sizes[-1], 1 / sizes[-2]), "resolutionunit": "NONE"}
        metadata["unit"] = "um" if unit == "µm" else unit  # ImageJ's metadata is ASCII.
        if sample.ndim == 4:
            metadata["spacing"] = sizes[0]
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    values = np.ascontiguousarray(values)
    tifffile.imwrite(path, values, imagej=True, photometric=photometric, metadata=metadata, **options)


def _write_zarr(
    path: Path, sample: np.ndarray, scaling: Scaling, spacing: tuple[float, ...] | None, origin: dict[str, Any]
) -> None:
    values = scaling.restore(sample).astype(np.float32)
    size = None if spacing is None else _in_unit(spacing)
    zarr_store.write_zarr(path, values, (float(scaling.low), float(scaling.high)), size, origin)


def _write_ome(
    path: Path, sample: np.ndarray, scaling: Scaling, spacing: tuple[float, ...] | None, origin: dict[str, Any]
) -> None:
    """One sample as OME-TIFF; channels are planes."""
    import tifffile

    values = np.ascontiguousarray(np.moveaxis(scaling.restore(sample).astype(np.float32), -1, 0))
    text = json.dumps(origin)
    # The same samples are the same bytes: tifffile would draw an identifier from the clock.
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, text + hashlib.sha256(values.data).hexdigest())
    metadata: dict[str, Any] = {"axes": "CZYX" if sample.ndim == 4 else "CYX", "UUID": str(identifier)}
    metadata["Description"] = text
    if spacing is not None:
        unit, sizes = _in_unit(spacing)
        for axis, size in zip("ZYX"[-len(sizes) :], sizes, strict=True):
            metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
    tifffile.imwrite(path, values, ome=True, photometric="minisblack", metadata=metadata)


def _in_unit(spacing: tuple[float, ...]) -> tuple[str, tuple[float, ...]]:
    """The unit that people use at this size, and the millimetres in it."""
    unit, factor = ("µm", 1e3) if min(spacing) < 0.1 else ("mm", 1.0)
    # 15 digits: what a product by 1000 is sure of.
    return unit, tuple(float(f"{size * factor:.15g}") for size in spacing)


def _write_nifti(
    path: Path,
    sample: np.ndarray,
    scaling: Scaling,
    affine: np.ndarray | None,
    spacing: tuple[float, ...] | None,
    origin: dict[str, Any],
) -> None:
    """One `[D, H, W, C]` sample; several channels go to NIfTI's fifth axis, the fourth being time."""
    import nibabel

    values = scaling.restore(sample).astype(np.float32)
    values = values[..., 0] if values.shape[-1] == 1 else values[..., None, :]
    if affine is None:
        affine = np.diag([*(spacing or (1.0, 1.0, 1.0)), 1.0])
    affine = np.asarray(affine, np.float64)
    image = nibabel.Nifti1Image(values, affine)
    # Code 1: the scanner's millimetres; 2: aligned to something, all that can be said of voxels of unknown size.
    code = "scanner" if spacing is not None else "aligned"
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    image.header.set_xyzt_units("mm" if spacing is not None else "unknown")
    words = [str(origin[key]) if key == "run" else f"{key} {origin[key]}" for key in _DESCRIBED if key in origin]
    # 80 bytes; runs have names in any script.
    image.header["descrip"] = " ".join(["jaxgan", *words]).encode()[:79].decode(errors="ignore").encode()
    image.header["cal_min"], image.header["cal_max"] = scaling.low, scaling.high
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", json.dumps(origin).encode()))
    nibabel.save(image, path)
