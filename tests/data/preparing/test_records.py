"""The fast reader gives what tfds gives, in any order, from any number of files and threads."""

import concurrent.futures
import pickle
import tempfile

import numpy as np
import pytest

from jaxgan.data.preparing.records import RecordReader, find_shards, write_records
from jaxgan.errors import InputError

RNG = np.random.default_rng()


@pytest.mark.parametrize("shape", [(3,), (5, 5, 1), (11, 12, 1), (64, 64, 4), (16, 16, 16, 1)])
@pytest.mark.parametrize("classes", [0, 3, 300])
def test_agrees_with_tfds(tmp_path, shape, classes):
    import tensorflow_datasets as tfds

    images = RNG.integers(-300, 300, (9, *shape)).astype(np.int16)
    labels = RNG.integers(0, classes, 9) if classes else None
    names = tuple(str(c) for c in range(classes))
    folder = write_records(tmp_path, "some_set", "c", {"train": (images, labels), "test": (images[:2], labels)}, names)
    reader = RecordReader(find_shards(folder, "train", 9), shape, images.dtype)
    order = RNG.integers(0, 9, 30)
    np.testing.assert_array_equal(reader(order), images[order])
    source = tfds.builder_from_directory(str(folder)).as_data_source("train")
    for i in (0, 8):
        np.testing.assert_array_equal(source[i]["image"], images[i])
        assert labels is None or source[i]["label"] == labels[i]
    assert len(RecordReader(find_shards(folder, "test", 2), shape, images.dtype)) == 2


def test_nothing_is_left_among_the_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    write_records(tmp_path, "some_set", "c", {"train": (np.zeros((3, 2, 2, 1), np.uint8), None)})
    assert not list((tmp_path / "temporary").iterdir())


def test_several_files_threads_and_processes(tmp_path):
    images = RNG.normal(size=(40, 6, 6, 1)).astype(np.float32)
    shards = []
    for i in range(3):
        folder = write_records(
            tmp_path, f"part{i}", "c", {"train": (images[i * 10 : i * 10 + 10 + 10 * (i == 2)], None)}
        )
        shards += find_shards(folder, "train", 10 + 10 * (i == 2))
    reader = RecordReader(shards, (6, 6, 1), np.float32)
    orders = [RNG.permutation(40)[:17] for _ in range(50)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for order, read in zip(orders, pool.map(reader, orders), strict=True):
            np.testing.assert_array_equal(read, images[order])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader))(orders[0]), images[orders[0]])
    assert reader(np.array([], np.int64)).shape == (0, 6, 6, 1)
    assert reader(np.array([0])).flags.writeable


def test_wrong_indices_and_damaged_files_are_said(tmp_path):
    images = RNG.normal(size=(10, 6, 6, 1)).astype(np.float32)
    folder = write_records(tmp_path, "set", "c", {"train": (images, None)})
    shards = find_shards(folder, "train", 10)
    with pytest.raises(IndexError, match="0, 10"):
        RecordReader(shards, (6, 6, 1), np.float32)(np.array([10]))
    with pytest.raises(InputError, match="damaged"):
        RecordReader(shards, (6, 7, 1), np.float32)(np.array([1]))
    shards[0][0].write_bytes(b"nonsense" * 100)
    with pytest.raises(InputError, match="damaged"):
        RecordReader(shards, (6, 6, 1), np.float32)(np.array([1]))
