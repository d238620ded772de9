"""IDX files, the format of MNIST and its family, plain or gzipped."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

from jaxgan.data.readers.decoded import check_claim
from jaxgan.errors import InputError

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read(path: Path) -> np.ndarray:
    """The array of an IDX file, in native byte order.

    Raises:
      InputError: wrong magic number, truncated, longer than its header says, damaged gzip.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= 4:
                raise InputError(f"{path}: is not an IDX file (it begins with {magic.hex() or 'nothing'}); replace it")
            dtype = np.dtype(_DTYPES[magic[2]])
            shape = struct.unpack(f">{magic[3]}I", stream.read(4 * magic[3]))
            check_claim(path, shape, dtype)
            size = int(np.prod(shape)) * dtype.itemsize
            content = stream.read(size + 1)
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise InputError(f"{path}: cannot be read as IDX ({error}); download it again") from None
    if len(content) != size:
        state = "truncated" if len(content) < size else "longer than its header says"
        raise InputError(f"{path}: is {state}; download it again")
    return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="))
