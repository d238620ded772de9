"""How reals reach the step. All sources give the same samples in the same order, decoded by the same operations.

*Resident*: the whole set lies on every device in its stored dtype; the host sends indices. *Sharded*: the same, but
each device holds its part of the set, and they exchange what a batch needs. *Streaming*: the host reads batches in the
stored dtype ahead of time and sends them. The step turns any reference into float32 with `load_batch`.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from jaxgan import parallel
from jaxgan.config.timetable import Timetable
from jaxgan.data.dataset import Dataset
from jaxgan.data.sampler import Sampler

Tree = Any


class ResidentSource:
    """The dataset on the device.

    Args:
      dataset: what to draw from.
      sampler: which samples an iteration takes.
    """

    # Which arrays of `data` have a leading axis over devices: none.
    data_axes: Tree = None

    def __init__(self, dataset: Dataset, sampler: Sampler):
        self._sampler = sampler
        self._scaling = dataset.scaling
        self.data = self._place(dataset)

    def _place(self, dataset: Dataset) -> Tree:
        return parallel.replicate((dataset.load(), dataset.labels))

    def _rows(self, images: Any, batch_ref: Any) -> Any:
        return images[batch_ref]

    def batch_refs(self, step: int, count: int, length: int) -> Tree:
        """int32 indices `[length, n_critic, b]` of this process from iteration `step`; zero from `count` on."""
        indices = np.zeros((length, *self._sampler.timetable.layout(step)), np.int32)
        for i in range(count):
            indices[i] = self._sampler.indices(step + i)
        return indices[:, :, parallel.local_batch(indices.shape[2])]

    def load_batch(self, data: Tree, batch_ref: Tree) -> tuple[Any, Any]:
        """Inside the step: indices `[B]` to (float32 images `[B, *S, C]`, int32 labels `[B]` or None)."""
        images, labels = data
        return self._scaling.decode(self._rows(images, batch_ref)), None if labels is None else labels[batch_ref]

    def close(self) -> None:
        """Lets go of nothing: the device arrays go with the object."""


class ShardedSource(ResidentSource):
    """The dataset spread over the devices; arguments as of `ResidentSource`."""

    data_axes = (0, None)

    def _place(self, dataset: Dataset) -> Tree:
        return parallel.shard_rows(dataset.size, dataset.read), parallel.replicate(dataset.labels)

    def _rows(self, images: Any, batch_ref: Any) -> Any:
        return parallel.gather_rows(images, batch_ref)


class _Stream(Protocol):
    """What grain iterates with."""

    def __next__(self) -> Tree: ...

    def close(self) -> None: ...


class StreamingSource:
    """The dataset read ahead of the step by Grain's threads.

    Args:
      dataset: what to read from; `dataset.read` is called from several threads.
      sampler: which samples an iteration takes.
      threads: of reading.
      ahead: iterations kept ready.
    """

    data_axes: Tree = None

    def __init__(self, dataset: Dataset, sampler: Sampler, threads: int = 4, ahead: int = 8):
        self._dataset = dataset
        self._sampler = sampler
        self._threads, self._ahead = threads, ahead
        self._stream: _Stream | None = None
        self._next = -1
        self.data = ()

    def batch_refs(self, step: int, count: int, length: int) -> Tree:
        """(stored images `[length, n_critic, b, *S, C]`, labels or None) from iteration `step`; 0 from `count` on."""
        if self._stream is None or step != self._next:
            self._stream = self._open(step)
        stream, self._next = self._stream, step + count
        parts = [next(stream) for _ in range(count)]
        images = np.zeros((length, *parts[0][0].shape), parts[0][0].dtype)
        np.stack([part[0] for part in parts], out=images[:count])
        if self._dataset.labels is None:
            return images, None
        labels = np.zeros((length, *parts[0][1].shape), np.int32)
        np.stack([part[1] for part in parts], out=labels[:count])
        return images, labels

    def load_batch(self, data: Tree, batch_ref: Tree) -> tuple[Any, Any]:
        """Inside the step: one reference to (float32 images `[B, *S, C]`, int32 labels `[B]` or None)."""
        images, labels = batch_ref
        return self._dataset.scaling.decode(images), labels

    def close(self) -> None:
        """Stops reading ahead."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._next = None, -1

    def _open(self, step: int) -> _Stream:
        import grain  # Here, so that a resident run does not pay for its import.

        self.close()
        endless = grain.MapDataset.range(step, 2**62)
        options = grain.ReadOptions(num_threads=self._threads, prefetch_buffer_size=self._ahead)
        return iter(endless.map(self._read).to_iter_dataset(options))

    def _read(self, step: int) -> tuple[np.ndarray, np.ndarray | None]:
        indices = self._sampler.indices(step)
        indices = indices[:, parallel.local_batch(indices.shape[1])]
        images = self._dataset.read(indices.reshape(-1))
        labels = self._dataset.labels
        return (
            images.reshape(*indices.shape, *images.shape[1:]),
            None if labels is None else labels[indices],
        )


SOURCES = {"resident": ResidentSource, "sharded": ShardedSource, "streaming": StreamingSource}


def open_source(
    dataset: Dataset, kind: str, budget_bytes: float, seed: int, timetable: Timetable, balanced: bool
) -> ResidentSource | StreamingSource:
    """The source that fits: resident when the stored set is within the budget, sharded when a device's part of it is.

    Args:
      dataset: what to draw from.
      kind: "auto", or one of `SOURCES`.
      budget_bytes: what the set may take on each device.
      seed: of the order of samples.
      timetable: how many reals every iteration takes; a call of `batch_refs` stays within one of its parts.
      balanced: draw every class equally often.
    """
    sampler = Sampler(dataset.size, seed, timetable, dataset.labels if balanced else None)
    if kind == "auto":
        per_device = {"resident": dataset.nbytes, "sharded": dataset.nbytes / parallel.device_count(), "streaming": 0}
        kind = next(name for name, size in per_device.items() if size <= budget_bytes)
    return SOURCES[kind](dataset, sampler)
