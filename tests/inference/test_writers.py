"""Files out: values and axes as other programs read them back, and nothing overwritten or half-written."""

import html
import json

import nibabel
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxgan.data.readers import read_file
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.inference.formats import FORMATS, file_names
from jaxgan.inference.writers import write_samples
from jaxgan.pictures import (
    anatomical,
    flatten_volumes,
    grid,
    image_grid,
    labelled_grid,
    to_uint8,
    window_of,
    windowed,
    write_grid,
    write_png,
)

SCALING = Scaling("uint16", 33_000.0, 34_000.0, "counts")
LEVELS = np.linspace(-1, 1, 256).astype(np.float32)


def random_samples(shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def test_to_uint8_hits_every_level_and_survives_divergence():
    np.testing.assert_array_equal(to_uint8(LEVELS), np.arange(256))
    np.testing.assert_array_equal(to_uint8(np.array([-5, 5, np.nan, np.inf, -np.inf])), [0, 255, 0, 255, 0])


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 20),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.sampled_from([1, 3]),
    columns=st.none() | st.integers(1, 25),
    pad=st.integers(0, 3),
)
def test_image_grid_holds_every_sample_once_in_order(count, height, width, channels, columns, pad):
    samples = random_samples((count, height, width, channels))
    grid = image_grid(samples, columns, pad)
    assert grid.dtype == np.uint8 and grid.shape[-1] == channels
    across = (grid.shape[1] - pad) // (width + pad)
    down = (grid.shape[0] - pad) // (height + pad)
    assert across * (down - 1) < count <= across * down
    assert columns is None or across == min(columns, count)
    tiles = grid[pad:, pad:] if pad else grid
    tiles = tiles.reshape(down, height + pad, across, width + pad, channels)[:, :height, :, :width]
    tiles = tiles.transpose(0, 2, 1, 3, 4).reshape(-1, height, width, channels)
    np.testing.assert_array_equal(tiles[:count], to_uint8(samples))
    assert (tiles[count:] == 128).all()


def test_volume_shows_its_three_middle_slices():
    volume = random_samples((2, 4, 6, 8, 1))
    flat = flatten_volumes(volume)
    assert flat.shape == (2, 6, 8 + 1 + 8 + 1 + 6, 1)
    np.testing.assert_array_equal(flat[:, :, :8], volume[:, 2])
    np.testing.assert_array_equal(flat[:, 1:5, 9:17], volume[:, :, 3])
    np.testing.assert_array_equal(flat[:, 1:5, 18:], volume[:, :, :, 4])


def test_channels_that_are_no_colours_become_panels():
    samples = random_samples((2, 5, 4, 2))
    flat = flatten_volumes(samples)
    assert flat.shape == (2, 5, 9, 1)
    np.testing.assert_array_equal(flat[..., 5:, 0], samples[..., 1])


def test_labelled_grid_has_one_block_of_rows_per_class():
    labels = np.array([3, 0, 3, 3, 0])
    samples = np.stack([np.full((12, 12, 1), -1 if label else 1, np.float32) for label in labels])
    grid = labelled_grid(samples, labels, columns=2, pad=2)
    assert grid.shape[0] == (1 * 14 + 2) + (2 * 14 + 2)
    # The class's number is written into the left margin, black on white.
    margin = grid.shape[1] - (2 * 14 + 2)
    assert grid[:16, :margin].min() < 60 and grid[16:, :margin].min() < 60
    body = grid[:, margin:]
    assert (body[:16] == 255).sum() == 2 * 144 and (body[16:] == 0).sum() == 3 * 144
    assert (body[:16] == 0).sum() == 0


