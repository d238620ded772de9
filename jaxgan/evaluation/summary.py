"""All that the metrics need to know of one set of images, in bounded memory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.evaluation.moments import Moments, moments_of

# Arrays with a row a sample that `subset` takes, by the beginning of their names.
_ROWS = ("features", "labels", "patches_", "histograms", "powers")


@dataclasses.dataclass
class Summary:
    """Bounded-size statistics of a set.

    Attributes:
      count: samples in the set.
      shape: of one sample.
      moments: of the features, one an axis (images have one); empty when not asked for.
      arrays: what else was asked for, by name: `features` `[n, A, S, D]`, `labels` `[n]`, `inception_score`
        `[A, 2]`, `histogram` `[C, bins]`, `power` `[C, R]`, `patches_<level>` `[n, P, K]`, `similarity` `[P]`
        of the `pairs` `[P, 2]` of the patches' images,
        `pixels` `[n, P]`, `positions` `[n]` (places of the pixels' samples in the stream), `samples` `[n, *shape]` with
        `sample_labels` `[n]` (-1: no class) and `sample_positions` `[n]`.
      memo: what metrics made of the set and may want again; not saved.
    """

    count: int
    shape: tuple[int, ...]
    moments: list[Moments]
    arrays: dict[str, np.ndarray]
    memo: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def patches(self) -> list[np.ndarray]:
        """Patch descriptors by pyramid level, finest first."""
        names = sorted((n for n in self.arrays if n.startswith("patches_")), key=lambda n: int(n[8:]))
        return [self.arrays[name] for name in names]

    def subset(self, choose: Callable[[int], np.ndarray]) -> Summary:
        """The summary of a part of the set, as far as single samples were kept.

        Args:
          choose: the places that are taken, of so many samples.
        """
        arrays: dict[str, np.ndarray] = {}
        for name, array in self.arrays.items():
            if name.startswith(_ROWS):
                arrays[name] = array[choose(len(array))]
        if "histograms" in arrays:
            arrays["histogram"] = arrays["histograms"].sum(axis=0, dtype=np.int64)
            arrays["power"] = arrays["powers"].mean(axis=0)
        moments = []
        if self.moments:
            features = arrays["features"]
            moments = [moments_of(features[:, a].reshape(-1, features.shape[-1])) for a in range(features.shape[1])]
        return Summary(len(choose(self.count)), self.shape, moments, arrays)

    def save(self, path: Path) -> None:
        """Writes an npz."""
        record = {"count": self.count, "shape": self.shape, "moments": [m.count for m in self.moments]}
        arrays = {f"array_{name}": value for name, value in self.arrays.items()}
        for axis, moments in enumerate(self.moments):
            arrays |= {f"mean_{axis}": moments.mean, f"cov_{axis}": moments.cov}
        with path.open("wb") as file:
            # Its own argument, allow_pickle, is no name of an array.
            np.savez(file, record=np.asarray(json.dumps(record)), **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: Path) -> Summary:
        """Reads what `save` wrote; raises `ValueError`, `KeyError` or `OSError` when it is damaged."""
        with np.load(path, allow_pickle=False) as file:
            record = json.loads(str(file["record"]))
            moments = [
                Moments(count, file[f"mean_{axis}"], file[f"cov_{axis}"])
                for axis, count in enumerate(record["moments"])
            ]
            arrays = {name[6:]: file[name] for name in file.files if name.startswith("array_")}
        return cls(record["count"], tuple(record["shape"]), moments, arrays)
