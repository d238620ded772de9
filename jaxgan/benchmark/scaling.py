"""Weak scaling by arithmetic: what devices send each other in an iteration, and what of it they wait for.

    python -m jaxgan.benchmark.scaling --target h100 [--config PRESET] [--precision bfloat16] [--reduce_dtype bfloat16]

Every device keeps a preset's whole batch, however many there are. Messages are counted in the traced program, with its
loops; XLA sends the same bytes in at most as many messages (`tests/benchmark/test_targets.py`). No line of the table is
a measured time: computing takes its roofline bound, the links what their makers say, and nothing overlaps, so the
efficiencies are lower bounds as far as computing goes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core

from jaxgan import parallel
from jaxgan.benchmark.compiled import shapes_of
from jaxgan.benchmark.products import products, roofline_seconds
from jaxgan.benchmark.targets import CHIPS, stay_on_host
from jaxgan.benchmark.workload import ALL, num_classes, with_options
from jaxgan.commands import cli, flags
from jaxgan.config import Config
from jaxgan.config.presets import load_config, title
from jaxgan.gan.step import train_step


class Message(NamedTuple):
    """One all-reduce: bytes that a device gives, and how often it does in an iteration."""

    bytes: int
    times: int


class Links(NamedTuple):
    """How so many devices are joined.

    Attributes:
      bandwidth: bytes a second that an all-reduce moves through each device, in and out.
      latency: seconds of the smallest all-reduce.
    """

    bandwidth: float
    latency: float


# H100: NVLink 4 within a node of eight (450 GB/s each way), one port of 400 Gbit/s a device between nodes; latencies as
# NCCL's tests commonly show them, assumed. v5p: a torus of three axes, each of two links of 90 GB/s each way (half of
# it on sides of two, which have no way round), a microsecond a hop, assumed.
LINKS = {
    "h100": {8: Links(450e9, 20e-6), 64: Links(50e9, 40e-6), 512: Links(50e9, 60e-6)},
    "v5p": {8: Links(270e9, 6e-6), 64: Links(540e9, 12e-6), 512: Links(540e9, 24e-6)},
}


def trace(config: Config, platform: str) -> core.Jaxpr:
    """One iteration as one device of two runs it, with the whole batch of the config.

    Args:
      config: what to run.
      platform: "gpu" or "tpu".
    """
    gan, state = shapes_of(config, num_classes(config), platform)
    shape = (config.objective.resolved().n_critic, config.train.batch_size)
    reals = jax.ShapeDtypeStruct((*shape, *config.data.shape), jnp.float32), jax.ShapeDtypeStruct(shape, jnp.int32)

    def load_batch(data: Any, batch_ref: Any) -> tuple[Any, Any]:
        images, labels = batch_ref
        return images, labels if num_classes(config) else None

    step = partial(train_step, gan.at(math.inf), load_batch)
    return jax.make_jaxpr(step, axis_env=[(parallel.AXIS, 2)])(state, (), reals).jaxpr


def messages(jaxpr: core.Jaxpr, times: int = 1) -> Iterator[Message]:
    """The all-reduces of a program; those of one dtype that do not wait for each other travel as one, as in XLA."""
    together: dict[Any, int] = {}  # Bytes by dtype of what travels at once.
    after: set[Any] = set()  # What depends on them.
    for eqn in jaxpr.eqns:
        waits = any(isinstance(operand, core.Var) and operand in after for operand in eqn.invars)
        if eqn.primitive.name.startswith("psum"):
            if waits:
                yield from (Message(size, times) for size in together.values())
                together, after = {}, set()
            for operand in eqn.invars:
                array: Any = operand.aval
                together[array.dtype] = together.get(array.dtype, 0) + array.size * array.dtype.itemsize
            after |= {*eqn.outvars}
            continue
        if waits:
            after |= {*eqn.outvars}
        inner = times * eqn.params["length"] if eqn.primitive.name == "scan" else times
        for value in eqn.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                part = getattr(part, "jaxpr", part)
                if isinstance(part, core.Jaxpr):
                    yield from messages(part, inner)
    yield from (Message(size, times) for size in together.values())


def waiting(found: Sequence[Message], devices: int, links: Links) -> float:
    """Seconds of all messages, one after the other: each a latency, and its bytes twice round the ring."""
    return sum(m.times * (links.latency + 2 * (devices - 1) / devices * m.bytes / links.bandwidth) for m in found)


def row(name: str, config: Config, chip: str) -> str:
    """A preset's line of the table, in Markdown."""
    target = CHIPS[chip]
    jaxpr = trace(config, target.platform)
    found = list(messages(jaxpr))
    bound = roofline_seconds(list(products(jaxpr)), target.peak[config.train.precision], target.bandwidth)
    cells: list[Any] = [name, config.train.batch_size, sum(m.times for m in found)]
    cells += [f"{sum(m.times * m.bytes for m in found) / 2**20:.1f}", f"{1e3 * bound:.2f}"]
    for devices, links in LINKS[chip].items():
        spent = waiting(found, devices, links)
        cells.append(f"{1e3 * spent:.2f} ({bound / (bound + spent):.0%})")
    return "| " + " | ".join(map(str, cells)) + " |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = flags.ArgumentParser(prog="python -m jaxgan.benchmark.scaling", description=__doc__)
    add = parser.add_argument
    add("--target", choices=LINKS, default="h100", help="which devices (default: h100)")
    add("--config", default="all", metavar="PRESET|all", help="preset[:variant], or all (default)")
    for flag, about in (("--precision", "of the products"), ("--reduce_dtype", "of gradients on their way")):
        default = "bfloat16" if flag == "--precision" else "float32"
        add(flag, choices=("float32", "bfloat16"), default=default, help=f"{about} (default: {default})")
    args = parser.parse_args(arguments)
    stay_on_host()
    names = ("preset", "batch a device", "messages", "MiB", "bound of computing, ms")
    titles = [*names, *(f"waiting at {count}, ms (efficiency)" for count in LINKS[args.target])]
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for name in ALL if args.config == "all" else (args.config,):
        config = with_options(load_config(name), None, args.precision, 1)
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, reduce_dtype=args.reduce_dtype))
        print(row(title(name), config, args.target), flush=True)


if __name__ == "__main__":
    cli.run(main)
