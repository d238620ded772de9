"""IDX files and npz archives: contents, labels, splits, damage."""

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data.listing import medmnist as official
from jaxgan.data.listing.archives import list_idx, list_npz
from jaxgan.data.readers import arrays
from jaxgan.errors import InputError

RNG = np.random.default_rng()


def write_idx(path, array):
    code = {"uint8": 8, "int16": 0x0B, "int32": 0x0C, "float32": 0x0D}[array.dtype.name]
    content = bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.astype(array.dtype.newbyteorder(">")).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def mnist(folder, suffix="", prefix="", count=20):
    images = RNG.integers(0, 256, (count, 9, 7), dtype=np.uint8)
    labels = RNG.permutation(np.arange(count) % 4).astype(np.uint8)
    for split, part in (("train", slice(0, 15)), ("t10k", slice(15, None))):
        write_idx(folder / f"{prefix}{split}-images-idx3-ubyte{suffix}", images[part])
        write_idx(folder / f"{prefix}{split}-labels-idx1-ubyte{suffix}", labels[part])
    return images, labels


def pixels(entries):
    return np.stack([entry.read()[0].pixels for entry in entries])[..., 0]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx(tmp_path, suffix):
    images, labels = mnist(tmp_path, suffix)
    found = list_idx(tmp_path)
    np.testing.assert_array_equal(pixels(found.splits["train"]), images[:15])
    np.testing.assert_array_equal(pixels(found.splits["test"]), images[15:])
    assert [entry.label for entry in found.splits["train"]] == labels[:15].tolist()
    assert found.class_names == ("0", "1", "2", "3") and len(found.files) == 4
    assert list_idx(tmp_path, labelled=False).class_names == ()


def test_emnist_is_turned_and_several_sets_are_named(tmp_path):
    images, _ = mnist(tmp_path, prefix="emnist-letters-")
    np.testing.assert_array_equal(pixels(list_idx(tmp_path).splits["train"]), images[:15].swapaxes(1, 2))
    mnist(tmp_path, prefix="other-")
    with pytest.raises(InputError, match="2 IDX data sets"):
        list_idx(tmp_path)
    assert len(list_idx(tmp_path / "other-train-images-idx3-ubyte").splits["train"]) == 15


@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_idx_dtypes(tmp_path, dtype):
    images = (RNG.random((4, 5, 6)) * 100).astype(dtype)
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    np.testing.assert_array_equal(pixels(list_idx(tmp_path).splits["train"]), images)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda raw: raw[:-3], "truncated"),
        (lambda raw: raw + b"0", "longer"),
        (lambda raw: b"\x89PNG" + raw, "not an IDX"),
        (lambda raw: b"", "0 bytes"),
        (lambda raw: gzip.compress(raw)[:-20], "cannot be read|truncated"),
        (lambda raw: raw[:4] + struct.pack(">III", 10**6, 10**6, 9), "claims"),
    ],
)
def test_damaged_idx(tmp_path, harm, message):
    mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        list_idx(tmp_path)
    assert str(path) in str(caught.value)


def test_idx_labels_must_fit(tmp_path):
    mnist(tmp_path)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(InputError, match="3 labels for the 15 images"):
        list_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="no label file"):
        list_idx(tmp_path, labelled=True)


def medmnist(path, shape, count=12, **changes):
    content = {}
    for split, n in (("train", count), ("val", 3), ("test", 0)):
        content[f"{split}_images"] = RNG.integers(0, 256, (n, *shape), dtype=np.uint8)
        content[f"{split}_labels"] = (np.arange(n) % 3).astype(np.uint8)[:, None]
    np.savez_compressed(path, **(content | changes))
    return content


@pytest.mark.parametrize(("shape", "rank"), [((8, 8), 2), ((8, 8, 3), 2), ((8, 9, 10), 3)])
def test_medmnist(tmp_path, shape, rank):
    content = medmnist(tmp_path / "a.npz", shape)
    found = list_npz(tmp_path)
    assert found.spatial_rank == rank and list(found.splits) == ["train", "val"]  # the test split is empty
    assert found.class_names == ("0", "1", "2")
    stack = np.stack([entry.read()[0].pixels for entry in found.splits["train"]])
    np.testing.assert_array_equal(stack.reshape(12, *shape), content["train_images"])
    assert stack.ndim == rank + 2


