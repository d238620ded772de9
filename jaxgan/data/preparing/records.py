"""Prepared datasets on disk: a tfds builder that writes array_record files, and a fast reader of them."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import InputError

VERSION = "1.0.0"


def write_records(
    data_dir: Path,
    name: str,
    config: str,
    splits: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
    class_names: tuple[str, ...] = (),
) -> Path:
    """Writes a tfds dataset `data_dir/name/config/1.0.0`.

    Args:
      data_dir: an existing folder.
      name: of the dataset.
      config: of the builder.
      splits: `{split: (images [N, *spatial, C], labels [N] or None)}`; memory maps are read row by row.
      class_names: of the labels.

    Returns:
      The folder, which `tfds.builder_from_directory` opens too.
    """
    import tensorflow_datasets as tfds

    @dataclasses.dataclass
    class RecordConfig(tfds.core.BuilderConfig):
        """A tfds configuration; tfds prints it, so the arrays stay out of its text."""

        splits: Mapping = dataclasses.field(default_factory=dict, repr=False, compare=False)
        class_names: tuple[str, ...] = ()

    class LocalInfo(tfds.core.DatasetInfo):
        """What is known of a set that no server knows: each search there would leave a folder in /tmp."""

        def initialize_from_bucket(self):
            """Does nothing."""

    # tfds comes without types, so that mypy takes `object` for the base.
    class ImageRecords(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """Equally shaped images or volumes, with a class if there are any; records in the order given."""

        VERSION = tfds.core.Version(VERSION)
        # Without TensorFlow tfds cannot look for the builder's source file.
        code_path = None

        def _info(self):
            images, labels = next(iter(self.builder_config.splits.values()))
            features = {"image": tfds.features.Tensor(shape=images.shape[1:], dtype=images.dtype, encoding="bytes")}
            if labels is not None:
                features["label"] = tfds.features.ClassLabel(names=list(self.builder_config.class_names))
            return LocalInfo(builder=self, disable_shuffling=True, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {name: self._generate_examples(*split) for name, split in self.builder_config.splits.items()}

        def _generate_examples(self, images, labels):
            for i in range(len(images)):
                example = {"image": np.asarray(images[i])}
                yield i, example if labels is None else {**example, "label": int(labels[i])}

    ImageRecords.name = name
    with _quiet():
        builder = ImageRecords(
            data_dir=str(data_dir), config=RecordConfig(name=config, splits=splits, class_names=class_names)
        )
        builder.download_and_prepare(file_format="array_record")
    return Path(builder.data_path)


def find_shards(folder: Path, split: str, count: int) -> list[tuple[Path, int]]:
    """`(file, number of records)` of each array_record file of a split, in order.

    The files are found by their names alone: opening them through tfds would import the module that a
    `features.json` names, whatever it is.

    Args:
      folder: what `write_records` made.
      split: of it.
      count: of its samples.

    Raises:
      InputError: files are missing or damaged, or hold another number of samples.
    """
    from array_record.python import array_record_module

    name = re.compile(rf"[\w.-]+-{re.escape(split)}\.array_record-(\d{{5}})-of-(\d{{5}})")
    found = [(path, match) for path in sorted(folder.iterdir()) if (match := name.fullmatch(path.name))]
    shards = []
    for path, _ in found:
        try:
            reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
            shards.append((path, reader.num_records()))
            reader.close()
        except (ValueError, IndexError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(f"{path}: is damaged ({reason}); prepare the data again") from None
    numbers = [(int(match.group(1)), int(match.group(2))) for _, match in found]
    if numbers != [(i, len(found)) for i in range(len(found))] or sum(number for _, number in shards) != count:
        raise InputError(f"{folder}: the files of {split!r} do not hold its {count} samples; prepare the data again")
    return shards


class RecordReader:
    """Random access to the images of array_record files: `reader(indices [n]) -> [n, *shape]`.

    The files hold serialized `tf.train.Example`s, whose general decoder costs more than the reading. All images of a
    dataset have the same number of bytes, so the bytes that precede an image in its record are known: the image is
    found behind them and copied once. Thread-safe; may be sent to other processes.
    """

    def __init__(self, shards: list[tuple[Path, int]], shape: tuple[int, ...], dtype: np.dtype):
        self._paths = [str(path) for path, _ in shards]
        self._ends = np.cumsum([count for _, count in shards])
        self._shape, self._dtype = tuple(shape), np.dtype(dtype)
        self._nbytes = int(np.prod(shape)) * self._dtype.itemsize
        self._marker = _marker(self._nbytes)
        self._readers: dict[int, Any] = {}  # array_record comes without types
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        """Images in the order asked for, in the stored dtype; raises IndexError and, on damage, `InputError`."""
        indices = np.asarray(indices, np.int64).reshape(-1)
        if indices.size and not (indices.min() >= 0 and indices.max() < len(self)):
            raise IndexError(f"indices must be in [0, {len(self)}), got {indices.min()} to {indices.max()}")
        images = np.empty((len(indices), *self._shape), self._dtype)
        rows = images.reshape(len(indices), self._nbytes // self._dtype.itemsize).view(np.uint8)
        shard_of = np.searchsorted(self._ends, indices, "right")
        for shard in np.unique(shard_of):
            (wanted,) = np.nonzero(shard_of == shard)
            first = self._ends[shard - 1] if shard else 0
            for row, record in zip(wanted, self._read(int(shard), (indices[wanted] - first).tolist()), strict=True):
                start = record.find(self._marker) + len(self._marker)
                if start < len(self._marker) or start + self._nbytes > len(record):
                    raise InputError(f"{self._paths[shard]}: holds a damaged record; prepare the data again")
                rows[row] = np.frombuffer(record, np.uint8, self._nbytes, start)
        return images

    def _read(self, shard: int, positions: list[int]) -> list[bytes]:
        from array_record.python import array_record_module

        try:
            with self._lock:
                if shard not in self._readers:
                    # Access is random: reading ahead would only copy records that nobody asked for.
                    options = "readahead_buffer_size:0"
                    self._readers[shard] = array_record_module.ArrayRecordReader(self._paths[shard], options)
            return self._readers[shard].read(positions)
        except (ValueError, IndexError, RuntimeError, OSError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise InputError(f"{self._paths[shard]}: is damaged ({reason}); prepare the data again") from None

    def __getstate__(self):
        return {**self.__dict__, "_readers": {}, "_lock": None}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self._lock = threading.Lock()


def _marker(nbytes: int) -> bytes:
    """What stands right before an image of `nbytes` bytes in its serialized Example: key, then three lengths."""
    value = b"\x0a" + _varint(nbytes)  # BytesList.value
    bytes_list = b"\x0a" + _varint(nbytes + len(value)) + value  # Feature.bytes_list
    return b"\x0a\x05image\x12" + _varint(nbytes + len(bytes_list)) + bytes_list  # Features.feature entry


def _varint(number: int) -> bytes:
    """Protocol buffer encoding: seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    return bytes([*encoded, number])


@contextlib.contextmanager
def _quiet():
    """Keeps the progress bars, prints and warnings of tfds out of our output."""
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
