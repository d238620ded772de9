"""One pass over a set of images that gathers all that the metrics need to know of it."""

from __future__ import annotations

import collections
import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.data.distribution import count_values
from jaxgan.evaluation.metrics.inception_score import inception_score
from jaxgan.evaluation.metrics.memorisation import pixel_descriptors
from jaxgan.evaluation.metrics.msssim import pair_similarities
from jaxgan.evaluation.metrics.spectrum import radial_power
from jaxgan.evaluation.metrics.swd import patch_descriptors
from jaxgan.evaluation.moments import add_moments, finish_moments, start_moments
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.stream import Batch, Reservoir, peek, rebatch
from jaxgan.evaluation.summary import Summary

MOST_FEATURES = 10_000
MOST_LOGITS = 50_000
MOST_IMAGES = 2_048
MOST_SAMPLES = 10_000
BINS_EACH = 256
BYTES = 2**28
# Of small images and their features, in which copies are searched: 60,000 digits and 90,000 patches of 28x28 RGB whole.
BYTES_SEARCHED = 2**31


@jax.jit
def _image_statistics(images: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    return count_values(images, weights), radial_power(images, weights.astype(jnp.float32))


@jax.jit
def _each_statistics(images: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same of every image by itself, in fewer bins: `[N, C, bins]` and `[N, C, R]`."""
    one = jnp.ones(1, jnp.int32)
    histograms = jax.vmap(lambda image: count_values(image[None], one, BINS_EACH))(images)
    return histograms, jax.vmap(lambda image: radial_power(image[None], jnp.ones(1)))(images)


@functools.partial(jax.jit, donate_argnums=0)
def _add_axes(sums: Any, features: jax.Array, weights: jax.Array) -> Any:
    each = jnp.repeat(weights.astype(jnp.float32), features.shape[2])
    return jax.vmap(add_moments, (0, 0, None))(sums, features.reshape(len(features), -1, features.shape[-1]), each)


class _Gatherer:
    """Takes finished device results of one batch after the other."""

    def __init__(self, needs: set[str], shape: tuple[int, ...], bytes_per_feature: int, bytes_per_vector: int):
        self.needs = needs
        numbers = int(np.prod(shape))
        pixels = numbers * min(1.0, float(np.prod([min(32, s) for s in shape[:-1]])) / np.prod(shape[:-1]))
        self.features = Reservoir(min(MOST_FEATURES, BYTES // max(bytes_per_feature, 1)))
        self.logits = Reservoir(MOST_LOGITS)
        self.each = Reservoir(min(MOST_FEATURES, BYTES // (4 * shape[-1] * (BINS_EACH + min(shape[:-1])))))
        self.images = Reservoir(min(MOST_IMAGES, BYTES // (4 * numbers)))
        self.samples = Reservoir(min(MOST_SAMPLES, BYTES // (4 * numbers)))
        self.pixels = Reservoir(int(BYTES_SEARCHED / (4 * pixels + bytes_per_vector)))
        self.histogram: np.ndarray = np.zeros((), np.int64)
        self.power: np.ndarray = np.zeros(())
        self.count = 0

    def take(self, batch, features, logits, statistics) -> None:
        n = batch.count
        self.count += n
        if "pixels" in self.needs:
            descriptors = pixel_descriptors(batch.images[:n])
            vectors = np.moveaxis(np.asarray(features)[:, :n], 1, 0).mean(axis=2) if features is not None else None
            self.pixels.add(batch.positions, descriptors, *([] if vectors is None else [vectors.reshape(n, -1)]))
        labels = np.full(n, -1, np.int32) if batch.labels is None else batch.labels
        if "samples" in self.needs:
            self.samples.add(batch.images[:n], labels, batch.positions)
        if "features" in self.needs and features is not None:
            self.features.add(np.moveaxis(np.asarray(features)[:, :n], 1, 0), labels)
        if "logits" in self.needs and logits is not None:
            self.logits.add(np.moveaxis(np.asarray(logits)[:, :n], 1, 0))
        if {"patches", "similarity"} & self.needs:
            self.images.add(batch.images[:n])
        if statistics is not None and "each" in self.needs:
            self.each.add(*(np.asarray(part)[:n] for part in statistics[2:]))
        if statistics is not None:
            self.histogram = self.histogram + np.asarray(statistics[0], np.int64)
            self.power = self.power + np.asarray(statistics[1], np.float64)

    def finish(self, has_features: bool, has_logits: bool) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        if "features" in self.needs and has_features:
            arrays["features"], arrays["labels"] = self.features.columns()
        if "logits" in self.needs and has_logits:
            logits = np.moveaxis(self.logits.columns()[0], 1, 0)
            arrays["inception_score"] = np.asarray([inception_score(a.reshape(-1, a.shape[-1])) for a in logits])
        if "patches" in self.needs:
            levels = patch_descriptors(self.images.columns()[0])
            arrays |= {f"patches_{i}": level for i, level in enumerate(levels)}
        if "similarity" in self.needs:
            arrays["similarity"], arrays["pairs"] = pair_similarities(self.images.columns()[0])
        if "statistics" in self.needs:
            arrays |= {"histogram": self.histogram, "power": self.power / self.count}
        if "each" in self.needs:
            arrays["histograms"], arrays["powers"] = self.each.columns()
        if "samples" in self.needs:
            names = ("samples", "sample_labels", "sample_positions")
            arrays |= dict(zip(names, self.samples.columns(), strict=True))
        if "pixels" in self.needs:
            columns = self.pixels.columns()
            arrays |= dict(zip(("positions", "pixels", "vectors"), columns, strict=False))
        return arrays


def summarise(name: str, batches: Iterable, needs: Iterable[str], extractor: Extractor | None) -> Summary:
    """Goes once over a set, on all local devices, in memory that does not grow with it.

    Args:
      name: "real" or "generated", for messages.
      batches: of `[n, *shape]` float32 in [-1, 1], or pairs of these and labels `[n]`; larger ones than the device
        should take at once are cut, smaller ones are joined up to the size of the first.
      needs: what to gather, from `metric.NEEDS`.
      extractor: None when no features are needed.

    Raises:
      InputError: no images, mixed shapes, values that are not finite or outside [-1, 1].
    """
    (size, *shape), batches = peek(name, batches)
    shape = tuple(shape)
    needs = set(needs)
    size = min(size, extractor.batch_size(shape) if extractor else int(np.clip(2**22 // np.prod(shape), 1, 256)))
    devices = jax.local_devices()
    variables = [jax.device_put(extractor.variables, d) for d in devices] if extractor else []
    sums: dict[Any, Any] = {}
    origin = None
    slices = (3 * 8 if len(shape) == 4 else 1) * (1 if shape[-1] == 3 else shape[-1])
    width = 4 * extractor.width if extractor else 0
    gatherer = _Gatherer(needs, shape, slices * width, (3 if len(shape) == 4 else 1) * width)
    pending: collections.deque[tuple[Batch, Any, Any, Any]] = collections.deque()
    has_logits = False
    for number, batch in enumerate(rebatch(name, batches, size, shape)):
        # Round robin over the devices; calls return before they are done, so that all devices work at once.
        device = devices[number % len(devices)]
        images = jax.device_put(batch.images, device)
        weights = jax.device_put((np.arange(size) < batch.count).astype(np.int32), device)
        features = logits = statistics = None
        if extractor is not None:
            features, logits = extractor.extract(variables[number % len(devices)], images)
            has_logits = logits is not None
            if "moments" in needs:
                if origin is None:
                    origin = np.asarray(features[:, : batch.count].mean(axis=(1, 2)))
                if device not in sums:
                    sums[device] = jax.vmap(start_moments)(jax.device_put(origin, device))
                sums[device] = _add_axes(sums[device], features, weights)
        if "statistics" in needs:
            statistics = _image_statistics(images, weights)
            statistics += _each_statistics(images) if "each" in needs else ()
        pending.append((batch, features, logits, statistics))
        if len(pending) > len(devices):
            gatherer.take(*pending.popleft())
    while pending:
        gatherer.take(*pending.popleft())
    axes = range(len(origin)) if origin is not None else ()
    moments = [finish_moments([jax.tree.map(lambda leaf, a=axis: leaf[a], s) for s in sums.values()]) for axis in axes]
    arrays = gatherer.finish(extractor is not None, has_logits)
    return Summary(gatherer.count, shape, moments, arrays)
