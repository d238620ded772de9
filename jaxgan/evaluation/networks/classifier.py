"""A small classifier that is trained on the spot: no weights from outside, for images and volumes."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

# Larger samples are averaged down to this side first: the judge of a class needs shape, not grain.
SIDES = {2: 64, 3: 32}
UPDATES = 600
BATCH = 64
LEARNING_RATE = 3e-3
WIDTH = 16
_STEP = 4096


def _windows(x: jax.Array) -> jax.Array:
    """What a convolution of kernel 4 and stride 2 sees at each place: `[N, *spatial / 2, 4^rank C]`.

    Gathered columns and one matrix product: XLA's own convolutions are far slower on a CPU inside a scan.
    """
    rank = x.ndim - 2
    x = jnp.pad(x, [(0, 0), *[(1, 1 + side % 2) for side in x.shape[1:-1]], (0, 0)])
    outer = [side // 2 - 1 for side in x.shape[1:-1]]
    columns = []
    for offset in itertools.product(range(4), repeat=rank):
        window = tuple(slice(start, start + 2 * size, 2) for start, size in zip(offset, outer, strict=True))
        columns.append(x[(slice(None), *window)])
    return jnp.concatenate(columns, axis=-1)


class Classifier(nn.Module):
    """Strided convolutions with group normalisation until 4 are left of the longest side, then a linear layer.

    Attributes:
      classes: number of logits.
    """

    classes: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, *spatial, C]` in [-1, 1], spatial of rank 2 or 3, to logits `[N, classes]`."""
        width = WIDTH
        while max(x.shape[1:-1]) > 4:
            x = nn.relu(nn.GroupNorm(num_groups=4)(nn.Dense(width)(_windows(x))))
            width = min(2 * width, 4 * WIDTH)
        return nn.Dense(self.classes)(x.reshape(len(x), -1))


@dataclasses.dataclass(frozen=True)
class Trained:
    """A classifier after its training; called, it gives probabilities."""

    classes: int
    variables: Any

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities `[N, classes]`, float64, of `[N, *spatial, C]` in [-1, 1]."""
        images = fit_side(images)
        size = min(256, len(images))
        found = []
        for start in range(0, len(images), size):
            block = images[start : start + size]
            padded = np.concatenate([block, np.repeat(block[:1], size - len(block), axis=0)])
            found.append(np.asarray(_logits(self.variables, padded, self.classes), np.float64)[: len(block)])
        logits = np.concatenate(found)
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def fit_side(images: np.ndarray) -> np.ndarray:
    """Images brought down to the side that the classifier works at; smaller ones as they are."""
    *spatial, channels = images.shape[1:]
    sides = tuple(min(SIDES[len(spatial)], side) for side in spatial)
    if sides == tuple(spatial):
        return np.asarray(images, np.float32)
    # In blocks: the resized copy is small, the whole set at once on the device may not be.
    size = max(1, 2**24 // int(np.prod(images.shape[1:])))
    blocks = [images[start : start + size] for start in range(0, len(images), size)]
    return np.concatenate([jax.image.resize(b, (len(b), *sides, channels), "linear") for b in blocks])


@functools.partial(jax.jit, static_argnames="classes")
def _logits(variables: Any, images: jax.Array, classes: int) -> jax.Array:
    logits = Classifier(classes).apply(variables, images)
    assert isinstance(logits, jax.Array)  # no variables come back
    return logits


@functools.partial(jax.jit, static_argnames="classes")
def _train(key: jax.Array, images: jax.Array, labels: jax.Array, batches: jax.Array, classes: int) -> Any:
    model = Classifier(classes)
    variables = model.init(key, images[:1])
    optimizer = optax.adam(optax.cosine_decay_schedule(LEARNING_RATE, len(batches)))

    def loss(variables, rows):
        logits = model.apply(variables, images[rows])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels[rows]).mean()

    def update(carry, rows):
        variables, state = carry
        updates, state = optimizer.update(jax.grad(loss)(variables, rows), state)
        return (optax.apply_updates(variables, updates), state), None

    (variables, _), _ = jax.lax.scan(update, (variables, optimizer.init(variables)), batches)
    return variables


def train_classifier(
    images: np.ndarray, labels: np.ndarray, classes: int, *, updates: int = UPDATES, seed: int = 0
) -> Trained:
    """Trains a classifier with batches in which every class that occurs is as frequent as every other.

    Args:
      images: `[N, *spatial, C]` in [-1, 1].
      labels: `[N]` integers from 0 to `classes - 1`.
      classes: number of classes.
      updates: of the weights, whatever N: trainings on sets of different size see equally many samples.
      seed: of the weights and of the batches.
    """
    images, labels = fit_side(images), np.asarray(labels, np.int32)
    share = 1.0 / np.bincount(labels, minlength=classes)[labels]
    batches = np.random.default_rng(seed).choice(len(images), (updates, BATCH), p=share / share.sum())
    # Filled up, with what no batch takes, to one of few sizes: each costs a compilation.
    count = len(images)
    size = max(64, 1 << (count - 1).bit_length()) if count <= _STEP else -(-count // _STEP) * _STEP
    images = np.concatenate([images, np.zeros((size - count, *images.shape[1:]), np.float32)])
    labels = np.concatenate([labels, np.zeros(size - count, np.int32)])
    return Trained(classes, _train(jax.random.key(seed), images, labels, batches.astype(np.int32), classes))
