"""Where the images of an evaluation come from: a dataset, a folder, or a generator."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from jaxgan.data.dataset import Dataset
from jaxgan.data.listing.collection import Collection, Entry
from jaxgan.data.open import list_source
from jaxgan.data.preparing import fingerprint
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError


@dataclasses.dataclass(frozen=True)
class Source:
    """A set of images that can be gone over, and looked up.

    Attributes:
      batches: starts a pass; gives `[n, *shape]` float32 in [-1, 1], or pairs of these and labels `[n]`.
      at: the images `[k, *shape]` at places `[k]` of the pass.
      scaling: to the original units, or None.
      class_names: one a label.
      fingerprint: of content, labels and order; None when it is not known.
      files: the files `[k]` that the images at places `[k]` came from; None when they came from none.
      spacing: length of a pixel or voxel along each axis in mm, or None.
    """

    batches: Callable[[], Iterator]
    at: Callable[[np.ndarray], np.ndarray]
    scaling: Scaling | None = None
    class_names: tuple[str, ...] = ()
    fingerprint: str | None = None
    files: Callable[[np.ndarray], list[str]] | None = None
    spacing: tuple[float, ...] | None = None

    def with_classes(self, names: tuple[str, ...]) -> Source:
        """The same images with classes numbered as `names` has them; without classes if one is not among these."""
        if self.class_names in ((), names):
            return self
        if not set(self.class_names) <= set(names):
            return self.without_labels()
        numbers = np.asarray([names.index(name) for name in self.class_names], np.int32)

        def renumbered():
            for images, labels in self.batches():
                yield images, numbers[labels]

        return dataclasses.replace(self, batches=renumbered, class_names=names, fingerprint=None)

    def without_labels(self) -> Source:
        """The same images with their classes left out."""

        def images_only():
            for item in self.batches():
                yield item[0] if isinstance(item, tuple) else item

        return dataclasses.replace(self, batches=images_only, class_names=(), fingerprint=None)


def _chunk(shape: tuple[int, ...]) -> int:
    """Images a batch: some 64 MiB."""
    return int(np.clip(2**24 // np.prod(shape), 1, 1024))


def dataset_source(dataset: Dataset, limit: int) -> Source:
    """The first `limit` samples of a dataset in a fixed random order (all, in their order, when there are no more)."""
    order = np.arange(dataset.size)
    if limit < dataset.size:
        order = np.random.default_rng(0).permutation(dataset.size)[:limit]

    def at(places: np.ndarray) -> np.ndarray:
        return dataset.scaling.decode(dataset.read(order[places]))

    def batches():
        size = _chunk(dataset.shape)
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            images = dataset.scaling.decode(dataset.read(chosen))
            yield images if dataset.labels is None else (images, dataset.labels[chosen])

    identity = None
    if dataset.fingerprint:
        # The same images may have been opened with their labels or without them.
        labels = None if dataset.labels is None else dataset.labels.tolist()
        identity = fingerprint.combine(dataset.fingerprint, dataset.size, limit, dataset.scaling.to_dict(), labels)

    def files(places: np.ndarray) -> list[str]:
        known = dataset.files() if dataset.files else []
        return [known[place] for place in order[places]]

    named = files if dataset.files else None
    return Source(batches, at, dataset.scaling, dataset.class_names, identity, named, dataset.spacing)


def seed_of_chunk(seed: int, number: int) -> int:
    """The seed, below 2^31, of one chunk of the samples of a generator: no two of them share latents."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)


