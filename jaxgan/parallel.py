"""The only file that names pmap, meshes, process indices or collectives over hosts.

The state has no replica axis: `pmap` takes it with `in_axes=None` and gives it back with `out_axes=None`, so that one
device and many run the same code and a checkpoint does not know how many there were.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.errors import InputError, one_line
from jaxgan.processes import ending, job
from jaxgan.processes.cluster import find_place

Tree = Any

# The axis that `pmap` maps; networks (synchronised batch norm) and the step (mean gradients) are built with this name.
AXIS = "devices"
# How long JAX waits at the end for processes that are still at work.
_SHUTDOWN_SECONDS = 60
_LONGEST_VALUE = 1 << 18


def initialize() -> None:
    """Joins the other processes of a job; does nothing in a job of one process.

    Which job that is, `cluster.find_place` reads from the environment. All processes meet first, and check that they
    fit together (`job.join`); then JAX connects them. Call before anything touches a device.

    Raises:
      InputError: the environment describes half a job.
      JobFailed: a process is missing, there twice, or of another version.
    """
    place = find_place(os.environ)
    if place is None:
        return
    seconds = float(os.environ.get("JAXGAN_JOIN_SECONDS", "") or job.JOIN_SECONDS)
    joined = job.join(place.address, place.count, place.index, _versions(), ending.end_with, seconds)
    ending.before_ending(joined.fail)
    atexit.register(joined.leave)  # Before JAX's own farewell, which waits for those that are still at work.
    address = place.address
    if place.index:
        host, _, port = address.rpartition(":")
        address = job.Forwarder(host.strip("[]"), int(port)).address
    # JAX's own notice of preemption wants SIGTERM too; `ending` has it, and `any_process` shares it.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        address,
        place.count,
        place.index,
        local_device_ids=place.devices,
        # Without detection: a cluster found around us would limit the process to one of its devices.
        cluster_detection_method="deactivate",
        initialization_timeout=int(seconds) + 1,
        shutdown_timeout_seconds=_SHUTDOWN_SECONDS,
    )


def _versions() -> dict[str, str]:
    names = ("jaxgan", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    found = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def is_main_process() -> bool:
    """Whether this process writes logs, samples and messages."""
    return jax.process_index() == 0


def agree(what: str, facts: Mapping[str, Any]) -> None:
    """Returns if all processes of the job have the same facts.

    Args:
      what: names them all, for messages.
      facts: by name, for JSON.

    Raises:
      JobFailed: in every process, with the first that differs.
    """
    everybody = [json.loads(text) for text in _exchange(f"comparing {what}", json.dumps(facts))]
    for index, other in enumerate(everybody):
        for name in everybody[0] | other:
            mine, theirs = everybody[0].get(name), other.get(name)
            if mine != theirs:
                reason = (
                    f"process {index} of {len(everybody)} and process 0 were started with different {what}: {name} is"
                    f" {theirs!r} and {mine!r}; give all the same"
                )
                raise job.JobFailed(reason) if job.current is None else job.current.refuse(reason)


def check_same_folder(file: Path, seconds: float = 30.0) -> None:
    """Returns if all processes of the job see the main process's file as it has written it.

    Args:
      file: of which the main process has just written the content.
      seconds: how long to look: network storage may show a new file late.

    Raises:
      InputError: a process sees another file or none: the folder is not one that all share.
    """
    if jax.process_count() == 1:
        return
    written = _exchange("looking at the folder", file.read_text() if is_main_process() else "")[0]
    end = time.monotonic() + seconds
    while not (file.exists() and file.read_text() == written):
        if time.monotonic() > end:
            raise InputError(
                f"{file.parent} is not the same folder on this host ({socket.gethostname()}) as in process 0: choose"
                " one on storage that all hosts see"
            )
        time.sleep(0.5)
    _exchange("all see the folder")


def any_process(flag: bool) -> bool:
    """Whether `flag` is set in any process of the job; every process must call this equally often."""
    return flag if jax.process_count() == 1 else "1" in _exchange("asking who stops", str(int(flag)))


def from_main_process(values: dict[str, float]) -> dict[str, float]:
    """The main process's values, as float32, in every process; all must call it with the same names."""
    if jax.process_count() == 1:
        return values
    exact = [float(np.float32(value)) for value in values.values()]
    shared = json.loads(_exchange(f"sharing {', '.join(values)}", json.dumps(exact))[0])
    return dict(zip(values, shared, strict=True))


