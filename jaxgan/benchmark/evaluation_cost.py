"""What an evaluation costs: time and memory of features and of the Fréchet distance.

python -m jaxgan.benchmark.evaluation_cost
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import jax
import numpy as np

from jaxgan.evaluation.gather import summarise
from jaxgan.evaluation.metrics.frechet import FID, frechet_distance
from jaxgan.evaluation.moments import Moments
from jaxgan.evaluation.networks.extractor import vgg16_extractor

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


if __name__ == "__main__":
    print(json.dumps(evaluation_benchmark(), indent=2))
