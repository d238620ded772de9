"""How fast prepared records reach the host side of a streaming run: `python -m jaxgan.benchmark.input_speed`.

Random images, which do not compress: real ones are read faster.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from jaxgan.config.timetable import Timetable
from jaxgan.data.open import open_dataset
from jaxgan.data.sampler import Sampler
from jaxgan.data.source import StreamingSource

# (side, dtype, images, iterations): the two shapes that the presets stream on small machines.
CASES = ((28, "uint8", 8192, 60), (256, "float32", 256, 12))
N_CRITIC, BATCH = 5, 64


def measure(side: int, dtype: str, images: int, iterations: int) -> float:
    """Images a second out of `StreamingSource`, read and shuffled from array_record files.

    Args:
      side: of the square, one-channel images.
      dtype: in which they are stored.
      images: size of the set.
      iterations: how many are timed, of `N_CRITIC * BATCH` images each.
    """
    rng = np.random.default_rng(0)
    values = rng.random((images, side, side), np.float32)
    stored = (values * 255).astype(np.uint8) if dtype == "uint8" else values
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "random.npz", train_images=stored)
        dataset = open_dataset(Path(folder) / "random.npz", size=side, channels=1, cache_dir=Path(folder) / "cache")
        source = StreamingSource(dataset, Sampler(images, 0, Timetable(((N_CRITIC, BATCH),))))
        source.batch_refs(0, 2, 2)
        began = time.perf_counter()
        for step in range(2, 2 + iterations):
            source.batch_refs(step, 1, 1)
        elapsed = time.perf_counter() - began
        source.close()
    return iterations * N_CRITIC * BATCH / elapsed


if __name__ == "__main__":
    for case in CASES:
        print(f"{case[0]}x{case[0]} {case[1]}: {measure(*case):,.0f} images/s")