def main_process_first(work: Callable[[], Any]) -> Any:
    """`work()`, in the other processes only after the main one: what it prepares on shared storage they find ready.

    Where it raises in one process the others hear of it, see `sharing_failure`.
    """
    if jax.process_count() == 1:
        return work()
    result = work() if is_main_process() else None
    _exchange("waiting for the main process")
    return result if is_main_process() else work()


@contextlib.contextmanager
def sharing_failure() -> Iterator[None]:
    """What is raised within the block ends the other processes of the job too, with one line that says so."""
    try:
        yield
    except BaseException as error:
        if job.current is not None and not isinstance(error, job.JobFailed) and not getattr(error, "agreed", False):
            job.current.fail(one_line(error))
        raise


def _exchange(what: str, value: str = "") -> list[str]:
    """Every process's value, by process; raises `JobFailed` when one of them fails or is lost."""
    if job.current is not None:
        return job.current.exchange(what, value)
    if jax.process_count() == 1:
        return [value]
    # Whoever called `jax.distributed.initialize` by themselves: JAX's way, which knows of no failure.
    from jax.experimental import multihost_utils

    room = np.zeros(_LONGEST_VALUE, np.uint8)
    content = np.frombuffer(value.encode(), np.uint8)
    room[: len(content)] = content
    return [row.tobytes().rstrip(b"\0").decode() for row in multihost_utils.process_allgather(room)]


def process_count() -> int:
    """Processes of the whole job."""
    return jax.process_count()


def device_count() -> int:
    """Devices of the whole job."""
    return jax.device_count()


def check_batch_size(batch_size: int, accumulate: int = 1, devices: int | None = None) -> None:
    """Raises `InputError` unless the global batch divides by the number of devices, and each share into its parts.

    Args:
      batch_size: of all devices.
      accumulate: parts of a device's share.
      devices: how many; None: as many as the job has.
    """
    devices = devices or device_count()
    if batch_size % (devices * accumulate) and not batch_size % devices:
        raise InputError(
            f"config.train.accumulate={accumulate} does not divide a device's {batch_size // devices} samples"
            f" (config.train.batch_size={batch_size} on {devices} devices): choose a divisor of them"
        )
    if batch_size % devices:
        lower = batch_size - batch_size % devices
        near = f"{lower} or {lower + devices}" if lower else str(devices)
        raise InputError(f"config.train.batch_size={batch_size} does not divide by the {devices} devices: use {near}")


def _devices(count: int | None) -> list[jax.Device]:
    return jax.local_devices()[:count]


def map_train(
    train_many: Callable[[Tree, Tree, Tree, Any], tuple[Tree, Tree]], devices: int | None = None, data_axes: Tree = None
) -> jax.stages.Wrapped:
    """`train_many(state, data, batch_refs, count)` over this process's devices: one compiled, donated program.

    The returned function takes `batch_refs` as `split_batch` lays them out; state, metrics and count are replicated.
    The state's buffers are given away: use the returned state only.

    Args:
      train_many: written for one device, with `AXIS` as its mapped axis.
      devices: only the first so many; None: all. The functions below must be told the same.
      data_axes: which of `data`'s arrays have a leading axis over devices (0, see `shard_rows`) and which are
        replicated (None).
    """
    return jax.pmap(
        train_many,
        axis_name=AXIS,
        devices=None if devices is None else _devices(devices),
        in_axes=(None, data_axes, 0, None),
        out_axes=(None, None),
        donate_argnums=0,
    )


def shard_train(
    train_many: Callable[[Tree, Tree, Tree, Any], tuple[Tree, Tree]],
    devices: Sequence[jax.Device] | None = None,
    data_axes: Tree = None,
) -> jax.stages.Wrapped:
    """The twin of `map_train` as `jit(shard_map)`: same arguments, same bits, and `.lower` also for devices that are
    only described (see `benchmark.targets`), from arguments that have shapes alone.

    Args:
      train_many: written for one device, with `AXIS` as its mapped axis.
      devices: of one process, or of a described topology; None: all of this process.
      data_axes: as for `map_train`.
    """
    mesh = jax.sharding.Mesh(np.asarray(_devices(None) if devices is None else devices), (AXIS,))

    def no_axis(leaf: Any) -> bool:
        return leaf is None

    def one_device(state: Tree, data: Tree, batch_refs: Tree, count: Any) -> tuple[Tree, Tree]:
        def mine(axis: int | None, tree: Tree) -> Tree:
            # What pmap takes away, shard_map leaves as an axis of length one.
            return tree if axis is None else jax.tree.map(lambda leaf: leaf[0], tree)

        data = jax.tree.map(mine, data_axes, data, is_leaf=no_axis)
        return train_many(state, data, mine(0, batch_refs), count)

    whole, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(AXIS)
    of_data = jax.tree.map(lambda axis: whole if axis is None else split, data_axes, is_leaf=no_axis)
    arguments, results = (whole, of_data, split, whole), (whole, whole)
    # Without check_vma=False the mean of the gradients would come out as many times too large as there are devices.
    mapped = jax.shard_map(one_device, mesh=mesh, in_specs=arguments, out_specs=results, check_vma=False)
    placed = partial(jax.tree.map, partial(jax.sharding.NamedSharding, mesh))
    return jax.jit(mapped, in_shardings=placed(arguments), out_shardings=placed(results), donate_argnums=0)


