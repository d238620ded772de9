"""One program over all devices, and arrays on their way to them and back.

The state has no replica axis: `pmap` takes it with `in_axes=None` and gives it back with `out_axes=None`, so that one
device and many run the same code and a checkpoint does not know how many there were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgan.errors import InputError

Tree = Any

# The axis that `pmap` maps; networks (synchronised batch norm) and the step (mean gradients) are built with this name.
AXIS = "devices"


def process_count() -> int:
    """Processes of the whole job."""
    return jax.process_count()


def device_count() -> int:
    """Devices of the whole job."""
    return jax.device_count()


def check_batch_size(batch_size: int, accumulate: int = 1, devices: int | None = None, group: int = 0) -> None:
    """Raises `InputError` unless the global batch divides by the number of devices, and each share into its parts.

    Args:
      batch_size: of all devices.
      accumulate: parts of a device's share.
      devices: how many; None: as many as the job has.
      group: above 0, so many samples of a part are compared with each other (minibatch standard deviation).
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
    part = batch_size // devices // accumulate
    if group and part % group:
        raise InputError(
            f"config.critic.minibatch_std={group} does not divide the {part} samples that a device takes at a time"
            f" (a batch of {batch_size} on {devices} devices in {accumulate} parts): choose a divisor of them"
        )


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
