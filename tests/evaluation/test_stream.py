"""Batches: any sizes in, one size out, nothing lost; wrong values refused in one line."""

import numpy as np
import pytest

from jaxgan.errors import InputError
from jaxgan.evaluation.stream import Reservoir, peek, rebatch


def uniform(count, shape=(4, 4, 1)):
    return np.random.default_rng().uniform(-1, 1, (count, *shape)).astype(np.float32)


def test_rebatching_keeps_order_labels_and_positions():
    images, labels = uniform(23), np.arange(23)
    parts = [(images[a:b], labels[a:b]) for a, b in ((0, 1), (1, 9), (9, 9), (9, 23))]
    batches = list(rebatch("real", parts, 5, (4, 4, 1)))
    assert [b.count for b in batches] == [5, 5, 5, 5, 3]
    assert {b.images.shape for b in batches} == {(5, 4, 4, 1)}
    np.testing.assert_array_equal(np.concatenate([b.images[: b.count] for b in batches]), images)
    for column in ("labels", "positions"):
        np.testing.assert_array_equal(np.concatenate([getattr(b, column) for b in batches]), labels)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x: x * 1.5 + 0.5, "outside the declared range"),
        (lambda x: np.where(x > 0.5, np.nan, x), "NaN or infinite"),
        (lambda x: (x * 100).astype(np.uint8), "give float32 in"),
        (lambda x: x[:, :3], "differ in shape"),
        (lambda x: x[..., 0], "give [N, H, W, C]"),
    ],
)
def test_wrong_images_are_refused(spoil, words):
    with pytest.raises(InputError) as error:
        list(rebatch("generated", [uniform(9), spoil(uniform(9))], 4, (4, 4, 1)))
    assert words in str(error.value)
    assert "generated" in str(error.value)


def test_no_images_are_refused():
    for empty in ([], [uniform(0)]):
        with pytest.raises(InputError, match="no real images"):
            peek("real", empty)
    shape, batches = peek("real", iter([uniform(0), uniform(2), uniform(3)]))
    assert shape == (2, 4, 4, 1)
    assert sum(len(b) for b in batches) == 5


def test_a_reservoir_keeps_short_streams_and_samples_long_ones_evenly():
    short = Reservoir(10)
    short.add(np.arange(4), np.arange(4) * 2)
    short.add(np.arange(4, 6), np.arange(4, 6) * 2)
    np.testing.assert_array_equal(short.columns()[0], np.arange(6))
    hits = np.zeros(100)
    for seed in range(300):
        long = Reservoir(20, seed)
        for start in range(0, 100, 7):
            block = np.arange(start, min(start + 7, 100))
            long.add(block, -block)
        first, second = long.columns()
        assert len(set(first)) == 20
        np.testing.assert_array_equal(first, -second)
        hits[first] += 1
    # Binomial(300, 0.2): mean 60, deviation 7.
    assert 25 < hits.min()
    assert hits.max() < 95
