"""One thing to time: an iteration of a preset on random reals, as one callable that runs K of them."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.config.timetable import in_last_stage
from jaxgan.gan.build import build_gan
from jaxgan.gan.game import GAN
from jaxgan.gan.step import critic_update, generator_update, train_many
from jaxgan.ops.conv import lowering

# Classes of a conditional preset's random labels.
CLASSES = 2
# The presets that `--config all` stands for.
ALL = (
    "mnist:wgan_gp",
    "mnist:small",
    "pathmnist:source",
    "pathmnist:small",
    "cell256:source",
    "cell256:small",
    "cell256",
    "panda256:plain",
    "panda256:small",
    "panda256:source",
    "panda256",
    "mri64:small",
    "mri64:source",
    "mri64",
)
# Samples of the random resident set: enough that a gather is one.
RESIDENT = 64


def num_classes(config: Config) -> int:
    """Classes that a preset's networks are built with here."""
    return CLASSES if config.data.labelled else 0


class Workload:
    """`K` iterations of a preset in one dispatch, compiled: what training runs.

    Args:
      config: what to run; `config.train.batch_size` counts all devices used.
      devices: how many of this machine's devices.
      iterations: the K that a call runs; may be lowered later.
      resident: gather the reals from a resident set, as training does; else take the same ones every time, which
        shows what the gathering costs.
    """

    def __init__(self, config: Config, devices: int, iterations: int, resident: bool = True):
        self.iterations = iterations
        n_critic, batch = config.objective.resolved().n_critic, config.train.batch_size
        rng = np.random.default_rng(0)
        stored = max(RESIDENT, batch)
        images = rng.integers(0, 256, (stored, *config.data.shape)).astype(np.uint8)
        if not resident:
            images = images.astype(np.float32) * np.float32(2 / 255) - np.float32(1)
        labels = rng.integers(0, CLASSES, stored).astype(np.int32) if config.data.labelled else None
        batch_refs = rng.integers(0, stored, (iterations, n_critic, batch)).astype(np.int32)
        gan, state = build_gan(config, num_classes(config), axis_name=parallel.AXIS)

        def load_batch(data: Any, batch_ref: Any) -> tuple[Any, Any]:
            if not resident:
                first = slice(0, batch_ref.shape[0])
                return data[0][first].astype(jnp.float32), None if data[1] is None else data[1][first]
            # As a resident source decodes: gathered in the stored dtype, then scaled.
            return data[0][batch_ref] * jnp.float32(2 / 255) - 1.0, None if data[1] is None else data[1][batch_ref]

        self._data = parallel.replicate((images, labels), devices)
        self._batch_refs = parallel.split_batch(batch_refs, devices)
        self._state = parallel.replicate(state, devices)
        began = time.perf_counter()
        mapped = parallel.map_train(partial(train_many, gan.at(math.inf), load_batch), devices)
        self._call = mapped.lower(self._state, self._data, self._batch_refs, iterations).compile()
        self.compile_seconds = time.perf_counter() - began
        used = self._call.memory_analysis()
        assert used is not None  # CPU, GPU and TPU all tell it
        self.memory_bytes = (
            used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes + used.temp_size_in_bytes
        )

    def run(self, iterations: int = 0) -> tuple[float, float]:
        """One dispatch, of K iterations or of fewer; returns (seconds of one, share of the time in which the host only
        waited)."""
        iterations = iterations or self.iterations
        began = time.perf_counter()
        self._state, metrics = self._call(self._state, self._data, self._batch_refs, np.int32(iterations))
        dispatched = time.perf_counter()
        jax.block_until_ready((self._state, metrics))
        ended = time.perf_counter()
        if not np.isfinite(np.asarray(metrics["critic_loss"])).all():
            raise FloatingPointError("the benchmark's losses are not finite: its timings would mean nothing")
        return (ended - began) / iterations, (ended - dispatched) / (ended - began)


