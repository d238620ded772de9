"""`open_dataset` takes what users have; the second time is quick; changes are noticed; mistakes are one line."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from jaxgan.data import open as module
from jaxgan.data.open import identifier, open_dataset
from jaxgan.data.preparing.prepared import find_prepared
from jaxgan.errors import InputError

RNG = np.random.default_rng()


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "My maps (2026)"
    for label in ("0", "1"):
        (folder / label).mkdir(parents=True)
        for i in range(4):
            tifffile.imwrite(folder / label / f"{i}.tif", RNG.integers(0, 60000, (12, 10), dtype=np.uint16))
    return folder


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(
        path,
        train_images=RNG.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8),
        train_labels=np.arange(9)[:, None] % 3,
        test_images=RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8),
        test_labels=np.arange(4)[:, None] % 3,
    )
    return path


def test_folder_archive_and_prepared_folder(images, archive, tmp_path):
    dataset = open_dataset(images, size=8, channels=1, labelled=True)
    assert dataset.shape == (8, 8, 1) and dataset.labels.tolist() == [0] * 4 + [1] * 4
    assert dataset.scaling.policy == "minmax" and dataset.name == "my_maps_2026"
    assert open_dataset(archive, split="test").size == 4
    assert open_dataset(archive, split="all", channels=1).load().shape == (13, 8, 8, 1)
    cache = tmp_path / "set.npz.jaxgan"
    again = open_dataset(cache, channels=1)
    assert again.shape == (8, 8, 1) and again.size == 9
    np.testing.assert_array_equal(again.load(), open_dataset(archive, channels=1).load())


@pytest.mark.parametrize("place", ["..", ".", "x/.."])
def test_a_prepared_set_is_opened_from_within(archive, monkeypatch, place):
    open_dataset(archive)
    (folder,) = find_prepared(archive.with_name("set.npz.jaxgan"))
    (folder / "x").mkdir()
    monkeypatch.chdir(folder)
    assert find_prepared(Path(place)) == [folder]
    assert open_dataset(place, name="set").size == 9


def test_a_link_to_a_prepared_set_keeps_its_name(archive, tmp_path):
    open_dataset(archive)
    (folder,) = find_prepared(archive.with_name("set.npz.jaxgan"))
    (tmp_path / "linked").symlink_to(folder.parents[1])
    assert find_prepared(tmp_path / "linked")[0].parents[1].name == "linked"


def test_second_time_is_from_the_cache(images, monkeypatch):
    first = open_dataset(images)

    def refuse(*args, **kwargs):
        raise AssertionError("prepared again")

    monkeypatch.setattr(module, "prepare", refuse)
    second = open_dataset(images)
    assert second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(first.load(), second.load())


def test_a_changed_source_is_prepared_anew(images):
    first = open_dataset(images)
    changed = RNG.integers(0, 60000, (12, 10), dtype=np.uint16)
    path = images / "0" / "2.tif"
    tifffile.imwrite(path, changed)
    os.utime(path, ns=(time.time_ns(), time.time_ns() + 10**9))
    second = open_dataset(images)
    assert second.fingerprint != first.fingerprint
    np.testing.assert_array_equal(second.read(np.array([2]))[0, ..., 0], changed)
    tifffile.imwrite(images / "1" / "new.tif", changed)
    assert open_dataset(images).size == 9


def write_idx(path, array):
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes())


def test_changed_labels_of_an_idx_file_are_noticed(tmp_path):
    images, labels = RNG.integers(0, 256, (6, 4, 4), dtype=np.uint8), np.arange(6, dtype=np.uint8) % 2
    source, other = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"
    write_idx(source, images)
    write_idx(other, labels)
    np.testing.assert_array_equal(open_dataset(source).labels, labels)
    write_idx(other, 1 - labels)
    os.utime(other, ns=(time.time_ns(), time.time_ns() + 10**9))
    np.testing.assert_array_equal(open_dataset(source).labels, 1 - labels)
    write_idx(tmp_path / "t10k-images-idx3-ubyte", images[:2])
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", labels[:2])
    assert open_dataset(source, split="test").size == 2


def test_cache_goes_elsewhere_when_beside_is_not_writable(images, tmp_path, monkeypatch):
    beside = images.with_name(images.name + ".jaxgan")
    beside.write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        open_dataset(images)
    assert open_dataset(images, cache_dir=tmp_path / "run").size == 8
    assert list((tmp_path / "run").iterdir())
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "scratch"))
    assert open_dataset(images).size == 8
    assert [path.name for path in (tmp_path / "scratch" / "data").iterdir()] == [beside.name]


def test_what_does_not_fit_the_request_is_said(images, archive, tmp_path):
    open_dataset(archive)
    cache = tmp_path / "set.npz.jaxgan"
    for request, message in (
        ({"size": 16}, "asked for size 16"),
        ({"channels": 1}, "asked for 1"),
        ({"spatial_rank": 3}, "asked for 3-D"),
        ({"split": "val"}, "no 'val'"),
        ({"name": "other"}, "has set/native-"),
    ):
        with pytest.raises(InputError, match=message):
            open_dataset(cache, **request)
    with pytest.raises(InputError, match="no such file"):
        open_dataset(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no files"):
        open_dataset(tmp_path / "empty")
    assert not (tmp_path / "empty.jaxgan").exists()


def test_several_prepared_datasets_are_told_apart_by_shape_or_name(archive, tmp_path):
    for size in (4, 6):
        open_dataset(archive, size=size)
    open_dataset(archive, size=6, channels=1)
    cache = tmp_path / "set.npz.jaxgan"
    assert open_dataset(cache, size=4).shape == (4, 4, 3)
    assert open_dataset(cache, channels=1).shape == (6, 6, 1)
    with pytest.raises(InputError, match=r"2 prepared datasets that fit.*jaxgan/set/6-\w+, .*jaxgan/set/6-\w+"):
        open_dataset(cache, size=6)
    name = next(path.name for path in (cache / "set").iterdir() if path.name.startswith("4-"))
    assert open_dataset(cache, name=f"set/{name}").shape == (4, 4, 3)


def test_several_raw_sets_are_named(archive, tmp_path):
    archive.rename(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes())
    with pytest.raises(InputError, match=r"2 data sets; name one file of a\.npz, b\.npz"):
        open_dataset(tmp_path)


def test_damage_to_prepared_files_is_said(archive, tmp_path):
    open_dataset(archive)
    (record,) = (tmp_path / "set.npz.jaxgan").rglob("*train*array_record*")
    record.write_bytes(record.read_bytes()[:-10])
    with pytest.raises(InputError, match="another size"):
        open_dataset(tmp_path / "set.npz.jaxgan")
    record.unlink()
    with pytest.raises(InputError, match="is missing"):
        open_dataset(tmp_path / "set.npz.jaxgan")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("My maps (2026)", "my_maps_2026"),
        ("4x.npz", "data_4x"),
        ("ü.nii.gz", "u"),
        ("Größe", "grosse"),
        ("写.npz", "data"),
    ],
)
def test_identifier(tmp_path, name, expected):
    assert identifier(tmp_path / name) == expected
