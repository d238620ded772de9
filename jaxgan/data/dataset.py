"""What training needs to know of a prepared dataset, whatever it is stored in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A finite, indexable set of equally shaped images or volumes in their stored dtype.

    Attributes:
      name: what the user calls it.
      size: number of samples.
      shape: of one sample, channels last: `(H, W, C)` or `(D, H, W, C)`.
      read: `read(indices [n] int64) -> [n, *shape]` in the stored dtype; thread-safe, in the order asked for.
      scaling: how stored values map to [-1, 1].
      labels: `[size]` int32 class of each sample, or None.
      class_names: one name a class; empty without labels.
      fingerprint: hash of the content, so that a resumed run notices other data.
      affine: 4x4 matrix from array indices to RAS+ world coordinates of volumes, in mm or, without `spacing`, in
        voxels; or None.
      spacing: mm along each spatial axis, or None where it is not known.
      held_out: the samples that are kept from training, with which evaluation compares; None without a holdout.
      trainable: False if the set holds samples that are to be kept from training.
      files: gives the file, or place in a file, that each sample came from, one a sample; None where it is not known.
    """

    name: str
    size: int
    shape: tuple[int, ...]
    read: Callable[[np.ndarray], np.ndarray]
    scaling: Scaling
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    fingerprint: str = ""
    affine: np.ndarray | None = None
    spacing: tuple[float, ...] | None = None
    held_out: Dataset | None = None
    trainable: bool = True
    files: Callable[[], list[str]] | None = None

    def __post_init__(self):
        if self.size < 1:
            raise InputError(f"dataset {self.name} is empty: give a source with at least one image")
        if self.labels is not None and len(self.labels) != self.size:
            raise InputError(f"dataset {self.name} has {self.size} samples but {len(self.labels)} labels")

    @property
    def num_classes(self) -> int:
        """Number of classes, 0 without labels."""
        return len(self.class_names)

    @property
    def nbytes(self) -> int:
        """Size of all samples in their stored dtype."""
        return self.size * int(np.prod(self.shape)) * np.dtype(self.scaling.dtype).itemsize

    def drawn_labels(self, count: int, seed: int) -> np.ndarray:
        """Classes int32 `[count]` at random, as often as labelled data have them: a generator that is asked for other
        shares is judged, or measured, by a mix that it did not learn."""
        assert self.labels is not None  # asked of labelled data only
        return np.random.default_rng(seed).choice(self.labels, count).astype(np.int32)

    def load(self) -> np.ndarray:
        """All samples in memory, `[size, *shape]` in the stored dtype."""
        return self.read(np.arange(self.size))


def from_arrays(
    name: str,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    scaling: Scaling | None = None,
    class_names: tuple[str, ...] = (),
    fingerprint: str = "",
) -> Dataset:
    """A `Dataset` over arrays in memory.

    Args:
      name: what the user calls it.
      images: `[N, *spatial, C]` in the stored dtype.
      labels: `[N]` integers from 0, or None.
      scaling: defaults to the range of an integer dtype; floats must give one.
      class_names: defaults to "0", "1", ...
      fingerprint: hash of the content.

    Raises:
      InputError: floats without a scaling, or labels that do not fit.
    """
    if scaling is None:
        if not np.issubdtype(images.dtype, np.integer):
            raise InputError(f"dataset {name}: {images.dtype} values need a scaling (low and high of the whole set)")
        info = np.iinfo(images.dtype)
        scaling = Scaling(images.dtype.name, float(info.min), float(info.max))
    if labels is not None:
        labels = np.asarray(labels, np.int32).reshape(-1)
        class_names = class_names or tuple(str(c) for c in range(int(labels.max()) + 1))
    return Dataset(
        name, len(images), tuple(images.shape[1:]), lambda i: images[i], scaling, labels, class_names, fingerprint
    )


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """What a checkpoint keeps of the data, JSON-able: enough to sample in original units and to notice other data."""
    return json.loads(
        json.dumps(
            {
                "name": dataset.name,
                "size": dataset.size,
                "shape": dataset.shape,
                "scaling": dataset.scaling.to_dict(),
                "class_names": dataset.class_names,
                "fingerprint": dataset.fingerprint,
                "affine": None if dataset.affine is None else np.asarray(dataset.affine).tolist(),
                "spacing": dataset.spacing,
            }
        )
    )