def generator_source(
    generate: Callable[[int, int, np.ndarray | None], np.ndarray],
    count: int,
    shape: tuple[int, ...],
    seed: int,
    labels: np.ndarray | None = None,
) -> Source:
    """Samples of a generator, made as they are needed.

    Args:
      generate: `generate(n, seed, labels [n] or None) -> [n, *shape]` in [-1, 1].
      count: how many samples a pass has.
      shape: of one sample.
      seed: each chunk takes its own, see `seed_of_chunk`.
      labels: `[count]` for a conditional generator.
    """
    size = min(_chunk(shape), 256, count)

    def chunk(number: int) -> np.ndarray:
        # Every chunk is full, so that the generator is compiled once; what is too much of the last is dropped.
        chosen = None if labels is None else np.resize(labels[number * size : (number + 1) * size], size)
        made = generate(size, seed_of_chunk(seed, number), chosen)[: count - number * size]
        return np.clip(made, -1.0, 1.0)

    def batches():
        for number in range(-(-count // size)):
            images = chunk(number)
            yield images if labels is None else (images, labels[number * size : number * size + len(images)])

    def at(places: np.ndarray) -> np.ndarray:
        chunks = {number: chunk(number) for number in sorted({int(p) // size for p in places})}
        return np.stack([chunks[int(p) // size][int(p) % size] for p in places])

    return Source(batches, at)


def files_source(
    flag: str,
    path: str | Path,
    value_range: tuple[float, float] | None,
    spatial_rank: int | None = None,
    range_flag: str | None = "--value_range",
) -> Source:
    """All images of a folder (of any depth), an npz or an npy.

    Args:
      flag: the command-line flag that named the path, for messages.
      path: what to read.
      value_range: stored values that become -1 and 1; None: the range of the integer dtype that the files have.
      spatial_rank: 2 for images, 3 for volumes; None: as the first file is.
      range_flag: the flag that declares the range, for messages; None where a run's data do.

    Raises:
      InputError: no images, floats without a range, values outside it (also later, while reading).
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"{flag} {path}: no such file or folder")
    collection, entries = _listed(flag, path, spatial_rank)
    if spatial_rank is None:
        # Stacks of TIFF pages, or an array's third axis, are volumes where they cannot be channels.
        with contextlib.suppress(InputError):
            if not _is_one_image(entries[0]):
                volumes = _listed(flag, path, 3)
                if _is_one_image(volumes[1][0]):
                    collection, entries = volumes
    first = entries[0].read()[0].pixels
    scaling = _scaling_of(flag, path, first, value_range, range_flag)
    way_out = f"declare the right one with {range_flag} LOW,HIGH" if range_flag else "store them as the run's data are"

    def image(entry) -> np.ndarray:
        decoded = entry.read()
        if len(decoded) != 1:
            raise InputError(f"{entry.name}: holds {len(decoded)} images; give one a file")
        pixels = np.asarray(decoded[0].pixels)
        if (pixels.shape, pixels.dtype) != (first.shape, first.dtype):
            raise InputError(
                f"{entry.name}: is {pixels.dtype} of shape {pixels.shape}, but {entries[0].name} is {first.dtype} of"
                f" shape {first.shape}; make all images of a set alike"
            )
        if not np.isfinite(pixels).all():
            raise InputError(f"{entry.name}: holds NaN or infinite values; remove or mend it")
        low, high = float(pixels.min()), float(pixels.max())
        slack = 1e-5 * (scaling.high - scaling.low)
        if low < scaling.low - slack or high > scaling.high + slack:
            raise InputError(
                f"{entry.name}: values from {low:g} to {high:g} leave the declared range {scaling.low:g} to"
                f" {scaling.high:g}; {way_out}"
            )
        return scaling.decode(pixels)

    def at(places: np.ndarray) -> np.ndarray:
        return np.stack([image(entries[int(place)]) for place in places])

    def batches():
        size = _chunk(first.shape)
        for start in range(0, len(entries), size):
            chosen = entries[start : start + size]
            images = np.stack([image(entry) for entry in chosen])
            labels = [entry.label for entry in chosen]
            yield images if None in labels else (images, np.asarray(labels, np.int32))

    identity = fingerprint.of_listing(collection.files, scaling.to_dict())

    def files(places: np.ndarray) -> list[str]:
        return [entries[int(place)].name for place in places]

    return Source(batches, at, scaling, collection.class_names, identity, files)


def _listed(flag: str, path: Path, spatial_rank: int | None) -> tuple[Collection, list[Entry]]:
    collection = list_source(path, spatial_rank=spatial_rank)
    entries = [entry for _, part in sorted(collection.splits.items()) for entry in part]
    if not entries:
        raise InputError(f"{flag} {path}: holds no images")
    return collection, entries


def _is_one_image(entry: Entry) -> bool:
    try:
        return len(entry.read()) == 1
    except InputError:
        return False


def _scaling_of(flag, path, pixels: np.ndarray, value_range, range_flag) -> Scaling:
    name = pixels.dtype.name
    if value_range is not None:
        low, high = map(float, value_range)
        return Scaling(name, low, high, policy="fixed")
    if pixels.dtype.kind in "ui":
        info = np.iinfo(pixels.dtype)
        return Scaling(name, float(info.min), float(info.max))
    raise InputError(
        f"{flag} {path}: holds {name} values (the first image from {pixels.min():g} to {pixels.max():g}); declare their"
        f" range with {range_flag} LOW,HIGH"
    )
