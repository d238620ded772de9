"""Millimetres: a ball keeps its volume and its place in the world, whatever the voxels that it was stored in."""

import dataclasses
import json
import re

import nibabel
import numpy as np
import pytest
import tifffile

from jaxgan.data.listing.collection import list_folder
from jaxgan.data.open import open_dataset
from jaxgan.data.preparing import spacing
from jaxgan.data.preparing.check import check
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.geometry import fit
from jaxgan.data.preparing.prepare import prepare
from jaxgan.data.preparing.prepared import find_prepared, open_prepared
from jaxgan.data.preparing.seal import RECORD_FILE
from jaxgan.errors import InputError

CENTRE = np.array([12.0, -30.0, 7.5])


def ball(path, radius, voxel, extent=(40, 44, 36), centre=CENTRE, flip=False):
    """A NIfTI whose voxels of `voxel` mm are 200 inside a ball of `radius` mm around `centre`, 10 outside."""
    voxel = np.array(voxel, float)
    shape = np.rint(np.array(extent) / voxel).astype(int)
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = centre - voxel * (shape - 1) / 2
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    inside = np.linalg.norm(grid @ affine[:3, :3] + affine[:3, 3] - centre, axis=-1) < radius
    values = np.where(inside, 200, 10).astype(np.uint8)
    if flip:
        values, affine = values[::-1], affine @ np.array([[-1, 0, 0, shape[0] - 1], *np.eye(4)[1:]])
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def prepared(folder, target, **choices):
    return prepare(list_folder(folder, spatial_rank=3), target, "set", Conversion(**choices))


def volumes_mm3(dataset):
    """What a reader of the prepared set measures of each ball."""
    inside = (dataset.load() > 105).reshape(dataset.size, -1).sum(1)
    return inside * np.prod(dataset.spacing)


RADII = (8.0, 10.0, 12.0, 14.0)
VOXELS = ((1, 1, 1), (0.75, 0.75, 2.2), (1.3, 0.9, 1.1), (2, 2, 2))


@pytest.fixture
def balls(tmp_path):
    for i, (radius, voxel) in enumerate(zip(RADII, VOXELS, strict=True)):
        ball(tmp_path / "balls" / f"{i}.nii.gz", radius, voxel, flip=i == 1)
    return tmp_path / "balls"


def test_balls_keep_their_volume_and_their_place(balls, tmp_path):
    folder = prepared(balls, tmp_path / "out", size=32)
    dataset = open_prepared(folder)
    # 44 mm, give or take a voxel, are the largest extent.
    assert dataset.spacing == pytest.approx([44.2 / 32] * 3, rel=0.02) and len(set(dataset.spacing)) == 1
    expected = 4 / 3 * np.pi * np.array(RADII) ** 3
    np.testing.assert_allclose(volumes_mm3(dataset), expected, rtol=0.08)
    np.testing.assert_allclose(np.linalg.norm(dataset.affine[:3, :3], axis=0), dataset.spacing, rtol=1e-6)
    for volume in dataset.load()[..., 0]:
        found = dataset.affine @ [*np.argwhere(volume > 105).mean(0), 1]
        np.testing.assert_allclose(found[:3], CENTRE, atol=0.35)


def test_what_is_generated_lies_where_most_of_the_training_data_lie(tmp_path):
    """Among three volumes, one of them far away: the middle of the common grid is the median of their middles."""
    for i, shift in enumerate(([0, 0, 0], [4, -6, 2], [90, 80, -70])):
        ball(tmp_path / "balls" / f"{i}.nii.gz", 10.0, (2, 2, 2), centre=CENTRE + shift)
    folder = prepared(tmp_path / "balls", tmp_path / "out", size=16)
    dataset = open_prepared(folder)
    middle = dataset.affine @ [7.5, 7.5, 7.5, 1]
    np.testing.assert_allclose(middle[:3], np.add(CENTRE, [4, 0, 0]), atol=1e-3)
    (line,) = [line for line in check(folder).lines if line.startswith("spacing: ")]
    numbers = [float(number) for number in re.findall(r"[\d.]+", line)]
    np.testing.assert_allclose(numbers[:3], dataset.spacing, rtol=0.01)
    assert "extent" in line and numbers[3:6] == pytest.approx([16 * side for side in dataset.spacing], rel=0.01), line


def test_fitting_by_voxels_loses_the_volume_and_claims_no_millimetres(balls, tmp_path):
    dataset = open_prepared(prepared(balls, tmp_path / "out", size=32, spacing="none"))
    assert dataset.spacing is None
    np.testing.assert_allclose(dataset.affine[:3, :3], np.eye(3))
    inside = (dataset.load() > 105).reshape(4, -1).sum(1)
    true = np.array(RADII) ** 3
    assert abs((inside / inside[0]) / (true / true[0]) - 1).max() > 0.2


