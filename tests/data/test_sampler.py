"""The order of samples: every sample once an epoch, whatever the batch; a pure function of seed and step."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.config.timetable import Timetable
from jaxgan.data.sampler import Sampler


def each(count):
    """Iterations of one critic update with so many reals."""
    return Timetable(((1, count),))


@given(size=st.integers(1, 40), per_iteration=st.integers(1, 60), seed=st.integers(0, 2**31 - 1))
def test_an_epoch_draws_every_sample_once(size, per_iteration, seed):
    sampler = Sampler(size, seed, each(per_iteration))
    iterations = -(-3 * size // per_iteration)
    line = np.concatenate([sampler.indices(step)[0] for step in range(iterations)])
    for epoch in range(3):
        np.testing.assert_array_equal(np.sort(line[epoch * size : (epoch + 1) * size]), np.arange(size))


@given(step=st.integers(0, 10**6), seed=st.integers(0, 2**31 - 1))
def test_the_order_is_a_pure_function_of_seed_and_step(step, seed):
    walked = Sampler(17, seed, each(5))
    walked.indices(step + 3)
    walked.indices(0)
    np.testing.assert_array_equal(walked.indices(step), Sampler(17, seed, each(5)).indices(step))


def test_seeds_and_epochs_differ():
    first = Sampler(1000, 0, each(1000))
    assert np.any(first.indices(0) != first.indices(1))
    assert np.any(first.indices(0) != Sampler(1000, 1, each(1000)).indices(0))


def test_the_order_never_changes():
    """A resumed run of an older version would otherwise see other samples."""
    np.testing.assert_array_equal(Sampler(10, 7, each(12)).indices(3), [[6, 9, 8, 4, 8, 6, 1, 0, 3, 4, 2, 5]])


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(0, 1000))
def test_balanced_epochs_hold_every_class_equally_and_every_sample_nearly_so(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    probe = Sampler(len(labels), seed, each(1), labels)
    sampler = Sampler(len(labels), seed, each(probe.epoch_size), labels)
    epochs = np.concatenate([sampler.indices(step)[0] for step in range(4)])
    for epoch in np.split(epochs, 4):
        drawn = np.bincount(labels[epoch], minlength=len(counts))
        assert np.ptp(drawn) == 0
    for c in range(len(counts)):
        uses = np.bincount(epochs, minlength=len(labels))[labels == c]
        assert np.ptp(uses) <= 1


def test_the_line_goes_on_where_the_batches_change():
    """Two iterations of 2 times 3, then one update of 4 each: the same line of samples, cut otherwise."""
    sampler = Sampler(9, 3, Timetable(((2, 3), (1, 4)), (0, 2), (0, 0)))
    cut = [sampler.indices(step) for step in range(5)]
    assert [part.shape for part in cut] == [(2, 3)] * 2 + [(1, 4)] * 3
    whole = Sampler(9, 3, each(24)).indices(0)[0]
    np.testing.assert_array_equal(np.concatenate([part.reshape(-1) for part in cut]), whole)
