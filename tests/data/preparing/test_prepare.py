"""Preparing: values survive, nothing is left half done, what is wrong is said in one line."""

import csv
import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import tifffile

from jaxgan.data.listing.collection import list_folder
from jaxgan.data.preparing import prepare as module
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.disk_buffer import ordered_map
from jaxgan.data.preparing.prepare import Policy, prepare
from jaxgan.data.preparing.prepared import find_prepared, open_prepared
from jaxgan.errors import InputError

RNG = np.random.default_rng()


def folder_of(path, images, names=None):
    path.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        tifffile.imwrite(path / (names[i] if names else f"{i:03d}.tif"), image)
    return path


def prepared(source, target, conversion=None, policy=None, **kwargs):
    return prepare(list_folder(source, **kwargs), target, "set", conversion or Conversion(), policy)


def random(dtype, count=7, shape=(16, 12)):
    if np.dtype(dtype).kind == "f":
        return (RNG.normal(size=(count, *shape)) * 1e3).astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, (count, *shape), dtype=dtype, endpoint=True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32"])
def test_values_survive_the_way_through(tmp_path, dtype):
    images = random(dtype)
    dataset = open_prepared(prepared(folder_of(tmp_path / "in", images), tmp_path / "out"))
    stored = dataset.load()
    assert stored.dtype == images.dtype and dataset.shape == (16, 12, 1)
    np.testing.assert_array_equal(stored[..., 0], images)
    order = RNG.permutation(7)
    np.testing.assert_array_equal(dataset.read(order), stored[order])
    back = dataset.scaling.encode(dataset.scaling.decode(stored)).astype(np.float64)
    if np.dtype(dtype).itemsize < 4:
        np.testing.assert_array_equal(back, stored)
    else:
        # Training computes in float32, which has 24 of int32's bits: two of its quanta then.
        quantum = np.spacing(np.float32(np.abs(stored.astype(np.float64)).max()))
        assert np.abs(back - stored).max() <= quantum * (1 if dtype == "float32" else 2)


def test_same_content_is_found_again_and_changed_content_is_new(tmp_path):
    source = folder_of(tmp_path / "in", random("uint8"))
    first = prepared(source, tmp_path / "out")
    assert prepared(source, tmp_path / "out") == first
    assert prepared(source, tmp_path / "other").relative_to(tmp_path / "other") == first.relative_to(tmp_path / "out")
    assert prepared(source, tmp_path / "out", Conversion(size=8)) != first
    # Even if size and time stay what they were.
    path = source / "003.tif"
    times = path.stat()
    tifffile.imwrite(path, random("uint8", 1)[0])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert prepared(source, tmp_path / "out") != first


def test_result_is_byte_for_byte_the_same(tmp_path):
    source = folder_of(tmp_path / "in", random("uint16"))
    conversion = Conversion(size=8, fit="random_crop", seed=3)
    folders = [prepared(source, tmp_path / target, conversion) for target in "ab"]
    records = [next(folder.glob("*array_record*")).read_bytes() for folder in folders]
    assert records[0] == records[1]


def test_mixed_sources_name_two_files(tmp_path):
    folder_of(tmp_path / "shapes", [np.zeros((8, 8), np.uint8), np.ones((8, 9), np.uint8)])
    with pytest.raises(InputError, match=r"000\.tif and .*001\.tif have shapes \(8, 8\) and \(8, 9\); give --size"):
        prepared(tmp_path / "shapes", tmp_path / "out")
    folder_of(tmp_path / "channels", [np.zeros((8, 8), np.uint8), np.ones((8, 8, 3), np.uint8)])
    with pytest.raises(InputError, match="1 and 3 channels; give --channels"):
        prepared(tmp_path / "channels", tmp_path / "out")
    folder_of(tmp_path / "dtypes", [np.zeros((8, 8), np.uint8), np.ones((8, 8), np.uint16)])
    with pytest.raises(InputError, match="dtypes uint8 and uint16"):
        prepared(tmp_path / "dtypes", tmp_path / "out")
    assert not find_prepared(tmp_path / "out")
    sized = open_prepared(prepared(tmp_path / "shapes", tmp_path / "out", Conversion(size=4)))
    assert sized.shape == (4, 4, 1)
    gray = open_prepared(prepared(tmp_path / "channels", tmp_path / "out", Conversion(channels=1)))
    assert gray.shape == (8, 8, 1)