def test_a_given_spacing_is_kept_and_what_is_lost_is_said(balls, tmp_path, caplog):
    dataset = open_prepared(prepared(balls, tmp_path / "out", size=24, spacing=1.0))
    assert dataset.spacing == (1.0, 1.0, 1.0)
    assert "4 of 4 volumes are larger than 24 voxels of 1 mm" in caplog.text
    np.testing.assert_allclose(volumes_mm3(dataset)[:2], 4 / 3 * np.pi * np.array(RADII[:2]) ** 3, rtol=0.06)


def test_voxels_that_are_not_scaled_are_not_touched(tmp_path):
    volume = np.random.default_rng(0).integers(1, 250, (9, 12, 10), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.5, 1.5, 1.5, 1])), tmp_path / "in" / "a.nii")
    dataset = open_prepared(prepared(tmp_path / "in", tmp_path / "out", size=12))
    assert dataset.spacing == (1.5, 1.5, 1.5)
    stored = dataset.load()[0, ..., 0]
    corner = np.linalg.solve(dataset.affine, [0, 0, 0, 1])[:3]
    inner = tuple(slice(round(c), round(c) + n) for c, n in zip(corner, volume.shape, strict=True))
    np.testing.assert_array_equal(stored[inner], volume)
    assert (np.delete(stored, np.arange(12)[inner[0]], 0) == volume.min()).all()


def test_every_voxel_says_truly_where_it_is():
    # The values are world coordinates themselves: linear functions pass linear interpolation unchanged.
    affine = np.array([[0.8, 0.1, 0, -11], [-0.1, 0.9, 0, 5], [0, 0, 2.5, 3], [0, 0, 0, 1.0]])
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in (31, 40, 17)), indexing="ij"), -1)
    world = (grid @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
    step = np.array([1.2 / 0.8, 1.2 / 0.9, 1.2 / 2.5])
    for how in ("crop", "random_crop", "tile"):
        size = 12 if how != "tile" else 8
        for result, where in fit(world, size, how, pad_value=np.nan, rng=np.random.default_rng(0), step=step):
            for index in ([3, 4, 5], [4, 4, 4], [5, 3, 4]):
                expected = (where.affine(affine) @ [*index, 1])[:3]
                np.testing.assert_allclose(result[tuple(index)], expected, atol=0.06)


def test_thick_slices_are_named(tmp_path, caplog):
    for i in range(3):
        ball(tmp_path / "in" / f"{i}.nii.gz", 9 + i, (0.75, 0.75, 5.5) if i == 1 else (1, 1, 1))
    folder = prepared(tmp_path / "in", tmp_path / "out", size=24)
    assert "1.nii.gz with 0.75x0.75x5.5 mm" in caplog.text and "1 of 3" in caplog.text
    lines = "\n".join(check(folder).lines)
    assert "warning: 1 of 3 volumes have voxels more than 3 times longer" in lines
    assert "spacing: 1.8" in lines and "largest 1x1x5.5" in lines and "0 volumes lose their border" in lines


def test_files_without_a_voxel_size_claim_none(tmp_path):
    (tmp_path / "in").mkdir()
    for i in range(3):
        np.save(tmp_path / "in" / f"{i}.npy", np.random.default_rng(i).integers(0, 255, (9, 10, 8), np.uint8))
    dataset = open_prepared(prepared(tmp_path / "in", tmp_path / "out", size=8))
    assert dataset.spacing is None and dataset.affine is None
    with pytest.raises(InputError, match=r"spacing=2\.0: .*0\.npy does not state its voxel size"):
        prepared(tmp_path / "in", tmp_path / "out", size=8, spacing=2.0)
    ball(tmp_path / "in" / "ball.nii.gz", 9, (1, 1, 1))
    with pytest.raises(InputError, match=r"ball\.nii\.gz states its voxel size and .*0\.npy does not"):
        prepared(tmp_path / "in", tmp_path / "out", size=8)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_a_stack_brings_its_spacing_and_does_not_turn(tmp_path, kind):
    (tmp_path / "in").mkdir()
    stack = np.zeros((6, 20, 30), np.uint16)
    stack[1, 3:6, 20:29] = 500
    if kind == "imagej":
        metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "um"}
        options = {"imagej": True, "resolution": (2.0, 2.0), "metadata": metadata}
    else:
        sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (2.0, 0.5, 0.5), strict=True)}
        options = {"ome": True, "metadata": {"axes": "ZYX", **sizes}}
    tifffile.imwrite(tmp_path / "in" / "a.tif", stack, photometric="minisblack", **options)
    native = open_prepared(prepared(tmp_path / "in", tmp_path / "native"))
    assert native.spacing == pytest.approx([2e-3, 0.5e-3, 0.5e-3])
    # Index (z, y, x): x goes to the left of the world, y backwards, z upwards, as ITK opens a stack.
    np.testing.assert_allclose(native.affine @ [1, 0, 0, 0], [0, 0, 2e-3, 0], atol=1e-12)
    np.testing.assert_allclose(native.affine @ [0, 0, 1, 0], [-0.5e-3, 0, 0, 0], atol=1e-12)
    scaled = open_prepared(prepared(tmp_path / "in", tmp_path / "scaled", size=30))
    assert scaled.spacing == pytest.approx([0.5e-3] * 3)
    bright = np.argwhere(scaled.load()[0, ..., 0] > 250)
    assert np.ptp(bright, axis=0).tolist() == [3, 2, 8]


