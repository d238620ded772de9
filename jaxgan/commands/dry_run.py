"""What a run would be, without running it: settings, networks layer by layer, memory of a step."""

from __future__ import annotations

import json
import os
from functools import partial
from math import inf, prod

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import parallel
from jaxgan.benchmark.compiled import compile_for, report, shapes_of
from jaxgan.benchmark.targets import Target, find_target, stay_on_host
from jaxgan.config import Config
from jaxgan.config.timetable import Timetable, in_last_stage
from jaxgan.data.dataset import Dataset
from jaxgan.gan.state import layer_table
from jaxgan.gan.step import train_many
from jaxgan.models import build_critic, build_generator
from jaxgan.training.call_length import CallLength
from jaxgan.training.machine import warn_of_the_machine


def describe(
    config: Config, data_dir: str | os.PathLike | None = None, target: str | None = None, preset: str = ""
) -> str:
    """The report of `--dry_run`, as text.

    Memory is what XLA reserves for one compiled iteration: state, temporaries and outputs of one device; what holds or
    sends the set of reals comes on top, in a line of its own.

    Args:
      config: a validated config.
      data_dir: the data, for the number of classes and samples; None: as many classes as a conditional model needs
        at least (2).
      target: devices that need not be there, e.g. "h100" or "v5e:2x2", to compile for in place of these.
      preset: what `config` was before settings were changed, by name or file.

    Raises:
      InputError: the data or the batch size do not fit, or there is no such target.
    """
    goal = find_target(target) if target is not None else None
    if goal:
        stay_on_host()
    else:
        warn_of_the_machine(config.train.precision)
    for _, batch_size in Timetable.of(config).layouts:
        devices = goal.count if goal else None
        parallel.check_batch_size(batch_size, config.train.accumulate, devices, config.critic.minibatch_std)
    num_classes, lines, dataset = (2 if config.data.labelled else 0), [], None
    if data_dir is not None:
        from jaxgan.data.open import open_data
        from jaxgan.training.preflight import check_fit

        dataset = open_data(config, data_dir)
        check_fit(config, dataset, preset)
        num_classes = dataset.num_classes
        size = dataset.nbytes / 2**20
        shape, dtype = list(dataset.shape), dataset.scaling.dtype
        lines.append(f"data: {dataset.name}, {dataset.size} samples {shape} {dtype}, {size:.1f} MiB")
    lines.append("config: " + json.dumps(config.to_dict(), indent=2))
    labels = jnp.zeros((1,), jnp.int32)
    inputs = {"generator": (config.generator.latent_dim,), "critic": config.data.shape}
    modules = {"generator": build_generator(config, num_classes), "critic": build_critic(config, num_classes)}
    for name, module in modules.items():
        rows, count = layer_table(module, jnp.zeros((1, *inputs[name])), labels)
        lines.append(f"\n{name}: {count:,} parameters")
        width = max(len(row[0]) for row in rows)
        lines += [f"  {path:<{width}}  {shape:<22} {parameters:>12,}" for path, shape, parameters in rows]
    largest = in_last_stage(config)
    if goal and (interval := config.objective.resolved().penalty_interval) > 1:
        lines.append(f"\nwhat follows is of updates whose penalty is due, as it is at every {interval}th")
    lines += ["", *(report(compile_for(goal, largest, num_classes)) if goal else [_memory(largest, num_classes)])]
    return "\n".join([*lines, _memory_of_reals(largest, dataset, goal)])


def _memory(config: Config, num_classes: int) -> str:
    objective, batch = config.objective.resolved(), config.train.batch_size
    gan, state = shapes_of(config, num_classes)

    def load_batch(data, batch_ref):
        images, labels = batch_ref
        return images, labels if num_classes else None

    shape = (1, objective.n_critic, batch // parallel.process_count())
    batch_refs = parallel.split_batch((np.zeros((*shape, *config.data.shape), np.float32), np.zeros(shape, np.int32)))
    lowered = parallel.map_train(partial(train_many, gan.at(inf), load_batch)).lower(state, (), batch_refs, 1)
    # On a CPU memory is laid out before code is made: code made in half the time takes as much, to the byte.
    compiled = lowered.compile({"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else None)
    used = compiled.memory_analysis()
    assert used is not None  # CPU, GPU and TPU all tell it
    total = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes + used.temp_size_in_bytes
    arrays = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    return f"memory of one step: {total / 2**20:.1f} MiB a device, of which the state is {arrays / 2**20:.1f} MiB"


def _memory_of_reals(config: Config, dataset: Dataset | None, target: Target | None) -> str:
    """What the set takes, or the parts of it that are sent: two, one while the other is worked on."""
    devices = target.count if target else parallel.device_count()
    length = CallLength(config.train.steps_per_call, target.chip.platform if target else None).longest
    sample = dataset.nbytes / dataset.size if dataset else prod(config.data.shape)
    sent = 2 * length * config.objective.resolved().n_critic * config.train.batch_size / devices * sample
    if dataset:
        held = f"{dataset.nbytes / 2**20:.1f} MiB resident, {dataset.nbytes / devices / 2**20:.1f} MiB sharded"
    else:
        held = f"at most config.data.resident_budget_gib={config.data.resident_budget_gib:g} GiB resident or sharded"
    return (
        f"memory of reals, on top of that: {held}, or {sent / 2**20:.1f} MiB streamed (two calls of {length} iterations"
        f"{'' if dataset else ', a byte a value'}) a device"
    )
