"""Augmentation of real samples on the device, inside the compiled update.

Every operation acts on one sample, with a probability of its own: what happens to a sample depends on the
key and on its place in the batch, never on the other samples, nor on which other operations are on. An
operation whose probability is 0 leaves no trace in the compiled program. Rotation, scaling and elastic
deformation share ONE linear resampling.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.augment.resampling import resample, turned_offset
from jaxgan.config.augmentation import Augmentation
from jaxgan.errors import InputError

# Optical densities of hematoxylin, eosin and DAB (Ruifrok and Johnston 2001), one stain a row, unit length.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
_STAINS /= np.linalg.norm(_STAINS, axis=1, keepdims=True)
_RGB_TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_ELASTIC_POINTS = 5

# Every operation, in the order in which they act, and how many numbers it draws for samples of so many spatial axes.
# Its name is that of its probability in `Augmentation`.
OPERATIONS: dict[str, Callable[[int], int]] = {
    "flip": lambda rank: rank,
    "rot90": lambda rank: 2,
    "affine": lambda rank: 3,
    "elastic": lambda rank: 1 + rank * _ELASTIC_POINTS**rank,
    "stain": lambda rank: 7,
    "colour": lambda rank: 5,
    "gamma": lambda rank: 2,
    "noise": lambda rank: 2,
}


def augment(key: jax.Array, images: jax.Array, config: Augmentation) -> jax.Array:
    """Augments a batch.

    Args:
      key: one PRNG key.
      images: `[N, H, W, C]` or `[N, D, H, W, C]`, float32 in [-1, 1].
      config: probabilities and strengths; static under `jit`.

    Returns:
      the same shape and range; `images` itself when no operation is on.

    Raises:
      InputError: an operation that does not fit the samples' rank, channels or shape (when traced).
    """
    config.check(images.ndim - 2, images.shape[-1])
    if not config.active:
        return images
    # fold_in, not split: sample i's key must not depend on the size of the batch.
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(images.shape[0]))
    return jax.vmap(lambda key, image: _augment_one(key, image, config))(keys, images)


def _augment_one(key: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    on = config.active
    draws_key, noise_key = jax.random.split(key)
    draws = _draw(draws_key, image.ndim - 1)
    if "flip" in on:
        image = _flip(draws["flip"], image, config)
    if "rot90" in on:
        image = _rot90(draws["rot90"], image, config)
    if "affine" in on or "elastic" in on:
        image = resample(image, _displacement(draws, image.shape[:-1], config))
    for name, change in (("stain", _stain), ("colour", _colour), ("gamma", _gamma)):
        if name in on:
            happens, *strengths = draws[name]
            changed = jnp.clip(change(strengths, image, config), -1.0, 1.0)
            image = jnp.where(happens < getattr(config, name), changed, image)
    if "noise" in on:
        happens, std = draws["noise"]
        noise = std * config.noise_std * jax.random.normal(noise_key, image.shape)
        image = jnp.where(happens < config.noise, jnp.clip(image + noise, -1.0, 1.0), image)
    return image


def _draw(key: jax.Array, rank: int) -> dict[str, jax.Array]:
    """Uniform numbers in [0, 1) for every operation, on or off, by ONE call: each costs compile time."""
    counts = {name: count(rank) for name, count in OPERATIONS.items()}
    numbers = jax.random.uniform(key, (sum(counts.values()),))
    return dict(zip(counts, jnp.split(numbers, np.cumsum(list(counts.values()))[:-1]), strict=True))


def _between(draw: jax.Array, limit: float) -> jax.Array:
    """Uniform in [-limit, limit), from uniform in [0, 1)."""
    return (2.0 * draw - 1.0) * limit


def _flip(draws: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    for axis, happens in enumerate(draws):
        image = jnp.where(happens < config.flip, jnp.flip(image, axis), image)
    return image


def _rot90(draws: jax.Array, image: jax.Array, config: Augmentation) -> jax.Array:
    """Turns the last two spatial axes by 90, 180 or 270 degrees."""
    rows, columns = image.ndim - 3, image.ndim - 2
    if image.shape[rows] != image.shape[columns]:
        raise InputError(
            f"config.augment.rot90={config.rot90} needs square images, not {image.shape[:-1]}: set it to 0"
        )
    happens, turns = draws
    turns = jnp.where(happens < config.rot90, 1 + jnp.floor(3.0 * turns), 0)
    image = jnp.where(turns % 2 == 1, jnp.rot90(image, axes=(rows, columns)), image)
    return jnp.where(turns >= 2, jnp.flip(image, (rows, columns)), image)


def _displacement(draws: dict[str, jax.Array], shape: tuple[int, ...], config: Augmentation) -> jax.Array:
    """Where each output pixel is read, as an offset in pixels `[rank, *shape]`; 0 where nothing happens."""
    rank = len(shape)
    offset = jnp.zeros((rank, *shape))
    if config.affine:
        happens, angle, zoom = draws["affine"]
        angle = _between(angle, math.radians(config.rotate_degrees))
        moved = turned_offset(angle, shape, 1.0 / (1.0 + _between(zoom, config.scale)))
        offset += jnp.where(happens < config.affine, moved, 0.0)
    if config.elastic:
        happens, points = draws["elastic"][0], draws["elastic"][1:]
        points = _between(points, config.elastic_strength).reshape((rank,) + (_ELASTIC_POINTS,) * rank)
        smooth = jax.image.resize(points, (rank, *shape), method="cubic")
        smooth *= jnp.array(shape, jnp.float32).reshape((rank,) + (1,) * rank)
        offset += jnp.where(happens < config.elastic, smooth, 0.0)
    return offset


def _stain(draws: list[jax.Array], image: jax.Array, config: Augmentation) -> jax.Array:
    draws = jnp.stack(draws)[None, None]
    factor, shift = _between(draws[..., :3], config.stain_strength), _between(draws[..., 3:], config.stain_strength / 2)
    # The 256 and the 1 keep the logarithm finite at black and the way back exact.
    density = -jnp.log(((image + 1.0) * 127.5 + 1.0) / 256.0)
    amounts = _matmul(density, np.linalg.inv(_STAINS))
    density += _matmul(factor * amounts + shift, _STAINS)
    return (256.0 * jnp.exp(-density) - 1.0) / 127.5 - 1.0


def _colour(draws: list[jax.Array], image: jax.Array, config: Augmentation) -> jax.Array:
    brightness, contrast, saturation, hue = draws
    unit = (image + 1.0) * 0.5
    unit += _between(brightness, config.brightness) * unit
    unit += _between(contrast, config.contrast) * (unit - unit.mean())
    if image.shape[-1] == 3:
        # Hue is a turn of the chroma plane of YIQ, saturation its length: both are one matrix on RGB.
        turn, length = (
            _between(hue, 2.0 * math.pi * config.hue),
            1.0 + _between(saturation, config.saturation),
        )
        cos, sin = length * jnp.cos(turn), length * jnp.sin(turn)
        chroma = jnp.zeros((3, 3)).at[1:, 1:].set(jnp.array([[cos - 1.0, -sin], [sin, cos - 1.0]]))
        change = _matmul(np.linalg.inv(_RGB_TO_YIQ), _matmul(chroma, _RGB_TO_YIQ))
        unit += _matmul(unit, change.T)
    return unit * 2.0 - 1.0


def _gamma(draws: list[jax.Array], image: jax.Array, config: Augmentation) -> jax.Array:
    (exponent,) = draws
    exponent = 2.0 ** _between(exponent, config.gamma_strength)
    unit = (image + 1.0) * 0.5
    # Below the floor the curve goes on as a straight line, since a power's slope at 0 has no bound.
    floor = 1e-3
    curve = jnp.where(unit > floor, jnp.maximum(unit, floor) ** exponent, unit * floor ** (exponent - 1.0))
    return curve * 2.0 - 1.0


def _matmul(a: jax.Array | np.ndarray, b: jax.Array | np.ndarray) -> jax.Array:
    """Small float32 product; the default on TPU and GPU would round colours to bfloat16 or TF32."""
    return jnp.matmul(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32), precision="highest")
