"""A preset compiled for an accelerator that is not there, and what the compiled program tells."""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan import parallel
from jaxgan.benchmark.hlo import collectives, cudnn_calls, estimated_cycles
from jaxgan.benchmark.products import Product, products, roofline_seconds, total_flops
from jaxgan.benchmark.targets import Target, stay_on_host
from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.build import build_gan
from jaxgan.gan.game import GAN
from jaxgan.gan.step import train_many
from jaxgan.ops.conv import lowering


class Compiled(NamedTuple):
    """One iteration of a preset, compiled.

    Attributes:
      target: what for.
      batch_size: of all devices.
      precision: of the products.
      seconds: that compiling took on this machine.
      state_bytes: of the state, whole on every device.
      memory_bytes: of one device: state, inputs and temporaries. A resident dataset comes on top.
      temporary_bytes: the part of it that is neither state nor input.
      alias_bytes: of the results that take the place of arguments.
      products: of one device.
      text: the program, in XLA's own language.
    """

    target: Target
    batch_size: int
    precision: str
    seconds: float
    state_bytes: int
    memory_bytes: int
    temporary_bytes: int
    alias_bytes: int
    products: list[Product]
    text: str

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return self.memory_bytes <= self.target.chip.memory * self.target.chip.usable

    @property
    def largest_batch(self) -> int:
        """Over all devices, were everything but the state to grow with the batch; smaller than the true largest."""
        free = self.target.chip.memory * self.target.chip.usable - self.state_bytes
        sample = (self.memory_bytes - self.state_bytes) * self.target.count / self.batch_size
        return max(0, int(free / sample)) * self.target.count


def compile_for(target: Target, config: Config, num_classes: int, plain: bool = False) -> Compiled:
    """Compile an iteration of a config.

    Args:
      target: what for.
      config: `config.train.batch_size` counts all devices of the target.
      num_classes: classes of the data.
      plain: with native convolutions and JAX's own derivatives, to compare with.

    Raises:
      InputError: the target's compiler is missing, the batch does not divide, or the program does not fit its memory.
    """
    parallel.check_batch_size(config.train.batch_size, config.train.accumulate, target.count)
    stay_on_host()
    devices = target.devices()
    gan: GAN  # set by build

    def build():
        nonlocal gan
        gan, state = build_gan(config, num_classes, axis_name=parallel.AXIS, platform=target.chip.platform)
        return state

    def load_batch(data, batch_ref):
        images, labels = batch_ref
        return images, labels if num_classes else None

    state = jax.eval_shape(build)
    share = config.train.batch_size // target.count
    shape = (target.count, 1, config.objective.resolved().n_critic, share)
    reals = jax.ShapeDtypeStruct((*shape, *config.data.shape), jnp.float32), jax.ShapeDtypeStruct(shape, jnp.int32)
    program = parallel.shard_train(partial(train_many, gan.at(math.inf), load_batch), devices)
    began = time.perf_counter()
    with lowering("plain" if plain else "auto"):
        traced = program.trace(state, (), reals, jax.ShapeDtypeStruct((), jnp.int32))
    try:
        compiled = traced.lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        used = re.search(r"Used [\d.]+\w+ of [\d.]+\w+", str(error))
        raise InputError(
            f"config.train.batch_size={config.train.batch_size} does not fit a device of {target.name}"
            f" ({used[0] if used else 'the compiler says'}): give a smaller one, or more devices"
        ) from error
    seconds = time.perf_counter() - began
    used = compiled.memory_analysis()
    return Compiled(
        target=target,
        batch_size=config.train.batch_size,
        precision=config.train.precision,
        seconds=seconds,
        state_bytes=sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)),
        memory_bytes=used.argument_size_in_bytes
        + used.output_size_in_bytes
        - used.alias_size_in_bytes
        + used.temp_size_in_bytes,
        temporary_bytes=used.temp_size_in_bytes,
        alias_bytes=used.alias_size_in_bytes,
        products=list(products(traced.jaxpr.jaxpr)),
        text=compiled.as_text(),
    )