@pytest.mark.parametrize("spacing", ["-1", "0", "nan", "inf", "two"])
def test_wrong_spacings_are_said(spacing):
    with pytest.raises(InputError, match="spacing="):
        Conversion(size=8, spacing=spacing)
    with pytest.raises(InputError, match="needs a --size"):
        Conversion(spacing=1.0)
    with pytest.raises(InputError, match="both scale"):
        Conversion(size=8, spacing="auto", fit="contain")


def test_raw_volumes_are_prepared_by_millimetres_on_first_use(balls, monkeypatch, tmp_path):
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    first = open_dataset(balls, size=16)
    assert first.spacing is not None
    assert open_dataset(balls, size=16, spacing="none").fingerprint != first.fingerprint
    assert len(find_prepared(tmp_path / "cache" / "data" / "balls.jaxgan")) == 2


def test_data_prepared_before_there_was_a_spacing_stay_readable(balls, tmp_path):
    folder = prepared(balls, tmp_path / "out", size=16)
    record = json.loads((folder / RECORD_FILE).read_text())
    old = {key: value for key, value in record.items() if key not in ("spacing", "volumes", "warnings", "seal")}
    old["format"] = 1
    del old["conversion"]["spacing"]
    old["files"] = {name: size for name, (size, _) in old["files"].items()}
    (folder / RECORD_FILE).write_text(json.dumps(old))
    dataset = open_prepared(folder)
    assert dataset.spacing is None and dataset.affine is not None and dataset.size == 4
    assert any(line.startswith("spacing: unknown") for line in check(folder).lines)


@pytest.mark.real_data
def test_the_size_that_separates_hippocampi_survives(shared_data, tmp_path):
    masks = shared_data / "mri" / "hippocampus_seg"
    labels = {
        path.name.removesuffix(".nii.gz"): name
        for name in ("large", "small")
        for path in (shared_data / "mri" / "hippocampus" / name).iterdir()
    }
    collection = list_folder(masks, spatial_rank=3, labels=labels)
    true = np.array([(entry.read()[0].pixels > 0).sum() for entry in collection.splits["train"]])

    def auroc(spacing):
        conversion = Conversion(size=32, interpolation="nearest", spacing=spacing)
        dataset = open_prepared(prepare(collection, tmp_path, "masks", conversion))
        count = (dataset.load() > 0).reshape(dataset.size, -1).sum(1)
        large, small = count[dataset.labels == 0], count[dataset.labels == 1]
        return dataset, count, (large[:, None] > small).mean() + 0.5 * (large[:, None] == small).mean()

    dataset, count, area = auroc(None)
    assert area > 0.95
    np.testing.assert_allclose(count * np.prod(dataset.spacing), true, rtol=0.1)
    assert auroc("none")[2] < area


def test_each_volume_is_decoded_once_or_again_where_memory_ends(tmp_path):
    for i in range(3):
        ball(tmp_path / "in" / f"{i}.nii", 8.0, (2, 2, 2))
    listed = list_folder(tmp_path / "in", spatial_rank=3)
    reads = []

    def counted(entry):
        return dataclasses.replace(entry, read=lambda: (reads.append(entry.name), entry.read())[1])

    listed = dataclasses.replace(listed, splits={"train": [counted(entry) for entry in listed.splits["train"]]})
    prepare(listed, tmp_path / "out", "set", Conversion(size=16))
    assert len(reads) == 3
    nbytes = listed.splits["train"][0].read()[0].pixels.nbytes
    reads.clear()
    remembering = spacing.decoded_once(listed, most_bytes=2 * nbytes)
    for _ in range(2):
        for entry in remembering.splits["train"]:
            assert entry.read()[0].pixels.shape == (20, 22, 18, 1)
    assert len(reads) == 4
