"""Differentiable augmentation of reals and fakes alike: what DiffAugment and ADA do before the critic sees an image.

Sources: Zhao et al. 2020, arXiv:2006.10738 (color, translation, cutout) and Karras et al. 2020, arXiv:2006.06676 (all
else, with the constants of NVlabs/stylegan2-ada-pytorch). Every operation acts on one sample and with the same
probability, which may be a value known at run time alone. Where it does not happen its numbers are neutral, so that
nothing branches. The order is fixed: geometry, which mirrors the image at its border; values; then DiffAugment's.

Simpler than ADA's pipeline: linear interpolation without its low-pass filter, one rotation after the scaling in place
of one before and one after, and no luma flip, which would turn a map of values into its negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.augment.resampling import mirrored, read_axes, resample, turned_offset
from jaxgan.errors import InputError

Array = jax.Array
# Uniform numbers in [0, 1) of one sample by operation: first whether it happens, then what.
Draws = dict[str, Array]

_SHIFT = 0.125  # the largest share of the side, of ADA's and of DiffAugment's shift
_SCALE_STD, _FRACTION_STD = 0.2, 0.125  # of log2 of the zoom; of the side
_BRIGHTNESS_STD, _CONTRAST_STD, _SATURATION_STD = 0.2, 0.5, 1.0  # of values in [-1, 1]; of log2 of the factors
_CUTOUT = 0.5  # of the side
# Every operation, and how many numbers it draws for samples of so many spatial axes: those of ADA, then DiffAugment's.
DIFFAUGMENTATIONS: dict[str, Callable[[int], int]] = {
    "flip": lambda rank: 1 + (rank if rank == 3 else 1),
    "turn": lambda rank: 1 + rank,
    "shift": lambda rank: 1 + rank,
    "scale": lambda rank: 2,
    "anisotropy": lambda rank: 2,
    "fraction": lambda rank: 1 + rank,
    "rotation": lambda rank: 2,
    "brightness": lambda rank: 2,
    "contrast": lambda rank: 2,
    "saturation": lambda rank: 2,
    "color": lambda rank: 6,
    "translation": lambda rank: 1 + rank,
    "cutout": lambda rank: 1 + rank,
    # The last, so that the numbers of those above are what they were before there was this one.
    "hue": lambda rank: 2,
}
_AXIS_OPERATIONS = {"flip", "turn", "shift", "scale", "anisotropy", "fraction"}


def augment_both(policy: Sequence[str], probability: Array | float, keys: Array, images: Array) -> Array:
    """Augments a batch of reals or of fakes.

    Args:
      policy: names of operations, see `config.DiffAugmentation`; static under `jit`.
      probability: of each operation for each sample, a scalar.
      keys: `[N]` PRNG keys, one a sample.
      images: `[N, *S, C]` in [-1, 1], 2D or 3D.

    Returns:
      The same shape and dtype; values may leave [-1, 1]. It is differentiable in `images`, and affine.

    Raises:
      InputError: turns of samples whose sides differ (when traced).
    """
    sides = images.shape[1:-1]
    if "turn" in policy and len(set(sides)) > 1:
        raise InputError(f"config.diffaugment.policy='turn' needs equal sides, not {sides}: leave it out")
    return jax.vmap(partial(_augment_one, tuple(policy), probability))(keys, images)


def draw(key: Array, rank: int) -> Draws:
    """All numbers of one sample by ONE call, whatever the policy: an operation does not disturb the others."""
    counts = {name: count(rank) for name, count in DIFFAUGMENTATIONS.items()}
    numbers = jax.random.uniform(key, (sum(counts.values()),))
    return dict(zip(counts, jnp.split(numbers, np.cumsum(list(counts.values()))[:-1]), strict=True))


def _augment_one(policy: tuple[str, ...], probability: Array | float, key: Array, image: Array) -> Array:
    draws = draw(key, image.ndim - 1)
    return transform({name: draws[name] for name in policy}, probability, image)


def transform(draws: Draws, probability: Array | float, image: Array) -> Array:
    """The operations that `draws` names, on one sample `[*S, C]`."""
    dtype = image.dtype
    if _AXIS_OPERATIONS & draws.keys():
        image = _along_axes(draws, probability, image)
    if "rotation" in draws:
        happens, angle = draws["rotation"]
        angle = jnp.where(happens < probability, (2.0 * angle - 1.0) * math.pi, 0.0)
        image = resample(image, turned_offset(angle, image.shape[:-1]))
    if "brightness" in draws:
        happens, number = draws["brightness"]
        image = image + jnp.where(happens < probability, _BRIGHTNESS_STD * _normal(number), 0.0)
    if "contrast" in draws:
        image = image * _power(draws["contrast"], probability, _CONTRAST_STD)
    if "hue" in draws and image.shape[-1] == 3:
        image = _turned_hue(draws["hue"], probability, image)
    if "saturation" in draws and image.shape[-1] > 1:
        image = _about(image.mean(-1, keepdims=True), image, _power(draws["saturation"], probability, _SATURATION_STD))
    if "color" in draws:
        image = _color(draws["color"], probability, image)
    if "translation" in draws:
        image = _translation(draws["translation"], probability, image)
    if "cutout" in draws:
        image = image * (1.0 - _cut(draws["cutout"], probability, image.shape[:-1]))
    return image.astype(dtype)


def _along_axes(draws: Draws, probability: Array | float, image: Array) -> Array:
    """Flips, quarter turns, shifts and scaling: the axes change places, then each is read at other places."""
    shape = image.shape[:-1]
    rank = len(shape)
    sign, zoom, offset = jnp.ones(rank), jnp.ones(rank), jnp.zeros(rank)
    if "turn" in draws:
        image, sign = _turn(draws["turn"], probability, image)
    if "flip" in draws:
        happens, *coins = draws["flip"]
        # Images are mirrored left to right alone, as in ADA: their turns give the rest.
        flips = jnp.where((happens < probability) & (jnp.stack(coins) < 0.5), -1.0, 1.0)
        sign = sign * jnp.concatenate([jnp.ones(rank - len(flips)), flips])
    if "scale" in draws:
        zoom = zoom * _power(draws["scale"], probability, _SCALE_STD)
    if "anisotropy" in draws:
        stretch = _power(draws["anisotropy"], probability, _SCALE_STD)
        zoom = zoom * jnp.stack([1.0 / stretch, stretch])
    sides = jnp.array(shape, jnp.float32)
    if "shift" in draws:
        happens, numbers = draws["shift"][0], draws["shift"][1:]
        offset = offset + jnp.where(happens < probability, jnp.round((2.0 * numbers - 1.0) * _SHIFT * sides), 0.0)
    if "fraction" in draws:
        happens, numbers = draws["fraction"][0], draws["fraction"][1:]
        offset = offset + jnp.where(happens < probability, _FRACTION_STD * _normal(numbers) * sides, 0.0)
    places = []
    for axis, size in enumerate(shape):
        centre = (size - 1) / 2
        place = sign[axis] * (jnp.arange(size) - centre) / zoom[axis] + centre - offset[axis]
        places.append(mirrored(place, size))
    return read_axes(image, places)


def _turn(draws: Array, probability: Array | float, image: Array) -> tuple[Array, Array]:
    """The axes in another order, and the signs that make a rotation of it: 4 turns of a square, 24 of a cube."""
    rank = image.ndim - 1
    happens = draws[0] < probability
    order = jnp.where(happens, jnp.floor(math.factorial(rank) * draws[1]), 0)
    swapped, cycles = order % 2 == 1, order // 2
    if rank == 3:
        once, twice = jnp.transpose(image, (1, 2, 0, 3)), jnp.transpose(image, (2, 0, 1, 3))
        image = jnp.where(cycles == 1, once, jnp.where(cycles == 2, twice, image))
    image = jnp.where(swapped, jnp.swapaxes(image, 0, 1), image)
    free = jnp.where(happens & (draws[2:] < 0.5), -1.0, 1.0)
    # A swap mirrors, an odd number of reversed axes does too: together they must not.
    return image, jnp.append(free, jnp.prod(free) * jnp.where(swapped, -1.0, 1.0))


def _color(draws: Array, probability: Array | float, image: Array) -> Array:
    """Brightness + U(-.5, .5), saturation about the channels' mean * U(0, 2), contrast about the mean * U(.5, 1.5)."""
    happens, numbers = draws[:3] < probability, draws[3:]
    image = image + jnp.where(happens[0], numbers[0] - 0.5, 0.0)
    if image.shape[-1] > 1:
        image = _about(image.mean(-1, keepdims=True), image, jnp.where(happens[1], 2.0 * numbers[1], 1.0))
    return _about(image.mean(), image, jnp.where(happens[2], numbers[2] + 0.5, 1.0))


