"""What is drawn at random in an iteration: by the sample's place in the global batch, whatever device it is on."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.gan.game import GAN
from jaxgan.gan.state import GANState

Array = jax.Array

# Streams of random numbers of one sample. Reals and fakes are augmented in the same way, by draws of their own.
LATENT, PENALTY, SYMMETRY, AUGMENT_REAL, AUGMENT_FAKE = range(5)


def sample_keys(gan: GAN, state: GANState, update: Array | int, count: int) -> Array:
    """Keys `[count]` of this device's samples, by their place in the global batch."""
    key = jax.random.fold_in(jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step), update)
    first = lax.axis_index(gan.axis_name) * count if gan.axis_name else 0
    return jax.vmap(partial(jax.random.fold_in, key))(first + jnp.arange(count))


def stream(keys: Array, purpose: int) -> Array:
    """Keys `[N]` of one purpose, from those of samples."""
    return jax.vmap(lambda key: jax.random.fold_in(key, purpose))(keys)


def latents(gan: GAN, keys: Array) -> Array:
    """One latent a sample, `[N, latent_dim]`."""
    return jax.vmap(lambda key: jax.random.normal(key, (gan.latent_dim,)))(stream(keys, LATENT))


def with_symmetry(gan: GAN, keys: Array, real: Array) -> Array:
    """Reals `[N, *S, C]` turned and mirrored as the data look alike."""
    return real if gan.symmetry is None else jax.vmap(gan.symmetry)(stream(keys, SYMMETRY), real)


def augmented(gan: GAN, state: GANState, keys: Array, images: Array, purpose: int) -> Array:
    """Reals or fakes `[N, *S, C]` as the critic sees them; `purpose` is `AUGMENT_REAL` or `AUGMENT_FAKE`."""
    return images if gan.augment is None else gan.augment.apply(state.augment, stream(keys, purpose), images)
