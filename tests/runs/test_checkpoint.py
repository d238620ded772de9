"""Checkpoints: what is restored is what was saved, or it is refused; the newest sound one is found."""

import contextlib
import json
import logging
import threading
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.errors import InputError
from jaxgan.gan.state import GANState, NetState
from jaxgan.runs.checkpoint import Checkpoints, DamagedCheckpoint, into_state
from jaxgan.runs.checkpoint_folder import find


def make_state(seed=0):
    rng = np.random.default_rng(seed)

    def network():
        params = {"layer": {"kernel": rng.normal(size=(3, 4)).astype(np.float32), "bias": np.zeros(4, np.float32)}}
        return NetState(params, {"mean": np.ones(4, np.float32)}, (np.int32(7), {"mu": params}))

    generator = network()
    return GANState(np.int32(5), np.array([1, 2], np.uint32), generator, network(), generator.params, generator.stats)


def save(folder, steps, keep=0, best=None):
    with Checkpoints(folder, keep, writable=True) as checkpoints:
        for step in steps:
            checkpoints.save(step, make_state(step), {"progress": {"best_step": best}, "number": 0.1}, best)


def damage(folder, step, name=None):
    """Flips one bit in the middle of the largest (or the named) file of a checkpoint."""
    files = [path for path in (folder / "checkpoints" / str(step)).rglob(name or "*") if path.is_file()]
    path = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_everything_comes_back_bit_for_bit(tmp_path):
    save(tmp_path, [10])
    with Checkpoints(tmp_path) as checkpoints:
        arrays, record = checkpoints.read(10)
    state = into_state(arrays, make_state(99))
    jax.tree.map(np.testing.assert_array_equal, state, make_state(10))
    assert jax.tree.structure(state) == jax.tree.structure(make_state())
    assert record["number"] == 0.1


def test_reading_says_nothing_in_orbax_words(tmp_path, caplog):
    save(tmp_path, [1])
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.WARNING)  # As a user's Python has it.
    caplog.clear()
    try:
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.read(1)
        assert not caplog.records and logger.level == logging.WARNING
    finally:
        logger.setLevel(before)


def test_a_damaged_checkpoint_is_noticed_and_passed_over_with_a_warning(tmp_path):
    save(tmp_path, [10, 20, 30])
    damage(tmp_path, 30)
    with Checkpoints(tmp_path) as checkpoints:
        with pytest.raises(DamagedCheckpoint):
            checkpoints.read(30)
        with pytest.warns(UserWarning, match="30 is damaged"):
            step, arrays, _ = checkpoints.read_newest()
    assert step == 20
    jax.tree.map(np.testing.assert_array_equal, into_state(arrays, make_state()), make_state(20))


@pytest.mark.parametrize("trial", range(6))
def test_no_flipped_bit_passes_unnoticed(tmp_path, trial):
    """Either the reader refuses the file, or our checksum does, or the bit was of no consequence."""
    save(tmp_path, [10])
    files = sorted(path for path in (tmp_path / "checkpoints" / "10").rglob("*") if path.is_file())
    sizes = np.array([path.stat().st_size for path in files])
    rng = np.random.default_rng(trial)
    path = files[rng.choice(len(files), p=sizes / sizes.sum())]
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)
    with Checkpoints(tmp_path) as checkpoints, contextlib.suppress(DamagedCheckpoint):
        arrays, _ = checkpoints.read(10)
        jax.tree.map(np.testing.assert_array_equal, into_state(arrays, make_state()), make_state(10))


def test_a_changed_record_is_noticed(tmp_path):
    save(tmp_path, [10])
    path = tmp_path / "checkpoints" / "10" / "meta" / "metadata"
    record = json.loads(path.read_text())
    record["number"] = 0.2
    path.write_text(json.dumps(record))
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(DamagedCheckpoint, match="seal"):
        checkpoints.meta(10)


def test_all_damaged_is_an_error_that_names_the_folder(tmp_path):
    save(tmp_path, [10])
    damage(tmp_path, 10)
    with Checkpoints(tmp_path) as checkpoints, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(InputError, match="all 1 are damaged"):
            checkpoints.read_newest()


