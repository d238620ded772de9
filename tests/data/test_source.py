"""Sources: what reaches the step is what the sampler chose, decoded; the one that fits the memory is chosen."""

import jax
import numpy as np
import pytest

from jaxgan import parallel
from jaxgan.config.timetable import Timetable
from jaxgan.data.dataset import from_arrays
from jaxgan.data.sampler import Sampler
from jaxgan.data.scaling import Scaling
from jaxgan.data.source import SOURCES, ResidentSource, ShardedSource, StreamingSource, open_source

N_CRITIC, BATCH = 2, 8
TIMETABLE = Timetable(((N_CRITIC, BATCH),))


def make(dtype, size=21):
    rng = np.random.default_rng(0)
    images = (rng.random((size, 3, 2, 1)) * 60000).astype(dtype) + np.asarray(33, dtype)
    scaling = Scaling(np.dtype(dtype).name, float(images.min()), float(images.max()))
    return images, from_arrays("random", images, rng.integers(0, 3, size), scaling=scaling)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("kind", SOURCES)
def test_the_step_gets_the_chosen_samples_in_order_from_any_step_on(kind, dtype):
    images, dataset = make(dtype)
    source = open_source(dataset, kind, 1e9, 5, TIMETABLE, balanced=False)
    sampler = Sampler(21, 5, TIMETABLE)

    def load_batch(state, data, batch_refs, count):
        # The second critic update of the last iteration asked for.
        images, labels = source.load_batch(data, jax.tree.map(lambda leaf: leaf[1, 1], batch_refs))
        return jax.lax.all_gather(images, parallel.AXIS), jax.lax.all_gather(labels, parallel.AXIS)

    mapped = parallel.map_train(load_batch, data_axes=source.data_axes)
    for step in (0, 2, 7, 4):  # On, skipping ahead, and back.
        batch_refs = parallel.split_batch(source.batch_refs(step, 2, 3))
        got, labels = mapped((np.zeros(()), np.zeros(())), source.data, batch_refs, 2)
        wanted = sampler.indices(step + 1)[1]
        np.testing.assert_array_equal(np.reshape(labels, -1), dataset.labels[wanted])
        decoded = np.asarray(dataset.scaling.decode(images[wanted]))
        np.testing.assert_allclose(np.reshape(got, decoded.shape), decoded, atol=1e-6)
    source.close()


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_all_sources_give_the_same_bits(dtype):
    _, dataset = make(dtype)
    given = {}
    for kind in SOURCES:
        source = open_source(dataset, kind, 1e9, 5, TIMETABLE, balanced=True)

        def load_batch(state, data, batch_refs, count, source=source):
            images, labels = source.load_batch(data, jax.tree.map(lambda leaf: leaf[0, 0], batch_refs))
            return jax.lax.all_gather(images, parallel.AXIS), jax.lax.all_gather(labels, parallel.AXIS)

        mapped = parallel.map_train(load_batch, data_axes=source.data_axes)
        given[kind] = []
        for step in (0, 9):
            batch_refs = parallel.split_batch(source.batch_refs(step, 1, 1))
            images, labels = mapped((np.zeros(()), np.zeros(())), source.data, batch_refs, 1)
            given[kind].append((np.asarray(images).tobytes(), np.asarray(labels).tobytes()))
        source.close()
    assert given["resident"] == given["sharded"] == given["streaming"]
    assert given["resident"][0] != given["resident"][1]


def test_draws_beyond_the_count_are_zero_and_the_shape_stays():
    for kind in SOURCES:
        source = open_source(make(np.uint8)[1], kind, 1e9, 5, TIMETABLE, balanced=False)
        for leaf in jax.tree.leaves(source.batch_refs(0, 1, 3)):
            assert leaf.shape[:3] == (3, N_CRITIC, BATCH) and not leaf[1:].any()
        source.close()


def test_the_largest_kind_that_fits_is_chosen():
    dataset = make(np.uint8, size=400)[1]
    assert dataset.nbytes == 2400 and parallel.device_count() == 4
    for budget, kind in ((2400, ResidentSource), (2399, ShardedSource), (600, ShardedSource), (599, StreamingSource)):
        source = open_source(dataset, "auto", budget, 0, Timetable(((1, 4),)), balanced=False)
        assert type(source) is kind
        source.close()


def test_streaming_passes_errors_of_reading_on():
    images, _ = make(np.uint8)

    def read(indices):
        raise OSError("disk gone")

    source = StreamingSource(from_arrays("x", images), Sampler(21, 0, TIMETABLE))
    object.__setattr__(source._dataset, "read", read)
    with pytest.raises(OSError, match="disk gone"):
        source.batch_refs(0, 1, 1)
    source.close()