def test_few_bad_files_are_listed_and_many_are_an_error(tmp_path):
    images = random("float32", 20)
    images[4, 2, 2] = np.nan
    source = folder_of(tmp_path / "in", images)
    (source / "readme.txt").write_text("x")
    with pytest.raises(InputError, match=r"004\.tif: holds 1 NaN.*\(1 of 20 images.*set\.rejected\.csv") as caught:
        prepared(source, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["set.rejected.csv"]
    folder = prepared(source, tmp_path / "out", policy=Policy(max_rejected=0.05))
    assert open_prepared(folder).size == 19
    with (folder / "rejected.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(os.path.basename(row["file"]), row["kind"]) for row in rows] == [
        ("004.tif", "rejected"),
        ("readme.txt", "ignored"),
    ]


def test_a_split_of_which_nothing_can_be_used_is_an_error(tmp_path):
    images = random("float32", 20)
    source = folder_of(tmp_path / "in" / "train", images)
    images[0, 2, 2] = np.nan
    folder_of(tmp_path / "in" / "test", images[:1])
    with pytest.raises(InputError, match=r"000\.tif: holds 1 NaN.*'test' has no image left") as caught:
        prepared(source.parent, tmp_path / "out", policy=Policy(max_rejected=0.1))
    assert "\n" not in str(caught.value)


def test_an_interrupted_preparation_leaves_nothing(tmp_path, monkeypatch):
    source = folder_of(tmp_path / "in", random("uint8"))

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "write_records", interrupt)
    with pytest.raises(KeyboardInterrupt):
        prepared(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_killed_preparation_is_not_taken_for_whole_and_is_cleared(tmp_path):
    source = folder_of(tmp_path / "in", random("uint8"))
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from jaxgan.data.preparing import prepare as m\n"
        "from jaxgan.data.listing.collection import list_folder\n"
        "from jaxgan.data.preparing.convert import Conversion\n"
        "write = m.write_records\n"
        "m.write_records = lambda *args: (write(*args), os.kill(os.getpid(), 9))\n"
        "m.prepare(list_folder(Path(sys.argv[1])), Path(sys.argv[2]), 'set', Conversion())\n"
    )
    result = subprocess.run([sys.executable, "-c", program, source, tmp_path / "out"], capture_output=True, text=True)
    assert result.returncode == -9, result.stderr
    (left,) = (tmp_path / "out").iterdir()
    assert left.name.startswith(".incomplete-") and not find_prepared(tmp_path / "out")
    folder = prepared(source, tmp_path / "out")
    assert open_prepared(folder).size == 7 and not left.exists()


def test_splits(tmp_path):
    source = folder_of(tmp_path / "in", random("uint8", 20))
    folder = prepared(source, tmp_path / "out", policy=Policy(split="0.25", seed=1))
    train, test = (open_prepared(folder, split).load() for split in ("train", "test"))
    assert (len(train), len(test)) == (15, 5)
    together = open_prepared(folder, "train+test").load()
    np.testing.assert_array_equal(together, np.concatenate([train, test]))
    assert len(np.unique(together.reshape(20, -1), axis=0)) == 20
    with pytest.raises(InputError, match="no 'val', only train, test"):
        open_prepared(folder, "val")
    for split in ("1.5", "0.001", "val"):
        with pytest.raises(InputError, match="split="):
            prepared(source, tmp_path / "out", policy=Policy(split=split))


def test_labels_and_record(tmp_path):
    for label in ("b", "a"):
        folder_of(tmp_path / "in" / label, random("uint8", 3))
    folder = prepared(tmp_path / "in", tmp_path / "out")
    dataset = open_prepared(folder)
    assert dataset.class_names == ("a", "b") and dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert open_prepared(folder, labelled=False).labels is None
    record = json.loads((folder / "jaxgan.json").read_text())
    assert record["splits"] == {"train": 6} and record["scaling"]["policy"] == "range"
    unlabelled = prepared(tmp_path / "in", tmp_path / "out", labelled=False)
    with pytest.raises(InputError, match="prepared without labels"):
        open_prepared(unlabelled, labelled=True)