def test_a_grid_of_classes_has_no_gray_holes():
    labels = np.array([0, 0, 0, 0, 0, 1, 1])
    samples = np.full((7, 12, 12, 1), -1, np.float32)
    drawn = labelled_grid(samples, labels, columns=3, pad=2)
    margin = drawn.shape[1] - (3 * 14 + 2)
    body = drawn[:, margin:, 0]
    assert body.shape[0] == (2 * 14 + 2) + (14 + 2)
    assert (body[16:28, 30:] == 255).all() and (body[32:44, 30:] == 255).all(), "what has no sample is white"
    assert (body == 0).sum() == 7 * 144
    three = labelled_grid(np.repeat(samples[:3], 6, axis=0), np.repeat([0, 1, 2], 6)).shape
    assert (three[0] - 6) % 14 == 0 and (three[0] - 6) // 14 in (3, 6), "6 of each of 3 classes leave no hole"
    high, wide, _ = labelled_grid(np.repeat(samples, 20, axis=0), np.repeat(labels, 20)).shape
    assert 0.6 < high / wide < 1.6, "about square by default"


def test_grids_are_enlarged_by_whole_numbers_and_names_stand_in_the_margin():
    samples = random_samples((4, 5, 6, 3))
    np.testing.assert_array_equal(grid(samples, side=60), image_grid(samples, scale=3))
    np.testing.assert_array_equal(grid(samples, side=10), image_grid(samples))
    kinds = np.array([0, 1, 0, 1])
    named, numbered = (labelled_grid(samples, kinds, scale=3, names=names) for names in (["aaaa", "b"], ()))
    assert named.shape[0] == numbered.shape[0] and named.shape[1] > numbered.shape[1]


def test_one_bright_spot_does_not_make_the_rest_black():
    samples = np.random.default_rng(0).uniform(-1, -0.9, (4, 32, 32, 1)).astype(np.float32)
    samples[0, 0, :3] = 1
    low, high = window_of(samples)
    assert -1 <= low < -0.99 and -0.91 < high < -0.89
    shown = to_uint8(windowed(samples, (low, high)))
    assert np.median(shown) == pytest.approx(127, abs=6) and shown[0, 0, 0] == 255
    assert window_of(np.repeat(samples, 3, axis=-1)) == (-1, 1), "colours stay"
    assert window_of(np.full((1, 4, 4, 1), np.nan)) == window_of(np.zeros((1, 4, 4, 1))) == (-1, 1)


