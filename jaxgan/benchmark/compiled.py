"""A preset compiled for an accelerator that is not there, and what the compiled program tells."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import parallel
from jaxgan.benchmark.hlo import collectives, cudnn_calls, estimated_cycles
from jaxgan.benchmark.products import Product, products, roofline_seconds, total_flops
from jaxgan.benchmark.targets import Target, stay_on_host
from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.build import build_gan
from jaxgan.gan.game import GAN
from jaxgan.gan.state import GANState
from jaxgan.gan.step import train_many
from jaxgan.objectives.perceptual import STAGES, vgg16_features
from jaxgan.ops.conv import lowering

# Bytes that a core of a TPU has on the chip, about, beside its large memory (v5e and v6e).
ON_CHIP = 128 * 2**20


class Compiled(NamedTuple):
    """One iteration of a preset, compiled.

    Attributes:
      target: what for.
      batch_size: of all devices.
      precision: of the products.
      seconds: that compiling took on this machine.
      state_bytes: of the state, whole on every device.
      memory_bytes: of one device: state, one iteration's reals and temporaries. A set of reals comes on top.
      temporary_bytes: the part of it that is neither state nor input.
      alias_bytes: of the results that take the place of arguments.
      products: of one device.
      text: the program, in XLA's own language.
      refused: what the compiler said of larger batches that do not fit, by their size; the first is what was asked for.
      unit: what a batch of the config must be a multiple of.
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
    refused: Mapping[int, str] = {}
    unit: int = 1

    @property
    def fits(self) -> bool:
        """Whether a device has the memory for the batch that was asked for."""
        return not self.refused and self.memory_bytes <= self.target.chip.memory * self.target.chip.usable

    @property
    def largest_batch(self) -> int | None:
        """Over all devices, an estimate: were everything but the state to grow with the batch, so rather too small.
        None where a TPU may keep the temporaries of this batch on the chip, so that they tell nothing of more."""
        if self.target.chip.platform == "tpu" and self.temporary_bytes < ON_CHIP:
            return None
        free = self.target.chip.memory * self.target.chip.usable - self.state_bytes
        sample = (self.memory_bytes - self.state_bytes) * self.target.count / self.batch_size
        batch = min([int(free / sample) * self.target.count, *(size - 1 for size in self.refused)])
        return max(0, batch) // self.unit * self.unit


def compile_for(target: Target, config: Config, num_classes: int, plain: bool = False) -> Compiled:
    """Compile an iteration of a config; of a batch that the compiler finds too large half, until one fits.

    Args:
      target: what for.
      config: `config.train.batch_size` counts all devices of the target.
      num_classes: classes of the data.
      plain: with native convolutions and JAX's own derivatives, to compare with.

    Raises:
      InputError: the target's compiler is missing, the batch does not divide, or not even the smallest one fits.
    """
    batch, accumulate, group = config.train.batch_size, config.train.accumulate, config.critic.minibatch_std
    parallel.check_batch_size(batch, accumulate, target.count, group)
    stay_on_host()
    target.devices()  # Without a compiler there is nothing to do.
    unit, refused = target.count * accumulate * max(1, group), dict[int, str]()
    while batch:
        smaller = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=batch))
        try:
            return _compile(target, smaller, num_classes, plain)._replace(refused=refused, unit=unit)
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            refused[batch] = str(error).partition("\n")[0].removeprefix("RESOURCE_EXHAUSTED: ").rstrip(".")
            batch = batch // 2 // unit * unit
    raise InputError(
        f"config.train.batch_size={unit}, the smallest there is, does not fit a device of {target.name}"
        f" ({refused[unit]}): give smaller config.generator.widths and config.critic.widths"
    )


def _compile(target: Target, config: Config, num_classes: int, plain: bool) -> Compiled:
    gan, state = shapes_of(config, num_classes, target.chip.platform)

    def load_batch(data, batch_ref):
        images, labels = batch_ref
        return images, labels if num_classes else None

    share = config.train.batch_size // target.count
    shape = (target.count, 1, config.objective.resolved().n_critic, share)
    reals = jax.ShapeDtypeStruct((*shape, *config.data.shape), jnp.float32), jax.ShapeDtypeStruct(shape, jnp.int32)
    program = parallel.shard_train(partial(train_many, gan.at(math.inf), load_batch), target.devices())
    began = time.perf_counter()
    with lowering("plain" if plain else "auto"):
        traced = program.trace(state, (), reals, jax.ShapeDtypeStruct((), jnp.int32))
    compiled = traced.lower().compile()
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