class PlainWorkload:
    """The same iteration as one would write it first: native convolutions with JAX's own derivatives, one compiled
    program an update, called from Python. (Inside a loop XLA's CPU backend runs the derivatives slower still.)

    Args:
      config: what to run, on one device.
      iterations: of one `run`.
    """

    def __init__(self, config: Config, iterations: int):
        self.iterations = iterations
        self._n_critic = config.objective.resolved().n_critic
        gan, self._state = build_gan(config, num_classes(config))
        rng = np.random.default_rng(0)
        shape = (config.train.batch_size, *config.data.shape)
        self._real = jnp.asarray(rng.uniform(-1, 1, shape), jnp.float32)
        self._labels = jnp.asarray(rng.integers(0, CLASSES, len(self._real))) if config.data.labelled else None
        with lowering("plain"):
            self._critic, self._generator = (
                jax.jit(partial(update, gan.at(math.inf)), donate_argnums=0)
                .lower(self._state, self._real, self._labels)
                .compile()
                for update in (critic_update, generator_update)
            )

    def run(self) -> tuple[float, float]:
        """`iterations` iterations; returns (seconds of one, 0)."""
        began = time.perf_counter()
        for _ in range(self.iterations):
            for _ in range(self._n_critic):
                self._state, _ = self._critic(self._state, self._real, self._labels)
            self._state, _ = self._generator(self._state, self._real, self._labels)
        jax.block_until_ready(self._state)
        return (time.perf_counter() - began) / self.iterations, 0.0


def work(config: Config) -> tuple[float, float]:
    """(floating-point operations, bytes moved if nothing were fused) of one iteration, by XLA's cost analysis.

    The updates are counted one by one as lowered for a GPU, to native convolutions and without a loop over the queries
    of attention: XLA counts the body of a loop once, and matrix products that stand for a convolution may do more work.
    """
    gan: GAN  # set by build

    def build():
        nonlocal gan
        gan, state = build_gan(config, num_classes(config))
        return state

    state = jax.eval_shape(build)
    batch = config.train.batch_size
    real = jax.ShapeDtypeStruct((batch, *config.data.shape), jnp.float32)
    labels = jax.ShapeDtypeStruct((batch,), jnp.int32) if config.data.labelled else None
    flops = moved = 0.0
    repeats = ((critic_update, config.objective.resolved().n_critic), (generator_update, 1))
    with lowering("plain"):
        for update, times in repeats:
            traced = jax.jit(partial(update, gan.at(math.inf))).trace(state, real, labels)
            cost = traced.lower(lowering_platforms=("cuda",)).cost_analysis()
            assert cost is not None  # XLA counts for CPU, GPU and TPU alike
            flops += times * cost["flops"]
            moved += times * cost["bytes accessed"]
    return flops, moved


def matrix_peak(precision: str, size: int = 2048, repeats: int = 8) -> float:
    """Operations a second of the best of some square matrix products on one device.

    Args:
      precision: of the operands; sums are float32.
      size: of the matrices; larger on accelerators, which need it to fill up.
      repeats: how many products are timed.
    """
    if jax.default_backend() != "cpu":
        size = 8192
    a, b = (jax.random.normal(jax.random.key(i), (size, size), jnp.dtype(precision)) for i in (0, 1))
    product = jax.jit(partial(jnp.dot, preferred_element_type=jnp.float32))
    return 2.0 * size**3 / best_seconds(partial(product, a, b), repeats)


def best_seconds(call: Callable[[], Any], repeats: int) -> float:
    """The shortest of some runs, after one that is not timed."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return min(times)


def with_options(config: Config, batch_size: int | None, precision: str, devices: int) -> Config:
    """A preset's config with the benchmark's batch (a device), precision, and constant work an iteration."""
    config = in_last_stage(config)
    per_device = batch_size or config.train.batch_size
    settings = dataclasses.replace(config.train, batch_size=per_device * devices, precision=precision)
    return dataclasses.replace(config, train=settings)