def local_batch(batch_size: int) -> slice:
    """Which part of every global batch this process feeds."""
    share = batch_size // jax.process_count()
    return slice(jax.process_index() * share, (jax.process_index() + 1) * share)


def split_batch(batch_refs: Tree, devices: int | None = None) -> Tree:
    """`[K, n_critic, b, ...]` of this process as `[devices, K, n_critic, b / devices, ...]`, on its way to them."""
    count = len(_devices(devices))

    def split(leaf: np.ndarray) -> np.ndarray:
        k, n, b = leaf.shape[:3]
        return np.moveaxis(leaf.reshape(k, n, count, b // count, *leaf.shape[3:]), 2, 0)

    return _spread(jax.tree.map(split, batch_refs), devices)


def replicate(tree: Tree, devices: int | None = None) -> Tree:
    """Arrays on every device of this process, so that a mapped call need not move them again."""
    mesh = jax.sharding.Mesh(np.asarray(_devices(devices)), (AXIS,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.device_put(tree, sharding)


def shard_rows(size: int, read: Callable[[np.ndarray], np.ndarray]) -> jax.Array:
    """`[size, ...]` spread over all devices of the job: this process's part, `[local devices, rows, ...]`.

    Args:
      size: number of rows.
      read: `read(indices [n]) -> [n, ...]`; asked for this process's rows only.
    """
    rows, local = -(-size // device_count()), jax.local_device_count()
    mine = jax.process_index() * local * rows + np.arange(local * rows)
    # What stands beyond the end is never asked for.
    blocks = read(np.minimum(mine, size - 1))
    return _spread(blocks.reshape(local, rows, *blocks.shape[1:]))


def _spread(tree: Tree, devices: int | None = None) -> Tree:
    mesh = jax.sharding.Mesh(np.asarray(_devices(devices)), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS)))


def gather_rows(shard: jax.Array, indices: jax.Array) -> jax.Array:
    """Inside a mapped function: rows of the array that `shard_rows` spread, wherever they lie.

    Every device picks what it has of what all devices ask for, and the sums, each of one row and zeros, are scattered
    to those who asked.

    Args:
      shard: `[rows, ...]`, this device's block.
      indices: int32 `[B]`, the rows that this device wants, by their place in the whole array.

    Returns:
      `[B, ...]` in the dtype of the shard.
    """
    rows = len(shard)
    local = lax.all_gather(indices, AXIS) - lax.axis_index(AXIS) * rows
    here = (local >= 0) & (local < rows)
    values = shard[jnp.clip(local, 0, rows - 1)]
    # Integers travel as bytes: the collectives of some backends know no 16-bit integers.
    integers = jnp.issubdtype(shard.dtype, jnp.integer) and shard.dtype.itemsize > 1
    if integers:
        values = lax.bitcast_convert_type(values, jnp.uint8)
    chosen = jnp.where(here.reshape(here.shape + (1,) * (values.ndim - 2)), values, jnp.zeros((), values.dtype))
    gathered = lax.psum_scatter(chosen, AXIS)
    return lax.bitcast_convert_type(gathered, shard.dtype) if integers else gathered


def to_host(tree: Tree) -> Tree:
    """Replicated device arrays as NumPy arrays: what checkpoints and samples are made of."""
    return jax.tree.map(np.asarray, tree)


def peak_memory(devices: int | None = None) -> int:
    """Most bytes in use at once so far on any of the devices; 0 where the backend does not count (CPU)."""
    counts = [device.memory_stats() or {} for device in _devices(devices)]
    return max(count.get("peak_bytes_in_use", 0) for count in counts)


def say(message: str, passing: bool = False) -> None:
    """One line for people, from the main process, that does not tear the progress bar.

    Args:
      message: without the end of the line.
      passing: it tells of progress, as the bar does, and goes to stderr with it; else it is a result.
    """
    if is_main_process():
        from tqdm import tqdm  # Here, so that the benchmark runs on a bare image.

        tqdm.write(message, file=sys.stderr if passing else sys.stdout)