def shapes_of(config: Config, num_classes: int, platform: str | None = None) -> tuple[GAN, GANState]:
    """The game of a config, and its state as shapes: no weight is drawn, nor the program compiled that draws them.

    The perceptual loss sees through weights of the right shapes and no meaning, so that none need be installed.

    Args:
      config: a validated config.
      num_classes: classes of the data, 0 without labels.
      platform: what the program is meant for; None: what this process computes on.
    """
    gan: GAN  # set by build
    features = None
    if config.objective.perceptual_weight:
        from jaxgan.evaluation.networks.vgg import VGG16

        rng = np.random.default_rng(0)
        like = jax.eval_shape(VGG16().init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))["params"]
        used = {name: like[name] for name in (f"Conv_{i}" for i in range(sum(STAGES)))}
        features = partial(vgg16_features, jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype("f"), used))

    def build() -> GANState:
        nonlocal gan
        gan, state = build_gan(config, num_classes, axis_name=parallel.AXIS, platform=platform, features=features)
        return state

    state = jax.eval_shape(build)
    return gan, state


def report(compiled: Compiled) -> list[str]:
    """What `--dry_run --target` prints. No line of it is a measured time but that of compiling."""
    target, chip, mib = compiled.target, compiled.target.chip, 2**20
    flops = total_flops(compiled.products)
    peak = chip.peak[compiled.precision]
    bound = roofline_seconds(compiled.products, peak, chip.bandwidth)
    usable = chip.memory * chip.usable / mib
    within = compiled.memory_bytes / mib <= usable
    largest = compiled.largest_batch
    said = (
        "not from this one, whose temporaries may lie on the chip: give a larger batch" if largest is None else largest
    )
    lines = [f"batch {size} DOES NOT FIT a device of {target.name}: {why}" for size, why in compiled.refused.items()]
    lines += [
        f"compiled for {target.name}, {target.count} device(s), {compiled.precision}, batch {compiled.batch_size},"
        f" in {compiled.seconds:.0f} s on this machine",
        f"memory of one step: {compiled.memory_bytes / mib:.1f} MiB a device, of which the state is"
        f" {compiled.state_bytes / mib:.1f} MiB and temporaries {compiled.temporary_bytes / mib:.1f} MiB:"
        f" {'fits' if within else 'DOES NOT FIT'} ({usable:.0f} MiB are for programs)",
        f"largest batch, estimated (were all but the state to grow with it): {said}"
        + (f"; the largest that was compiled: {compiled.batch_size}" if compiled.refused else ""),
        f"work of one iteration: {flops / 1e9:.1f} GFLOP a device in convolutions and matrix products; bound by peak"
        f" ({peak / 1e12:.0f} TFLOP/s): {1e3 * flops / peak:.3f} ms, by each product's operations or bytes:"
        f" {1e3 * bound:.3f} ms (bounds, not times)",
        "products of one iteration: " + ", ".join(f"{count} {form}" for form, count in _forms(compiled).items()),
    ]
    if chip.platform == "gpu":
        lines.append("cuDNN calls of one iteration:")
        lines += [f"  {count:4d}  {' '.join(call)}" for call, count in sorted(cudnn_calls(compiled.text).items())]
    else:
        lines.append("cycles that the compiler expects of one iteration, by layer (a ranking, not times):")
        cycles = estimated_cycles(compiled.text)
        lines += [f"  {count:12,d}  {count / sum(cycles.values()):4.0%}  {layer}" for layer, count in cycles.items()]
    found = collectives(compiled.text)
    lines.append(f"collectives of one iteration: {sum(found.values()) or 'none'}")
    lines += [
        f"  {count:4d}  {kind}, {size:,} bytes each, " + (f"beside {beside} operation(s)" if beside else "waited for")
        for (kind, size, beside), count in sorted(found.items(), key=lambda item: -item[0][1])
    ]
    return lines


def _forms(compiled: Compiled) -> dict[str, int]:
    forms: Counter[str] = Counter()
    for product in compiled.products:
        forms[product.form] += product.times
    return dict(sorted(forms.items()))


def as_row(compiled: Compiled) -> dict[str, Any]:
    """What a table or a file keeps of a compiled program: all that `report` prints."""
    calls, chip = cudnn_calls(compiled.text), compiled.target.chip
    flops, peak = total_flops(compiled.products), chip.peak[compiled.precision]
    return {
        "precision": compiled.precision,
        "batch_size": compiled.batch_size,
        "refused": {str(size): said for size, said in compiled.refused.items()},
        "compile_seconds": compiled.seconds,
        "memory_bytes": compiled.memory_bytes,
        "state_bytes": compiled.state_bytes,
        "temporary_bytes": compiled.temporary_bytes,
        "alias_bytes": compiled.alias_bytes,
        "fits": compiled.fits,
        "largest_batch_estimated": compiled.largest_batch,
        "flops_per_iteration_per_device": flops,
        "bound_seconds_by_peak": flops / peak,
        "bound_seconds_by_product": roofline_seconds(compiled.products, peak, chip.bandwidth),
        "products": _forms(compiled),
        "cudnn_calls": [{**call._asdict(), "count": count} for call, count in sorted(calls.items())],
        "estimated_cycles": estimated_cycles(compiled.text),
        "collectives": [
            {"kind": kind, "bytes": size, "beside_operations": beside, "count": count}
            for (kind, size, beside), count in sorted(collectives(compiled.text).items())
        ],
    }