def test_the_newest_and_the_best_are_kept(tmp_path):
    save(tmp_path, [1, 2, 3, 4, 5], keep=2, best=2)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [2, 4, 5]


def test_zero_keeps_all(tmp_path):
    save(tmp_path, [1, 2, 3, 4], keep=0)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps() == [1, 2, 3, 4]


def test_a_step_is_never_silently_skipped(tmp_path):
    save(tmp_path, [5])
    with Checkpoints(tmp_path, writable=True) as checkpoints, pytest.raises((RuntimeError, ValueError)):
        checkpoints.save(5, make_state(1), {}, None)


def test_a_save_holds_nobody_up_but_the_next_one(tmp_path, monkeypatch):
    """So at most one copy of the state waits for the disk, and a stop waits for at most one save."""
    with Checkpoints(tmp_path, writable=True) as checkpoints:
        free, finalize = threading.Event(), checkpoints._manager._finalize_checkpoint

        def finalize_late(step):
            assert free.wait(60)
            finalize(step)

        monkeypatch.setattr(checkpoints._manager, "_finalize_checkpoint", finalize_late)
        checkpoints.save(1, make_state(1), {}, None)
        assert not (tmp_path / "checkpoints" / "1").exists()  # It has returned before its files are complete.
        second = threading.Thread(target=checkpoints.save, args=(2, make_state(2), {}, None))
        second.start()
        second.join(0.5)
        assert second.is_alive() and not list((tmp_path / "checkpoints").glob("2*"))
        free.set()
        second.join(60)
        assert (tmp_path / "checkpoints" / "1").is_dir()
    assert (tmp_path / "checkpoints" / "2").is_dir()


def test_a_leftover_of_an_interrupted_save_is_no_checkpoint(tmp_path):
    save(tmp_path, [5])
    (tmp_path / "checkpoints" / "9.orbax-checkpoint-tmp").mkdir()
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.read_newest()[0] == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s._replace(augment=np.ones(2)), "no array augment"),
        (lambda s: s._replace(key=np.zeros(3, np.uint32)), r"uint32\[2\].*needs uint32\[3\]"),
        (lambda s: s._replace(key=np.zeros(2, np.int32)), "needs int32"),
        (lambda s: s._replace(ema_stats={}), "ema_stats/mean is not in this model"),
    ],
)
def test_another_structure_is_refused_by_the_name_of_the_array(tmp_path, change, message):
    save(tmp_path, [5])
    with Checkpoints(tmp_path) as checkpoints:
        arrays, _ = checkpoints.read(5)
    with pytest.raises(InputError, match=message):
        into_state(arrays, change(make_state()))


def test_find_understands_runs_folders_and_steps(tmp_path):
    save(tmp_path, [5, 10])
    assert find(tmp_path) == (tmp_path, None, False)
    assert find(tmp_path, "best") == (tmp_path, None, True)
    assert find(tmp_path / "checkpoints", 10) == (tmp_path, 10, False)
    assert find(tmp_path / "checkpoints" / "5") == (tmp_path, 5, False)
    for path, step, message in (
        (tmp_path, 7, "has no step 7: it has 5, 10"),
        (tmp_path, "last", "give latest, best or a number"),
        (tmp_path / "nowhere", "latest", "not a run"),
    ):
        with pytest.raises(InputError, match=message):
            find(path, step)
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    with pytest.raises(InputError, match="no checkpoint yet"):
        find(tmp_path / "empty")


def test_device_arrays_and_numpy_arrays_save_alike(tmp_path):
    with Checkpoints(tmp_path, writable=True) as checkpoints:
        checkpoints.save(1, jax.tree.map(np.asarray, jax.tree.map(jnp.asarray, make_state(3))), {}, None)
    with Checkpoints(tmp_path) as checkpoints:
        arrays, _ = checkpoints.read(1)
    jax.tree.map(np.testing.assert_array_equal, into_state(arrays, make_state()), make_state(3))
