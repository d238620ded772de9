"""The averaged generator: how fast it follows the trained one, and the statistics that are its own."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan.gan.state import ApplyFn, GANState, Tree
from jaxgan.models.norms import BATCH_NORM_MOMENTUM

Array = jax.Array

# Enough that the statistics of two draws differ by a percent or so, few enough to cost no more than a grid of samples.
STATISTICS_BATCHES, STATISTICS_BATCH_SIZE = 8, 64
STATISTICS_SAMPLES = STATISTICS_BATCHES * STATISTICS_BATCH_SIZE


def ema_decay(step: Array, *, batch_size: int, halflife_images: float, rampup: float, shift: float = 0.0) -> Array:
    """Decay of the moving average at an iteration (Karras et al., NVlabs/stylegan3: half-life in images, ramped up).

    Args:
      step: iterations done before this one.
      batch_size: images that the generator makes in an iteration, over all devices.
      halflife_images: after so many generated images an old weight counts half.
      rampup: the half-life is at most this share of the images generated so far; 0: no ramp.
      shift: what to add to `step` where earlier iterations had another batch size: `batch_size * (step + shift)`
        images have been generated.
    """
    halflife = jnp.float32(halflife_images)
    if rampup:
        halflife = jnp.minimum(halflife, rampup * batch_size * (step.astype(jnp.float32) + (1.0 + shift)))
    return 0.5 ** (batch_size / halflife)


def with_own_statistics(
    generator: ApplyFn,
    state: GANState,
    latent_dim: int,
    labels: np.ndarray | None = None,
    axis_name: str | None = None,
) -> GANState:
    """The state with `ema_stats` measured on the averaged generator itself.

    The moving average of batch norm's statistics belongs to no network: while the generator moves fast, samples of the
    averaged weights with it lose colour and contrast. So the statistics are computed anew from
    `STATISTICS_SAMPLES` latents whenever the average is sampled, judged or saved (as Izmailov
    et al. 2018, arXiv:1803.05407, do for averaged weights). They are a function of the averaged weights, of the trained
    generator's statistics (where power iteration starts) and of the run's key, so that a resumed run gets the same.

    Args:
      generator: the network as a pure function.
      state: of the run; a generator without running statistics leaves it as it is.
      latent_dim: length of a latent.
      labels: int32 `[STATISTICS_SAMPLES]` classes of a conditional generator, in the shares that it is trained with;
        None without classes.
      axis_name: the mapped axis that the generator's batch norm names, or None.
    """
    if not jax.tree.leaves(state.ema_stats):
        return state
    found = _measure(generator, latent_dim, axis_name, state.ema_params, state.generator.stats, state.key, labels)
    return state._replace(ema_stats=found)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _measure(
    generator: ApplyFn,
    latent_dim: int,
    axis_name: str | None,
    params: Tree,
    stats: Tree,
    key: Array,
    labels: Array | None,
) -> Tree:
    # fold_in by -1: no iteration of a run has that number, so these latents are no training batch's.
    key = jax.random.fold_in(jax.random.wrap_key_data(key), jnp.uint32(0xFFFFFFFF))
    batched = None if labels is None else labels.reshape(-1, STATISTICS_BATCH_SIZE)

    def batch(stats: Tree, drawn: tuple[Array, Array | None]) -> tuple[Tree, Tree]:
        """One training pass from empty running moments; (the vectors of spectral norm go on, the batch's moments)."""
        key, classes = drawn
        z = jax.random.normal(key, (STATISTICS_BATCH_SIZE, latent_dim))

        def forward(z: Array) -> Tree:
            return generator(params, stats, z, classes, train=True)[1]

        if axis_name is not None:  # A mapped axis of one device: the name that batch norm looks for.
            new = jax.tree.map(lambda leaf: leaf[0], jax.vmap(forward, axis_name=axis_name)(z[None]))
        else:
            new = forward(z)
        flat, old = flatten_dict(new), flatten_dict(stats)
        moments = {
            path: (leaf - BATCH_NORM_MOMENTUM * old[path]) / (1.0 - BATCH_NORM_MOMENTUM)
            for path, leaf in flat.items()
            if path[-1] in ("mean", "var")
        }
        kept = {path: old[path] if path in moments else leaf for path, leaf in flat.items()}
        return unflatten_dict(kept), moments

    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(STATISTICS_BATCHES))
    empty = unflatten_dict(
        {p: jnp.zeros_like(leaf) if p[-1] in ("mean", "var") else leaf for p, leaf in flatten_dict(stats).items()}
    )
    vectors, moments = jax.lax.scan(batch, empty, (keys, batched))
    found = {}
    for path, values in moments.items():
        average = values.mean(axis=0)
        if path[-1] == "var":  # Within the batches and between them.
            average += moments[*path[:-1], "mean"].var(axis=0)
        found[path] = average
    return unflatten_dict(flatten_dict(vectors) | found)
