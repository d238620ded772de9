"""The size of a pixel and the place of a voxel survive the way from a file through a prepared set to files again."""

import importlib.util

import nibabel
import numpy as np
import pytest

from jaxgan.data.listing.collection import list_folder
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import prepare
from jaxgan.data.preparing.prepared import open_prepared
from jaxgan.data.readers import read_file
from jaxgan.data.scaling import Scaling
from jaxgan.inference.writers import write_samples

pytest.importorskip("pydicom")

SCALING = Scaling("int16", -1000.0, 3000.0, "HU")
UNPLACED = ("tiff_units", "ome", "zarr")
ZARR = ["zarr"] if importlib.util.find_spec("ngff_zarr") else []
FLAT, SOLID = ("tiff_units", "ome", "dicom", *ZARR), ("tiff_units", "ome", "nifti", "dicom", *ZARR)


def written(folder, form, samples, **known):
    paths = write_samples(samples, folder, [form], scaling=SCALING, provenance={"run": "a", "step": 1}, **known)
    assert len(paths) == len(samples)
    return paths


@pytest.mark.parametrize("target", FLAT)
@pytest.mark.parametrize("source", FLAT)
def test_images_keep_the_size_of_their_pixels(tmp_path, source, target):
    samples = np.random.default_rng(0).uniform(-1, 1, (3, 6, 6, 1)).astype(np.float32)
    spacing = (0.00065, 0.0013)  # micrometres of a microscope, not alike
    written(tmp_path / "in", source, samples, spacing=spacing)
    data = open_prepared(prepare(list_folder(tmp_path / "in"), tmp_path / "data", "a", Conversion()))
    assert data.spacing == pytest.approx(spacing, rel=1e-6)
    paths = written(tmp_path / "out", target, samples, spacing=data.spacing)
    (image,) = read_file(paths[1])
    assert image.spacing == pytest.approx(spacing, rel=1e-6)
    np.testing.assert_allclose(image.pixels, SCALING.restore(samples[1]), atol=0.5)


@pytest.mark.parametrize("target", SOLID)
@pytest.mark.parametrize("source", SOLID)
def test_volumes_keep_the_place_of_their_voxels(tmp_path, source, target):
    samples = np.random.default_rng(0).uniform(-1, 1, (2, 6, 6, 6, 1)).astype(np.float32)
    # Voxels of 1.5 mm, axes turned as a scanner's coronal series has them, and not at the origin.
    affine = np.array([[0, 0, -1.5, 40.0], [1.5, 0, 0, -30.0], [0, -1.5, 0, 25.0], [0, 0, 0, 1]])
    if source in UNPLACED:  # which have a size and no place
        affine = np.array([[0, 0, -1.5, 0], [0, -1.5, 0, 0], [1.5, 0, 0, 0], [0, 0, 0, 1.0]])
    written(tmp_path / "in", source, samples, spacing=(1.5,) * 3, affine=affine)
    folder = prepare(list_folder(tmp_path / "in", spatial_rank=3), tmp_path / "data", "a", Conversion())
    data = open_prepared(folder)
    assert data.spacing == pytest.approx((1.5,) * 3)
    prepared = np.asarray(data.read([1]))[0, ..., 0]
    stored = dict(zip(("low", "high"), (float(prepared.min()), float(prepared.max())), strict=True))
    scaling = Scaling("float32", stored["low"], stored["high"], "HU")
    scaled = ((prepared - scaling.low) / (scaling.high - scaling.low) * 2 - 1).astype(np.float32)
    (path,) = write_samples(scaled[None, ..., None], tmp_path / "out", [target], scaling=scaling, spacing=data.spacing,
                            affine=data.affine, provenance={"run": "b"})  # fmt: skip
    (volume,) = read_file(path, 3)
    assert volume.spacing == pytest.approx((1.5,) * 3, rel=1e-6)
    if target in UNPLACED:
        np.testing.assert_allclose(volume.pixels[..., 0], prepared, atol=1)
        return
    # Each value of the sample lies where its affine said.
    indices = np.stack(np.meshgrid(*map(np.arange, (6, 6, 6)), indexing="ij"), -1)
    world = nibabel.affines.apply_affine(affine, indices)
    x, y, z = np.moveaxis(np.rint(nibabel.affines.apply_affine(np.linalg.inv(volume.affine), world)).astype(int), -1, 0)
    np.testing.assert_allclose(volume.pixels[x, y, z, 0], SCALING.restore(samples[1])[..., 0], atol=1)
