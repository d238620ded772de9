"""When things are due, against counting epochs one iteration at a time."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxgan.config.timetable import Timetable
from jaxgan.training.schedule import Schedule


@given(
    per_iteration=st.integers(1, 300),
    size=st.integers(1, 1000),
    tenths=st.integers(1, 40),
    every=st.integers(0, 7),
    start=st.integers(0, 60),
)
def test_due_steps_are_those_at_which_a_multiple_is_passed(per_iteration, size, tenths, every, start):
    schedule = Schedule(Timetable(((1, per_iteration),)), size)
    interval = Fraction(tenths, 10)

    def passed(step):
        return Fraction(step * per_iteration, size) // interval

    def due(step):
        return passed(step) > passed(step - 1) or bool(every and step % every == 0)

    expected = next(step for step in range(start + 1, 10**6) if due(step))
    assert schedule.next_due(start, every, tenths / 10) == expected
    assert schedule.is_due(expected, every, tenths / 10)
    assert schedule.is_due(start + 1, every, tenths / 10) == (expected == start + 1)


def test_nothing_is_due_when_both_are_off():
    assert Schedule(Timetable(((1, 3),)), 10).next_due(5) == float("inf")


@given(per_iteration=st.integers(1, 300), size=st.integers(1, 1000), epochs=st.integers(1, 50))
def test_an_epoch_has_ended_at_its_step_and_not_before(per_iteration, size, epochs):
    schedule = Schedule(Timetable(((1, per_iteration),)), size)
    step = schedule.step_of(epochs)
    assert schedule.images(step) >= epochs * size > schedule.images(step - 1)


@pytest.mark.parametrize(("every", "expected"), [(1e-300, 6), (5e-324, 6), (1e300, math.inf), (1.7e308, math.inf)])
def test_intervals_of_any_size_are_computed_at_once(every, expected):
    assert Schedule(Timetable(((1, 3),)), 10).next_due(5, every_epochs=every) == expected


PARTS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 30), st.integers(1, 20)), min_size=1, max_size=4)


@given(parts=PARTS, size=st.integers(1, 300), tenths=st.integers(1, 40), start=st.integers(0, 100))
def test_batches_that_change_are_counted_as_one_by_one(parts, size, tenths, start):
    """A timetable of several parts, against adding up its iterations."""
    begins = [sum(length for _, _, length in parts[:k]) for k in range(len(parts))]
    timetable = Timetable(tuple((n, batch) for n, batch, _ in parts), tuple(begins), (0,) * len(parts))
    schedule = Schedule(timetable, size)

    def of(step):
        n, batch, _ = parts[max(k for k, begin in enumerate(begins) if begin <= step)]
        return n, batch

    for step in (0, 1, start):
        done = [of(s) for s in range(step)]
        assert timetable.layout(step) == of(step)
        assert schedule.images(step) == sum(n * batch for n, batch in done)
        assert timetable.generated(step) == sum(batch for _, batch in done)
        assert timetable.critic_updates(step) == sum(n for n, _ in done)
    interval = Fraction(tenths, 10)
    due = next(
        s for s in range(start + 1, 10**6) if _multiples(schedule, s, interval) > _multiples(schedule, s - 1, interval)
    )
    assert schedule.next_due(start, every_epochs=tenths / 10) == due
    assert schedule.images(schedule.step_of(tenths)) >= tenths * size > schedule.images(schedule.step_of(tenths) - 1)


def _multiples(schedule, step, interval):
    return Fraction(schedule.images(step), schedule.epoch_images) // interval