def test_an_official_archive_has_the_names_of_its_classes(tmp_path):
    """By the name of the file and the number of its classes; another file has numbers."""
    images = RNG.integers(0, 256, (18, 28, 28, 3), dtype=np.uint8)
    for name, classes, first in (
        ("pathmnist", 9, "adipose"),
        ("pathmnist_64", 9, "adipose"),
        ("pathmnist", 3, "0"),
        ("pathmnist_balanced_subset", 9, "0"),
        ("mine", 9, "0"),
    ):
        path = tmp_path / f"{name}.npz"
        np.savez(path, train_images=images, train_labels=(np.arange(18) % classes)[:, None])
        found = list_npz(path).class_names
        assert found[0] == first and len(found) == classes
    # Names on a command line are parted by commas.
    known = json.loads((Path(official.__file__).parent / "medmnist_classes.json").read_text())
    assert all(official.is_name(name) and not any("," in label for label in names) for name, names in known.items())


def test_large_archives_are_mapped_not_loaded(tmp_path, monkeypatch):
    content = medmnist(tmp_path / "a.npz", (8, 8))
    monkeypatch.setattr(arrays, "MAX_DECODED_BYTES", 100)
    images = arrays.ArchiveFile(tmp_path / "a.npz").load("train_images")
    assert isinstance(images, np.memmap)
    np.testing.assert_array_equal(images, content["train_images"])


def test_plain_stacks(tmp_path):
    stack = RNG.normal(size=(5, 8, 9)).astype(np.float32)
    np.save(tmp_path / "s.npy", stack)
    np.testing.assert_array_equal(pixels(list_npz(tmp_path / "s.npy").splits["train"]), stack)
    np.savez(tmp_path / "s.npz", images=stack, labels=np.arange(5) % 2)
    assert list_npz(tmp_path / "s.npz").class_names == ("0", "1")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": np.zeros((12, 14), np.uint8)}, "14 labels an image"),
        ({"train_labels": np.zeros((3, 1), np.uint8)}, "do not fit"),
        ({"train_images": np.array(["x"] * 12)}, "no stack of images"),
        ({"train_images": np.zeros((12, 8))}, "no stack of images"),
    ],
)
def test_archives_that_make_no_sense(tmp_path, changes, message):
    medmnist(tmp_path / "a.npz", (8, 8), **changes)
    with pytest.raises(InputError, match=message):
        list_npz(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("shape", "rank", "message"),
    [
        ((3, 64, 64), None, "axis of 3 that looks like channels; .*--spatial_rank"),
        ((3, 64), None, "looks like channels"),
        ((3, 64, 64), 2, r"looks like channels; transpose them to \(N, H, W, C\) or \(N, D, H, W, C\)$"),
        ((3, 16, 16, 16), 3, "looks like channels"),
        ((64, 64, 5), None, "are volumes, or images of 5 channels; .*--spatial_rank"),
    ],
)
def test_stacks_of_more_than_one_reading_are_refused(tmp_path, shape, rank, message):
    np.save(tmp_path / "s.npy", np.zeros((2, *shape), np.uint8))
    with pytest.raises(InputError, match=rf"s\.npy: arrays of shape .* {message}"):
        list_npz(tmp_path / "s.npy", spatial_rank=rank)


@pytest.mark.parametrize(
    ("shape", "rank", "read"),
    [
        ((3, 64, 64), 3, (3, 64, 64, 1)),
        ((64, 64, 5), 3, (64, 64, 5, 1)),
        ((64, 64, 5), 2, (64, 64, 5)),
        ((5, 6, 7), None, (5, 6, 7, 1)),
        ((24, 24, 8), None, (24, 24, 8, 1)),
    ],
)
def test_a_given_rank_settles_the_reading(tmp_path, shape, rank, read):
    np.save(tmp_path / "s.npy", np.zeros((2, *shape), np.uint8))
    found = list_npz(tmp_path / "s.npy", spatial_rank=rank).splits["train"]
    assert len(found) == 2 and found[0].read()[0].pixels.shape == read


def test_damaged_archives(tmp_path):
    path = tmp_path / "a.npz"
    medmnist(path, (28, 28))
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(broken) // 4] ^= 255
    for content in (whole[: len(whole) // 2], b"PK nonsense", b"", bytes(broken)):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz"):
            list_npz(path)
    np.savez(tmp_path / "b.npz", weights=np.zeros(3))
    with pytest.raises(InputError, match="weights"):
        list_npz(tmp_path / "b.npz")


def test_several_archives_are_named(tmp_path):
    medmnist(tmp_path / "a.npz", (8, 8))
    medmnist(tmp_path / "b.npz", (8, 8))
    with pytest.raises(InputError, match=r"a\.npz, b\.npz"):
        list_npz(tmp_path)