def test_tiles_make_many_samples_of_one_image(tmp_path):
    source = folder_of(tmp_path / "in", random("uint8", 2, (20, 33)))
    assert open_prepared(prepared(source, tmp_path / "out", Conversion(size=8, fit="tile"))).size == 2 * 2 * 4


def test_volumes_keep_a_common_affine(tmp_path):
    import nibabel

    (tmp_path / "in").mkdir()
    for i in range(3):
        volume = RNG.integers(0, 99, (10, 12, 8), dtype=np.uint8)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([2, 2, 2, 1.0])), tmp_path / "in" / f"{i}.nii.gz")
    dataset = open_prepared(prepared(tmp_path / "in", tmp_path / "out", Conversion(size=6), spatial_rank=3))
    assert dataset.shape == (6, 6, 6, 1)
    np.testing.assert_allclose(np.diag(dataset.affine)[:3], 4.0)
    assert dataset.spacing == (4.0, 4.0, 4.0)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"low": 0.0}, "low=0.0, high=None: give both ends"),
        ({"high": 9.0}, "low=None, high=9.0: give both ends"),
        ({"scaling": "minmax", "low": 0.0, "high": 9.0}, "low=0.0: goes with scaling fixed, not minmax"),
    ],
)
def test_a_range_that_does_not_fit_the_scaling_is_said_at_once(fields, said):
    with pytest.raises(InputError, match=said):
        Policy(**fields)


def test_a_constant_set_and_a_bad_name_are_said(tmp_path):
    source = folder_of(tmp_path / "in", np.full((3, 8, 8), 5, np.uint16))
    with pytest.raises(InputError, match="constant"):
        prepared(source, tmp_path / "out")
    with pytest.raises(InputError, match="name="):
        prepare(list_folder(source), tmp_path / "out", "Not a name", Conversion())


def test_ordered_map_keeps_order_and_raises():
    with ordered_map(lambda x: x * x, range(100)) as results:
        assert list(results) == [x * x for x in range(100)]
    with pytest.raises(ZeroDivisionError), ordered_map(lambda x: 1 / (50 - x), range(100)) as results:
        list(results)


def test_threads_of_ordered_map_end_with_its_block():
    """Not when its results are collected, which may be in one of the threads."""
    before = set(threading.enumerate())
    with pytest.raises(KeyError), ordered_map(lambda x: x, range(100)) as results:
        next(results)
        raise KeyError
    assert set(threading.enumerate()) <= before
    del results


def test_missing_data_are_named_and_masked(tmp_path):
    images = random("float32", 5)
    images[3, :4] = -3.4028235e38
    source = folder_of(tmp_path / "in", images)
    with pytest.raises(InputError, match=r"--nodata.*003\.tif holds -3\.4028"):
        prepared(source, tmp_path / "out")
    folder = prepared(source, tmp_path / "out", Conversion(nodata=-3.402823e38))
    stored = open_prepared(folder).load()[..., 0]
    assert (stored[3, :4] == images[3, 4:].min()).all()
    np.testing.assert_array_equal(stored[3, 4:], images[3, 4:])
    np.testing.assert_array_equal(stored[[0, 1, 2, 4]], images[[0, 1, 2, 4]])
    assert json.loads((folder / "jaxgan.json").read_text())["masked"] == 4 * 12
    images[3, :4] = np.nan
    folder_of(tmp_path / "nan", images)
    again = open_prepared(prepared(tmp_path / "nan", tmp_path / "out", Conversion(nodata=np.nan))).load()[..., 0]
    np.testing.assert_array_equal(again, stored)
    folder_of(tmp_path / "bare", [*images[:3], np.full((16, 12), -1, np.float32)])
    with pytest.raises(InputError, match=r"003\.tif: holds nothing but missing data"):
        prepared(tmp_path / "bare", tmp_path / "out", Conversion(nodata=-1))