@pytest.mark.parametrize("code", ["RAS", "LPS", "AIR", "SRP"])
def test_volumes_are_shown_as_anatomists_see_them(code):
    world = random_samples((2, 5, 6, 7, 1))  # right, front, top rise
    axes = nibabel.orientations.axcodes2ornt(tuple(code))
    stored = np.stack([nibabel.orientations.apply_orientation(volume, axes_to(axes)) for volume in world[..., 0]])[
        ..., None
    ]
    affine = nibabel.orientations.inv_ornt_aff(nibabel.orientations.io_orientation(np.eye(4)), (5, 6, 7))
    affine = affine @ nibabel.orientations.inv_ornt_aff(axes_to(axes), (5, 6, 7))
    assert "".join(nibabel.aff2axcodes(affine)) == code
    np.testing.assert_array_equal(anatomical(stored, affine), world)
    flat = flatten_volumes(stored, affine)
    top = flat[0, :, :5][(flat.shape[1] - 6) // 2 :][:6, :, 0]
    for y in range(6):
        np.testing.assert_array_equal(top[5 - y], world[0, :, y, 3, 0])  # axial: front on top, left on the left


def axes_to(axes):
    """The orientation that turns RAS+ volumes into those with these axes."""
    return nibabel.orientations.ornt_transform(nibabel.orientations.axcodes2ornt("RAS"), axes)


def test_letters_stand_on_the_first_volume_only():
    volumes = np.zeros((2, 8, 8, 8, 1), np.float32)
    drawn = image_grid(volumes, columns=1, affine=np.eye(4), scale=16)
    first, second = drawn[: drawn.shape[0] // 2], drawn[drawn.shape[0] // 2 :]
    assert (first > 220).any() and not (second > 220).any()


def test_names_of_classes_in_files_and_list(tmp_path):
    samples = random_samples((3, 8, 8, 1))
    names = ["tumour, high", "0", "x/y"]
    paths = write_samples(samples, tmp_path / "a", ["png"], scaling=None, labels=[0, 1, 2], class_names=names)
    assert [path.name for path in paths] == [
        "samples_labels.csv", "sample_00000_tumour-high.png", "sample_00001_class0.png", "sample_00002_x-y.png",
    ]  # fmt: skip
    assert paths[0].read_text() == 'sample,class,name\n0,0,"tumour, high"\n1,1,0\n2,2,x/y\n'
    paths = write_samples(samples[:2], tmp_path / "b", ["png"], scaling=None, labels=[0, 1], class_names=["a/b", "a b"])
    assert [path.stem for path in paths[1:]] == ["sample_00000_class0", "sample_00001_class1"]


def test_a_class_whose_name_is_a_number_has_it_in_its_files():
    """As `--labels` takes it: numbers that are names of classes are not their places in the list."""
    named = file_names("png", 5, labels=[0, 1, 2, 3, 4], class_names=["1", "2", "-1", "", "10"])
    parts = [name.removesuffix(".png").split("_")[-1] for name in named]
    assert parts == ["class1", "class2", "class-1", "class3", "class10"]
    assert file_names("png", 1, labels=[3]) == ["sample_00000_class3.png"], "their places, where they have no names"


def test_png_round_trip(tmp_path):
    for channels in (1, 3):
        image = np.random.default_rng(channels).integers(0, 256, (5, 7, channels), dtype=np.uint8)
        path = write_png(tmp_path / f"{channels}.png", image)
        np.testing.assert_array_equal(np.asarray(Image.open(path)).reshape(image.shape), image)
    with pytest.raises(InputError, match=r"uint8.*float32"):
        write_png(tmp_path / "float.png", np.zeros((4, 4), np.float32))


TIFF_AXES = [
    ((2, 6, 5, 1), "YX", "YX"),
    ((2, 6, 5, 3), "YXS", "CYX"),
    ((2, 6, 5, 2), "CYX", "CYX"),
    ((2, 4, 6, 5, 1), "ZYX", "ZYX"),
    ((2, 4, 6, 5, 3), "ZYXS", "ZCYX"),
]


@pytest.mark.parametrize(("shape", "axes8", "axes32"), TIFF_AXES)
def test_tiff_axes_and_values(tmp_path, shape, axes8, axes32):
    samples = random_samples(shape)
    expected = {
        "tiff8": (axes8, to_uint8(samples), 0),
        "tiff32": (axes32, samples, 0),
        "tiff01": (axes32, (samples + 1) / 2, 1e-7),
        "tiff_units": (axes32, SCALING.restore(samples), 2e-3),
    }
    write_samples(samples, tmp_path, list(expected), scaling=SCALING)
    for form, (axes, values, tolerance) in expected.items():
        for i in range(len(samples)):
            with tifffile.TiffFile(tmp_path / f"sample_{i:05d}_{form}.tif") as tiff:
                assert tiff.is_imagej and tiff.series[0].axes == axes
                stored = tiff.asarray()
                assert stored.dtype == (np.uint8 if form == "tiff8" else np.float32)
                assert set(axes) != set("YX") or tiff.pages[0].photometric.name == "MINISBLACK"
            if "C" in axes:
                stored = np.moveaxis(stored, axes.index("C"), -1)
            np.testing.assert_allclose(stored.reshape(shape[1:]), values[i], rtol=0, atol=tolerance)


def test_tiff_tells_the_display_range_and_units(tmp_path):
    write_samples(random_samples((1, 4, 4, 1)), tmp_path, ["tiff_units"], scaling=SCALING)
    with tifffile.TiffFile(tmp_path / "sample_00000_tiff_units.tif") as tiff:
        metadata = tiff.imagej_metadata
    assert (metadata["min"], metadata["max"]) == (33_000.0, 34_000.0)
    assert "counts" in metadata["Info"]


def test_units_give_back_every_stored_value(tmp_path):
    stored = np.arange(33_000, 34_001, dtype=np.uint16).reshape(1, 13, 77, 1)
    write_samples(SCALING.decode(stored), tmp_path, ["tiff_units"], scaling=SCALING)
    written = tifffile.imread(tmp_path / "sample_00000_tiff_units.tif")
    np.testing.assert_array_equal(np.rint(written), stored[0, ..., 0])


@pytest.mark.parametrize("channels", [1, 2])
def test_nifti_has_shape_affine_and_units(tmp_path, channels):
    samples = random_samples((2, 4, 5, 6, channels))
    affine = np.array([[0, -1.5, 0, 3], [2, 0, 0, -4], [0, 0, 0.5, 7], [0, 0, 0, 1.0]])
    paths = write_samples(samples, tmp_path, ["nifti"], scaling=SCALING, affine=affine, labels=[1, 0])
    assert {path.name for path in paths} == {
        "sample_00000_class1.nii.gz",
        "sample_00001_class0.nii.gz",
        "samples_labels.csv",
    }
    image = nibabel.load(tmp_path / "sample_00001_class0.nii.gz")
    np.testing.assert_allclose(image.affine, affine)
    assert image.shape == ((4, 5, 6) if channels == 1 else (4, 5, 6, 1, 2))
    assert image.get_data_dtype() == np.float32
    values = image.get_fdata().reshape(4, 5, 6, channels)
    np.testing.assert_allclose(values, SCALING.restore(samples[1]), atol=2e-3)


def test_npy_labels_and_grid(tmp_path):
    samples = random_samples((3, 8, 8, 1))
    paths = write_samples(samples, tmp_path, ["npy", "grid", "png"], scaling=None, labels=[2, 0, 1])
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy", allow_pickle=False), samples)
    assert (tmp_path / "samples_labels.csv").read_text() == "sample,class,name\n0,2,2\n1,0,0\n2,1,1\n"
    grid = np.asarray(Image.open(tmp_path / "sample_grid.png"))
    shown = windowed(samples, window_of(samples))
    np.testing.assert_array_equal(grid[..., None], labelled_grid(shown, [2, 0, 1], scale=16))
    png = np.asarray(Image.open(tmp_path / "sample_00000_class2.png"))
    np.testing.assert_array_equal(png, to_uint8(samples[0, ..., 0]))
    assert sorted(paths) == sorted(tmp_path.iterdir())


def test_the_same_samples_give_the_same_bytes(tmp_path):
    samples = random_samples((2, 4, 4, 4, 1))
    forms = [form for form in FORMATS if form not in ("png", "zarr")]
    for folder in ("a", "b"):
        write_samples(samples, tmp_path / folder, forms, scaling=SCALING)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_nothing_is_overwritten_unasked_and_nothing_half_written(tmp_path):
    samples = random_samples((2, 4, 4, 1))
    (tmp_path / "samples.npy").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"samples\.npy exists.*--overwrite"):
        write_samples(samples, tmp_path, ["tiff8", "npy"], scaling=None)
    assert [path.name for path in tmp_path.iterdir()] == ["samples.npy"]
    assert (tmp_path / "samples.npy").read_bytes() == b"mine"
    write_samples(samples, tmp_path, ["tiff8", "npy"], scaling=None, overwrite=True)
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy"), samples)


def test_failure_leaves_the_folder_as_it_was(tmp_path):
    (tmp_path / "old.txt").write_text("old")
    with (
        pytest.raises(RuntimeError),
        atomic_files([tmp_path / "old.txt", tmp_path / "new.txt"], True) as paths,
    ):
        paths[0].write_text("half")
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to .*file.*give another folder"):
        write_grid(tmp_path / "file" / "grid.png", random_samples((1, 4, 4, 1)))
    with pytest.raises(InputError, match="is a folder"):
        write_grid(tmp_path, random_samples((1, 4, 4, 1)), overwrite=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"formats": []}, "--formats is empty.*grid"),
        ({"formats": ["tif"]}, "--formats.*'tif'.*tiff8"),
        ({"formats": ["nifti"]}, "nifti.*volumes.*tiff_units"),
        ({"formats": ["tiff_units"], "scaling": None}, "tiff_units.*scaling"),
        ({"labels": [0]}, "--labels: 1 labels for 2 samples"),
        ({"samples": np.full((1, 4, 4, 1), np.nan)}, "NaN.*--step"),
        ({"samples": np.zeros((4, 4, 1))}, r"\(4, 4, 1\).*N, H, W, C"),
        ({"samples": np.zeros((0, 4, 4, 1))}, r"\(0, 4, 4, 1\)"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_written(tmp_path, change, message):
    arguments = {"samples": random_samples((2, 4, 4, 1)), "formats": ["npy"], "scaling": SCALING, **change}
    with pytest.raises(InputError, match=message):
        write_samples(output_dir=tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


ORIGIN = {"run": "cells-ü", "step": 700, "seed": 3}


@pytest.mark.parametrize("shape", [(2, 6, 5, 1), (2, 6, 5, 3), (2, 4, 6, 5, 1)])
@pytest.mark.parametrize("millimetres", [0.65e-3, 0.7])
def test_pixel_size_and_provenance_come_back(tmp_path, shape, millimetres):
    samples = random_samples(shape)
    spacing = tuple(millimetres * factor for factor in (3, 1, 2)[-(len(shape) - 2) :])
    forms = ["tiff_units", "tiff8", "ome"]
    write_samples(samples, tmp_path, forms, scaling=SCALING, spacing=spacing, provenance=ORIGIN)
    for name in ("sample_00001_tiff_units.tif", "sample_00001_tiff8.tif", "sample_00001.ome.tif"):
        (decoded,) = read_file(tmp_path / name, len(shape) - 2)
        np.testing.assert_allclose(decoded.spacing, spacing, rtol=1e-6)
    with tifffile.TiffFile(tmp_path / "sample_00001_tiff8.tif") as tiff:
        found = json.loads(tiff.imagej_metadata["Info"])
    assert {key: found[key] for key in (*ORIGIN, "sample")} == {**ORIGIN, "sample": 1}
    assert found["scaling"] == {"low": 33_000.0, "high": 34_000.0, "units": "counts"}
    with tifffile.TiffFile(tmp_path / "sample_00001.ome.tif") as tiff:
        assert tiff.is_ome and '"step": 700' in html.unescape(tiff.ome_metadata)
        values = tiff.asarray().reshape(shape[-1], *shape[1:-1])
    np.testing.assert_allclose(np.moveaxis(values, 0, -1), SCALING.restore(samples[1]), atol=2e-3)


@pytest.mark.parametrize("spacing", [None, (2.0, 1.5, 0.5)])
def test_nifti_states_millimetres_only_where_they_are_known(tmp_path, spacing):
    affine = np.array([[0, -1.5, 0, 3], [2, 0, 0, -4], [0, 0, 0.5, 7], [0, 0, 0, 1.0]])
    samples = random_samples((1, 4, 5, 6, 1))
    write_samples(
        samples, tmp_path, ["nifti"], scaling=SCALING, affine=affine, spacing=spacing, provenance=ORIGIN
    )  # fmt: skip
    header = nibabel.load(tmp_path / "sample_00000.nii.gz").header
    assert header.get_xyzt_units()[0] == ("unknown" if spacing is None else "mm")
    for matrix, code in (header.get_qform(coded=True), header.get_sform(coded=True)):
        np.testing.assert_allclose(matrix, affine, atol=1e-6)
        assert code == (2 if spacing is None else 1)
    assert bytes(header["descrip"]).decode().startswith("jaxgan cells-ü step 700 seed 3 sample 0")
    assert json.loads(header.extensions[0].get_content())["step"] == 700


def test_files_of_unknown_pixel_size_claim_none(tmp_path):
    write_samples(random_samples((1, 6, 5, 1)), tmp_path, ["tiff_units", "ome"], scaling=SCALING)
    for path in tmp_path.iterdir():
        assert read_file(path)[0].spacing is None
