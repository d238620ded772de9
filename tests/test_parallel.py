"""Placement: batches over devices, and a job of two processes that trains what one process trains."""

import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.build import build_gan
from jaxgan.gan.step import train_many
from jaxgan.processes import cluster
from jaxgan.runs.checkpoint import Checkpoints

pytestmark = pytest.mark.bits

ROOT = Path(__file__).parents[1]
TRAIN = """
import sys
import numpy as np
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[2]))
from jaxgan import parallel
parallel.initialize()
from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.training import drawing
from jaxgan.training.loop import train
drawing.make_figures = drawing.write_report = lambda run_dir: None  # They have tests of their own.
images = np.random.default_rng(0).integers(0, 256, (24, 8, 8, 1)).astype(np.uint8)
assert jax.device_count() == 4, jax.devices()
for source in sys.argv[3:]:
    config = Config.from_dict({
        "data": {"size": 8, "source": source},
        "generator": {"latent_dim": 5, "widths": [6, 4]}, "critic": {"widths": [4, 6]},
        "objective": {"loss": "wgan", "n_critic": 2}, "optimizer": {"name": "sgd", "lr": 0.01},
        "train": {"batch_size": 8, "iterations": 3, "num_samples": 4, "log_every_iterations": 1},
    })
    train(config, f"{sys.argv[1]}/{source}", from_arrays("noise", images))
"""


def start(folder, local_devices, *sources, **variables):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, str(folder), str(local_devices), *sources],
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def finish(process):
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0, output
    return output


def final_state(run):
    with Checkpoints(run) as checkpoints:
        step, arrays, _ = checkpoints.read_newest()
    assert step == 3
    return arrays


@pytest.mark.slow
def test_two_processes_train_what_one_does_from_every_source(tmp_path):
    """One process of four devices against two of two each, which go through the sources one after the other."""
    sources = ("resident", "sharded", "streaming")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    job = {"JAXGAN_COORDINATOR": address, "JAXGAN_PROCESSES": "2"}
    processes = [start(tmp_path / "two", 2, *sources, **job, JAXGAN_PROCESS=str(i)) for i in range(2)]
    for process in [start(tmp_path / "one", 4, "resident"), *processes]:
        finish(process)
    # That the sources give the same bits in one process is tested with the loop.
    expected = final_state(tmp_path / "one" / "resident")
    for source in sources:
        run = tmp_path / "two" / source
        got = final_state(run)
        assert got.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(got[name], array, rtol=1e-5, atol=1e-6, err_msg=f"{source}: {name}")
        assert len((run / "metrics.jsonl").read_text().splitlines()) == 3


def test_split_batch_gives_each_device_its_run_of_samples():
    batch_refs = np.arange(2 * 3 * 8).reshape(2, 3, 8)
    split = parallel.split_batch(batch_refs)
    assert split.shape == (4, 2, 3, 2)
    np.testing.assert_array_equal(split[1], batch_refs[:, :, 2:4])
    np.testing.assert_array_equal(parallel.split_batch(batch_refs, 1)[0], batch_refs)


@pytest.mark.parametrize(("size", "way_out"), [(6, "4 or 8"), (3, "use 4"), (9, "8 or 12")])
def test_a_batch_that_does_not_divide_names_those_that_do(size, way_out):
    assert jax.device_count() == 4
    with pytest.raises(InputError, match=f"batch_size={size}.*4 devices.*{way_out}"):
        parallel.check_batch_size(size)


def test_a_job_of_one_process_needs_no_connection(monkeypatch):
    monkeypatch.setattr(jax.distributed, "initialize", lambda *_, **__: pytest.fail("connected"))
    for name in (*cluster.ADDRESS, *cluster.COUNT, *cluster.INDEX):
        monkeypatch.delenv(name, raising=False)
    parallel.initialize()
    assert parallel.any_process(True) and not parallel.any_process(False)
    assert parallel.from_main_process({"a": 0.1}) == {"a": 0.1}
    parallel.agree("settings", {"a": 1})
    with pytest.raises(InputError), parallel.sharing_failure():
        raise InputError("none")


@pytest.mark.parametrize("spread", [False, True], ids=["resident", "sharded"])
def test_jit_of_shard_map_gives_the_bits_of_pmap(spread):
    """Two iterations with synchronised batch norm and SGD, whose parameter changes show any wrong scale."""
    config = Config.from_dict({
        "data": {"size": 8},
        "generator": {"latent_dim": 5, "widths": [6, 4], "norm": "batch"}, "critic": {"widths": [4, 6]},
        "objective": {"loss": "wgan", "n_critic": 2}, "optimizer": {"name": "sgd", "lr": 0.01},
        "train": {"batch_size": 8},
    })  # fmt: skip
    images = np.random.default_rng(0).uniform(-1, 1, (12, 8, 8, 1)).astype(np.float32)
    rows = np.random.default_rng(1).integers(0, 12, (2, 2, 8)).astype(np.int32)

    def load_batch(data, batch_ref):
        return parallel.gather_rows(data[0], batch_ref) if spread else data[0][batch_ref], None

    results = []
    for compile_ in (parallel.map_train, parallel.shard_train):
        gan, state = build_gan(config, axis_name=parallel.AXIS)
        data = parallel.shard_rows(12, images.__getitem__) if spread else parallel.replicate(images)
        program = compile_(partial(train_many, gan, load_batch), data_axes=(0 if spread else None,))
        results.append(program(parallel.replicate(state), (data,), parallel.split_batch(rows), 2))
    for one, other in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_array_equal(one, other)
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), build_gan(config)[1].critic.params,
                           results[0][0].critic.params)  # fmt: skip
    assert any(jax.tree.leaves(changed))
