"""Samples from a generator: latents by seed, interpolation between them, truncation."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import ArgumentError
from jaxgan.gan.state import ApplyFn
from jaxgan.gan.stretch import Stretch
from jaxgan.processes.progress import counted

Array = jax.Array
Tree = Any


@partial(jax.jit, static_argnums=(1, 2))
def latents(seed: int, count: int, latent_dim: int, truncation: float | None = None) -> Array:
    """Standard normal latents, float32 `[count, latent_dim]`; latent i depends on (seed, i) alone.

    Args:
      seed: of the draw.
      count: how many.
      latent_dim: length of one.
      truncation: draw from the normal cut off at +-truncation instead: fewer odd samples, less variety (Brock et al.
        2019, arXiv:1809.11096). None: not cut.
    """
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.key(seed)))(jnp.arange(count))
    if truncation is None:
        return jax.vmap(lambda key: jax.random.normal(key, (latent_dim,)))(keys)
    draw = partial(jax.random.truncated_normal, lower=-truncation, upper=truncation, shape=(latent_dim,))
    return jax.vmap(draw)(keys)


def interpolate(start: Array, end: Array, num_steps: int, spherical: bool = True) -> Array:
    """Latents on the way from one to another, both included, float32 `[num_steps, latent_dim]`.

    Args:
      start: `[latent_dim]`.
      end: `[latent_dim]`.
      num_steps: at least 2.
      spherical: along the great circle, with the length going evenly from the one to the other, so that every point is
        as likely as its ends (White 2016, arXiv:1609.04468); else along the straight line.

    Raises:
      InputError: fewer than 2 steps.
    """
    if num_steps < 2:
        raise ArgumentError("num_steps", num_steps, " is not valid: an interpolation needs at least 2")
    t = jnp.linspace(0.0, 1.0, num_steps)[:, None]
    if not spherical:
        return (1.0 - t) * start[None] + t * end[None]
    lengths = jnp.linalg.norm(start), jnp.linalg.norm(end)
    units = start / lengths[0], end / lengths[1]
    angle = jnp.arccos(jnp.clip(jnp.dot(*units), -1.0, 1.0))
    # sinc form: stays finite when the two directions are the same.
    weights = [(s * jnp.sinc(s * angle / jnp.pi)) / jnp.sinc(angle / jnp.pi) for s in (1.0 - t, t)]
    direction = weights[0] * units[0][None] + weights[1] * units[1][None]
    return direction * ((1.0 - t) * lengths[0] + t * lengths[1])


def batch_size_for(shape: tuple[int, ...]) -> int:
    """Samples to make at a time: activations of some tens of megabytes, whatever the shape `(*S, C)`."""
    return max(1, min(64, 2**19 // math.prod(shape[:-1])))


@partial(jax.jit, static_argnums=(0, 1))
def _generate(
    generator: ApplyFn, stretch: Stretch | None, params: Tree, stats: Tree, z: Array, labels: Array | None
) -> Array:
    samples = generator(params, stats, z, labels, train=False)[0]
    return samples if stretch is None else stretch.back(samples)


def generate(
    generator: ApplyFn,
    params: Tree,
    stats: Tree,
    z: Array,
    labels: np.ndarray | None = None,
    batch_size: int = 64,
    progress: bool = False,
    stretch: Stretch | None = None,
) -> np.ndarray:
    """Samples of given latents, float32 `[N, *S, C]` in [-1, 1].

    Every batch has the same size, the last one padded: one program, and a sample's bytes do not depend on how many
    were asked for.

    Args:
      generator: the network as a pure function.
      params: its parameters, usually the moving average.
      stats: its running statistics.
      z: float32 `[N, latent_dim]`.
      labels: int `[N]`, or None.
      batch_size: samples at a time.
      progress: shows progress on stderr.
      stretch: of the values that it was trained on.
    """
    count = len(z)
    padding = -count % batch_size
    z = np.concatenate([np.asarray(z), np.zeros((padding, z.shape[1]), np.float32)])
    if labels is not None:
        labels = np.concatenate([np.asarray(labels, np.int32), np.zeros(padding, np.int32)])
    parts = []
    starts = range(0, len(z), batch_size)
    for first in counted(starts, f"sampling {count}, {batch_size} at a time", len(starts), "batch", progress):
        batch = slice(first, first + batch_size)
        part = None if labels is None else labels[batch]
        parts.append(np.asarray(_generate(generator, stretch, params, stats, z[batch], part)))
    return np.concatenate(parts)[:count]