def _turned_hue(draws: Array, probability: Array | float, image: Array) -> Array:
    """RGB turned about the axis of grays by any angle (Rodrigues' formula): gray stays, red may become blue."""
    happens, angle = draws
    angle = jnp.where(happens < probability, (2.0 * angle - 1.0) * math.pi, 0.0)
    colour = image - image.mean(-1, keepdims=True)
    across = (jnp.roll(colour, -2, axis=-1) - jnp.roll(colour, -1, axis=-1)) / math.sqrt(3.0)
    return image + (jnp.cos(angle) - 1.0) * colour + jnp.sin(angle) * across


def _translation(draws: Array, probability: Array | float, image: Array) -> Array:
    """A shift by up to an eighth of each side, filled with 0."""
    places = []
    for number, size in zip(draws[1:], image.shape, strict=False):
        most = int(size * _SHIFT + 0.5)
        shift = jnp.floor(number * (2 * most + 1)) - most
        places.append(jnp.arange(size) + jnp.where(draws[0] < probability, shift, 0.0))
    return read_axes(image, places)


def _cut(draws: Array, probability: Array | float, shape: tuple[int, ...]) -> Array:
    """1 in a box of half the sides, whose middle lies anywhere in the image, 0 elsewhere; `[*S, 1]`."""
    mask = jnp.where(draws[0] < probability, 1.0, 0.0)
    for axis, (number, size) in enumerate(zip(draws[1:], shape, strict=True)):
        length = int(size * _CUTOUT + 0.5)
        first = jnp.floor(number * (size + 1 - length % 2)) - length // 2
        place = jnp.arange(size)
        inside = (place >= first) & (place < first + length)
        mask = mask * inside.reshape([-1 if a == axis else 1 for a in range(len(shape) + 1)])
    return mask


def _about(middle: Array, image: Array, factor: Array) -> Array:
    # Exactly the image at factor 1.
    return image + (factor - 1.0) * (image - middle)


def _power(draws: Array, probability: Array | float, std: float) -> Array:
    """`2 ** N(0, std)`, or 1 where it does not happen."""
    happens, number = draws
    return jnp.where(happens < probability, 2.0 ** (std * _normal(number)), 1.0)


def _normal(uniform: Array) -> Array:
    """Standard normal from uniform in [0, 1), which may be 0."""
    return math.sqrt(2.0) * jax.scipy.special.erfinv(2.0 * (uniform + 2.0**-24) - 1.0)
