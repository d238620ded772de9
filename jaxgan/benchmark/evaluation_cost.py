"""What an evaluation costs: time and memory of features, of the Fréchet distance and of the searches for copies.

    python -m jaxgan.benchmark.evaluation_cost            # features and Fréchet distance
    python -m jaxgan.benchmark.evaluation_cost images     # 1,000 digits in 10,000, 8 symmetries, 49 shifts
    python -m jaxgan.benchmark.evaluation_cost volumes    # 100 volumes of 64^3 in 200, the 24 turns and their mirrors

The searches are bounded: a minute and a GiB for the images, five minutes for the volumes, on 2 cores.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import jax
import numpy as np
from jax.scipy.ndimage import map_coordinates

from jaxgan.evaluation.gather import summarise
from jaxgan.evaluation.metrics.frechet import FID, frechet_distance
from jaxgan.evaluation.moments import Moments
from jaxgan.evaluation.networks.extractor import vgg16_extractor
from jaxgan.evaluation.symmetric_search import nearest_transformed, shift_of, symmetries

_CHUNK = 500


def _peak_memory() -> int:
    """Peak resident memory of the process, bytes (the system counts KiB on Linux, bytes on macOS)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _random_moments(width: int, rng: np.random.Generator) -> Moments:
    factor = rng.standard_normal((width, width)) / np.sqrt(width)
    return Moments(10 * width, rng.standard_normal(width), factor @ factor.T)


def evaluation_benchmark(count: int = 10_000, side: int = 28, width: int = 2048) -> dict[str, Any]:
    """Times VGG16 features of gray images in a stream, and the Fréchet distance of wide features.

    Args:
      count: images whose features and moments are gathered, after a tenth as many to compile and warm up.
      side: of the images.
      width: of the features whose distance is timed.

    Returns:
      Seconds, images a second, and how many bytes the peak memory grew by while the images streamed past.
    """
    rng = np.random.default_rng(0)
    extractor = vgg16_extractor()

    def images(total: int):
        for _ in range(max(1, total // _CHUNK)):
            yield rng.uniform(-1, 1, (_CHUNK, side, side, 1)).astype(np.float32)

    summarise("generated", images(count // 10), FID.needs, extractor)
    before, start = _peak_memory(), time.perf_counter()
    gathered = summarise("generated", images(count), FID.needs, extractor).count
    seconds = time.perf_counter() - start
    grown = _peak_memory() - before
    pair = [_random_moments(width, rng) for _ in range(2)]
    start = time.perf_counter()
    frechet_distance(*pair)
    return {
        "device": jax.devices()[0].device_kind,
        "vgg16": {
            "images": gathered,
            "shape": [side, side, 1],
            "seconds": seconds,
            "images_per_second": gathered / seconds,
            "peak_memory_growth_bytes": grown,
        },
        "frechet": {"features": width, "seconds": time.perf_counter() - start},
        "peak_memory_bytes": _peak_memory(),
    }


def training_digits(count: int) -> tuple[np.ndarray, np.ndarray]:
    """1,000 of the demo digits as samples, and `count` others, turned by a few degrees and stretched where they repeat.

    Returns:
      `[1000, 28, 28, 1]` and `[count, 28, 28, 1]` in [-1, 1].
    """
    from jaxgan.data.demo import digits

    data, random = digits(), np.random.default_rng(0)
    images = data.scaling.decode(data.read(random.permutation(data.size)))
    samples, pool = images[:1000], images[1000:]
    train = np.resize(pool, (count, *pool.shape[1:]))
    places = np.indices((28, 28), np.float64).reshape(2, -1) - 13.5
    warp = jax.jit(lambda image, moved: map_coordinates(image, list(moved), order=1, cval=-1.0))
    for image in train[len(pool) :]:
        angle = random.normal(0, 0.15)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        moved = turn @ np.diag(random.normal(1, 0.1, 2)) @ places + 13.5
        image[..., 0] = warp(image[..., 0], moved.astype(np.float32)).reshape(28, 28)
    return samples, train.clip(-1, 1)


def smooth_volumes(count: int, side: int = 64, seed: int = 0) -> np.ndarray:
    """Volumes `[count, side, side, side, 1]` of coarse random blobs, as alike as volumes with nothing in common are."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, (count, 6, 6, 6, 1)).astype(np.float32)
    shape = (1, side, side, side, 1)
    return np.concatenate([np.asarray(jax.image.resize(c[None], shape, "cubic")) for c in coarse]).clip(-1, 1)


def search_benchmark(samples: np.ndarray, train: np.ndarray) -> dict[str, Any]:
    """Times `nearest_transformed`; a fifth of the samples are training images, mirrored, which must all be found.

    Args:
      samples: `[M, *spatial, C]` in [-1, 1].
      train: `[N, *spatial, C]`, N at least M / 5.

    Returns:
      Seconds by the clock and of all cores together, how many bytes the peak memory grew by, and the share of the
      planted copies that were found.
    """
    planted = len(samples) // 5
    samples = np.concatenate([train[:planted, ::-1], samples[planted:]])
    before, start, busy = _peak_memory(), time.perf_counter(), time.process_time()
    found = nearest_transformed(samples, train)
    seconds, busy, spatial = time.perf_counter() - start, time.process_time() - busy, train.shape[1:-1]
    return {
        "device": jax.devices()[0].device_kind,
        "samples": len(samples),
        "training_images": len(train),
        "shape": list(train.shape[1:]),
        "symmetries": len(symmetries(spatial)),
        "shift": shift_of(spatial),
        "seconds": seconds,
        "processor_seconds": busy,
        "peak_memory_growth_bytes": _peak_memory() - before,
        "peak_memory_bytes": _peak_memory(),
        "planted_found": float(np.mean(found.index[:planted] == np.arange(planted))),
    }


def main(kind: str = "features") -> dict[str, Any]:
    """Runs the benchmark of that name: features, images or volumes."""
    if kind == "images":
        return search_benchmark(*training_digits(10_000))
    if kind == "volumes":
        return search_benchmark(smooth_volumes(100, seed=1), smooth_volumes(200))
    return evaluation_benchmark()


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:2]), indent=2))
