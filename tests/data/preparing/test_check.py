"""`check` finds what is planted, and nothing in a sound set."""

import dataclasses
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from jaxgan.data.dataset import from_arrays
from jaxgan.data.listing.archives import stack_entries
from jaxgan.data.listing.collection import Collection
from jaxgan.data.preparing.check import _near_duplicates, check, write_preview
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import Policy, prepare
from jaxgan.pictures import grid

RNG = np.random.default_rng()


def examine(tmp_path, images, labels=None, classes=(), policy=None):
    entries = stack_entries(tmp_path / "stack", images, labels)
    collection = Collection(tmp_path, images.ndim - 2, {"train": entries}, classes)
    return check(prepare(collection, tmp_path / "out", "set", Conversion(), policy))


def noise(count=12, shape=(16, 16, 1)):
    return RNG.integers(0, 256, (count, *shape), dtype=np.uint8)


def line(report, start):
    return next(text for text in report.lines if text.startswith(start))


@pytest.mark.parametrize("shape", [(16, 16, 1), (16, 12, 3), (9, 10, 11, 1)])
def test_a_sound_set_has_no_problems_and_a_preview(tmp_path, shape):
    images = noise(12, shape)
    report = examine(tmp_path, images, np.arange(12) % 2, ("a", "b"))
    assert report.problems == ()
    assert (
        "12 (train 12)" in line(report, "samples")
        and line(report, "classes") == "classes: a 6, b 6 (largest to smallest 1)"
    )
    assert f"{images.min()} to {images.max()}" in line(report, "values")
    assert line(report, "near").endswith("0 pairs")
    expected = grid(images.astype(np.float32) / 127.5 - 1)
    picture = np.asarray(Image.open(report.preview)).astype(int)
    np.testing.assert_allclose(picture.reshape(expected.shape), expected.astype(int), atol=1)


def test_the_preview_shows_volumes_as_anatomists_see_them(tmp_path):
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    images = noise(2, (9, 10, 11, 1))
    dataset = dataclasses.replace(from_arrays("x", images), affine=affine)
    write_preview(dataset, tmp_path / "preview.png")
    drawn = np.asarray(Image.open(tmp_path / "preview.png"))
    samples = np.asarray(dataset.scaling.decode(images))
    np.testing.assert_array_equal(drawn, grid(samples, affine=affine)[..., 0])
    assert not np.array_equal(drawn, grid(samples)[..., 0])


def test_what_is_planted_is_found(tmp_path):
    images = noise(12)
    images[3] = 77
    images[7] = images[5]
    images[9] = images[1]
    images[9, 0, 0] ^= 1
    report = examine(tmp_path, images, np.zeros(12, int), ("a", "b"))
    text = "\n".join(report.problems)
    assert "1 constant images, e.g. train 3" in text
    assert "1 exact duplicates, e.g. train 5" in text and "train 7" in text
    assert "class b has no samples" in text and len(report.problems) == 3
    assert "1 pairs, e.g. train 1" in line(report, "near") and "train 9" in line(report, "near")


def test_many_twins_take_no_memory_for_their_pairs():
    thumbnails = RNG.normal(size=(2000, 4)).astype(np.float32)
    thumbnails[:] = thumbnails[0] / np.linalg.norm(thumbnails[0])
    twins, sources = [[*range(1, 1000)], [*range(1001, 2000)]], [str(i) for i in range(2000)]
    tracemalloc.start()
    text = _near_duplicates(thumbnails, twins, sources, 2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All pairs but those within the two groups of 999.
    assert text.endswith(f"{2000 * 1999 // 2 - 999 * 998} pairs, e.g. 0 and 1")
    assert peak < 30e6, peak


def test_flat_and_clipped_scalings_are_found(tmp_path):
    images = noise() // 64
    assert "prepare with --scaling minmax" in examine(tmp_path, images).problems[0]
    report = examine(tmp_path, noise(), policy=Policy(low=0.0, high=100.0))
    assert "are clipped" in report.problems[0]
