"""NumPy files: one image or volume a `.npy` or `.npz`, or a whole data set in one archive."""

from __future__ import annotations

import io
import math
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from jaxgan.data.readers.decoded import MAX_DECODED_BYTES, Decoded, check_claim
from jaxgan.errors import InputError

MAX_CHANNELS = 4
_MAX_HEADER_BYTES = 10_000
# Of arrays too large for the memory. Images pack to a hundredth at most; zeros to a thousandth.
_MAX_RATIO = 200


def read(path: Path, spatial_rank: int) -> list[Decoded]:
    """One image `[H, W]` or `[H, W, C]`, or one volume `[D, H, W]` or `[D, H, W, C]`, with C at most 4.

    Raises:
      InputError: a shape that can be read in more than one way, or an archive of several arrays.
    """
    if path.suffix.lower() == ".npy":
        array = load_npy(path)
    else:
        arrays = ArchiveFile(path)
        if len(arrays.shapes) != 1:
            raise InputError(f"{path}: holds {len(arrays.shapes)} arrays ({arrays.names}); save one array a file")
        name, claim = next(iter(arrays.shapes.items()))
        check_claim(path, *claim)
        array = arrays.load(name)
    return [Decoded(with_channels(path, array, spatial_rank))]


def with_channels(path: Path | str, array: np.ndarray, spatial_rank: int) -> np.ndarray:
    """`[*spatial]` or `[*spatial, C]` to `[*spatial, C]`; every other shape is an `InputError` that names it."""
    names = "(H, W) or (H, W, C)" if spatial_rank == 2 else "(D, H, W) or (D, H, W, C)"
    if array.dtype.kind not in "buif":
        raise InputError(f"{path}: {array.dtype} values are not numbers of an image; save integers or floats")
    spatial, channels = array.shape[:spatial_rank], array.shape[spatial_rank:]
    # A first axis of 1 to 4 with a long last one is channels first, which must not pass for a flat image.
    if len(spatial) == spatial_rank and min(spatial) > MAX_CHANNELS:
        if not channels:
            return array[..., None]
        if len(channels) == 1 and channels[0] <= MAX_CHANNELS:
            return array
    raise InputError(f"{path}: shape {array.shape} is not {names} with at most {MAX_CHANNELS} channels; transpose it")


def load_npy(path: Path) -> np.ndarray:
    """A `.npy` file as a read-only memory map, so that a truncated or oversized one costs nothing."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


class ArchiveFile:
    """An `.npz` archive whose shapes are known before anything is unpacked.

    Attributes:
      shapes: `{array name: (shape, dtype)}`.
    """

    def __init__(self, path: Path):
        self.path = path
        self.shapes: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    if member.endswith(".npy"):
                        with archive.open(member) as stream:
                            shape, _, dtype = _read_header(stream)
                            self.shapes[member[:-4]] = (shape, dtype)
        except Exception as error:
            raise InputError(f"{path}: is not a readable npz archive ({error}); download it again") from None

    @property
    def names(self) -> str:
        """The arrays and their shapes, for messages."""
        return ", ".join(f"{name} {shape}" for name, (shape, _) in self.shapes.items()) or "none"

    def load(self, name: str) -> np.ndarray:
        """Unpacks one array: into memory, or, above `MAX_DECODED_BYTES`, into a temporary file that is mapped."""
        shape, dtype = self.shapes[name]
        if dtype.hasobject:
            raise InputError(f"{self.path}: array {name} holds Python objects, which are never loaded; save numbers")
        try:
            if math.prod(shape) * dtype.itemsize > MAX_DECODED_BYTES:
                return self._map(name)
            with np.load(self.path, allow_pickle=False) as archive:
                return archive[name]
        except Exception as error:
            raise InputError(f"{self.path}: array {name} is damaged ({error}); download it again") from None

    def _map(self, name: str) -> np.ndarray:
        with zipfile.ZipFile(self.path) as archive, tempfile.TemporaryFile() as unpacked:
            member = archive.getinfo(f"{name}.npy")
            shape, dtype = self.shapes[name]
            size = math.prod(shape) * dtype.itemsize
            if member.file_size < size:
                raise ValueError("it is shorter than its header says")
            if member.file_size > size + 2 * _MAX_HEADER_BYTES or member.file_size > _MAX_RATIO * member.compress_size:
                raise ValueError(f"it unpacks {member.compress_size} bytes to {member.file_size}, as no images do")
            if member.file_size > shutil.disk_usage(tempfile.gettempdir()).free:
                raise ValueError(f"it needs {member.file_size / 2**30:.1f} GiB in {tempfile.gettempdir()}")
            with archive.open(member) as stream:
                shutil.copyfileobj(stream, unpacked, 1 << 20)
            unpacked.seek(0)
            shape, fortran, dtype = _read_header(unpacked)
            # The mapping outlives the file's name.
            return np.memmap(unpacked, dtype, "r", unpacked.tell(), shape, "F" if fortran else "C")


def _read_header(stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype from the header of a `.npy` stream."""
    prefix = stream.read(8)
    length = stream.read(2 if prefix[6:7] == b"\x01" else 4)
    size = int.from_bytes(length, "little")
    if size > _MAX_HEADER_BYTES:
        # NumPy reads it all before it looks at it: four packed gigabytes of nothing.
        raise ValueError(f"its header claims {size} bytes")
    header = io.BytesIO(prefix + length + stream.read(size))
    if np.lib.format.read_magic(header) == (1, 0):
        return np.lib.format.read_array_header_1_0(header)
    return np.lib.format.read_array_header_2_0(header)