def report(compiled: Compiled) -> list[str]:
    """What `--dry_run --target` prints. No line of it is a measured time but that of compiling."""
    target, chip, mib = compiled.target, compiled.target.chip, 2**20
    flops = total_flops(compiled.products)
    peak = chip.peak[compiled.precision]
    bound = roofline_seconds(compiled.products, peak, chip.bandwidth)
    usable = chip.memory * chip.usable / mib
    fits = "fits" if compiled.fits else "DOES NOT FIT"
    lines = [
        f"compiled for {target.name}, {target.count} device(s), {compiled.precision}, batch {compiled.batch_size},"
        f" in {compiled.seconds:.0f} s on this machine",
        f"memory of one step: {compiled.memory_bytes / mib:.1f} MiB a device, of which the state is"
        f" {compiled.state_bytes / mib:.1f} MiB and temporaries {compiled.temporary_bytes / mib:.1f} MiB: {fits}"
        f" ({usable:.0f} MiB are for programs); a resident dataset comes on top",
        f"largest batch, were all but the state to grow with it: {compiled.largest_batch}",
        f"work of one iteration: {flops / 1e9:.1f} GFLOP a device in convolutions and matrix products; bound by peak"
        f" ({peak / 1e12:.0f} TFLOP/s): {1e3 * flops / peak:.3f} ms, by each product's operations or bytes:"
        f" {1e3 * bound:.3f} ms (bounds, not times)",
    ]
    forms: Counter[str] = Counter()
    for product in compiled.products:
        forms[product.form] += product.times
    lines.append("products of one iteration: " + ", ".join(f"{count} {form}" for form, count in sorted(forms.items())))
    if chip.platform == "gpu":
        lines.append("cuDNN calls of one iteration:")
        lines += [f"  {count:4d}  {' '.join(call)}" for call, count in sorted(cudnn_calls(compiled.text).items())]
    else:
        lines.append("cycles that the compiler expects of one iteration, by layer (a ranking, not times):")
        cycles = estimated_cycles(compiled.text)
        lines += [f"  {count:12,d}  {count / sum(cycles.values()):4.0%}  {layer}" for layer, count in cycles.items()]
    found = collectives(compiled.text)
    lines.append(f"collectives of one iteration: {'none' if not found else sum(found.values())}")
    lines += [
        f"  {count:4d}  {kind}, {size:,} bytes each, {'may overlap with work' if overlaps else 'waited for'}"
        for (kind, size, overlaps), count in sorted(found.items(), key=lambda item: -item[0][1])
    ]
    return lines


def as_row(compiled: Compiled) -> dict[str, Any]:
    """What a table or a file keeps of a compiled program."""
    calls = cudnn_calls(compiled.text)
    return {
        "precision": compiled.precision,
        "batch_size": compiled.batch_size,
        "compile_seconds": compiled.seconds,
        "memory_bytes": compiled.memory_bytes,
        "temporary_bytes": compiled.temporary_bytes,
        "fits": compiled.fits,
        "flops_per_iteration_per_device": total_flops(compiled.products),
        "cudnn_calls": [{**call._asdict(), "count": count} for call, count in sorted(calls.items())],
        "estimated_cycles": estimated_cycles(compiled.text),
        "collectives": [
            {"kind": kind, "bytes": size, "may_overlap": overlaps, "count": count}
            for (kind, size, overlaps), count in sorted(collectives(compiled.text).items())
        ],
    }


_KINDS = ("convForward", "convBiasActivationForward", "convBackwardInput", "convBackwardFilter")


def header(target: Target) -> str:
    """The head of the table, in Markdown, to which `summary` gives the rows."""
    calls = "dtype | forward | with bias and activation | backward input | backward filter | dilated"
    own = calls if target.chip.platform == "gpu" else "kcycles expected"
    names = f"| preset | precision | batch | {own} | temporaries MiB | GFLOP | compile s |"
    return names + "\n|" + "---|" * (names.count("|") - 1)


def summary(row: Mapping[str, Any]) -> str:
    """One row of the table: of `as_row` with the keys "preset" and "plain" added."""
    calls = row["cudnn_calls"]
    counts = [sum(call["count"] for call in calls if call["kind"] == kind) for kind in _KINDS]
    dilated = sum(call["count"] for call in calls if call["window"] == "dilated")
    dtypes = ", ".join(sorted({call["dtype"] for call in calls}))
    cycles = sum(row["estimated_cycles"].values())
    cells = [
        row["preset"] + (" (plain)" if row["plain"] else ""),
        row["precision"],
        row["batch_size"],
        *([dtypes, *counts, dilated] if calls else [f"{cycles / 1000:.0f}"]),
        f"{row['temporary_bytes'] / 2**20:.0f}",
        f"{row['flops_per_iteration_per_device'] / 1e9:.1f}",
        f"{row['compile_seconds']:.0f}",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"
