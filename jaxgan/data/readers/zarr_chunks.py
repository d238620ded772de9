"""Chunks of a Zarr array, judged before they are read: its libraries unpack a chunk whole, and compare it then."""

from __future__ import annotations

import gzip
import io
import itertools
import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from jaxgan.errors import InputError

# Size of what is unpacked, of which no more is made than is asked for.
_SIZES: dict[str, Callable[[bytes, int], int]] = {
    "blosc": lambda packed, most: int.from_bytes(
        packed[4:8], "little"
    ),  # Its header says it, and its decoder holds it.
    "gzip": lambda packed, most: len(gzip.GzipFile(fileobj=io.BytesIO(packed)).read(most + 1)),
    "zlib": lambda packed, most: len(zlib.decompressobj().decompress(packed, most + 1)),
    "zstd": lambda packed, most: len(imagecodecs.zstd_decode(packed, out=most)),  # Raises where there is more.
}
_NO_CHUNK = 2**64 - 1


def check_chunks(path: Path, folder: Path, record: dict[str, Any], itemsize: int) -> None:
    """Unpacks each chunk of an array once, no further than it may be.

    Args:
      path: the store, for messages.
      folder: the array's, in it.
      record: its `.zarray` or `zarr.json`.
      itemsize: bytes of a value.

    Raises:
      InputError: a chunk unpacks to more than its shape takes, or it is packed in a way of which that is not known.
      Exception: what the decoders raise on damage.
    """
    if "chunk_grid" in record:
        chunk, codecs = record["chunk_grid"]["configuration"]["chunk_shape"], record["codecs"]
        keys = record["chunk_key_encoding"]
        known = keys["name"] in ("default", "v2")
        default = keys["name"] == "default"
        separator = keys.get("configuration", {}).get("separator", "/" if default else ".")
        prefix = f"c{separator}" if default else ""
    else:
        chunk, separator, prefix = record["chunks"], record.get("dimension_separator") or ".", ""
        codecs = [{"name": "bytes"}, *([{"name": record["compressor"]["id"]}] if record["compressor"] else [])]
        known = not record.get("filters")
    codecs = [codec for codec in codecs if codec["name"] != "transpose"]
    shard = codecs[0]["configuration"] if codecs[0]["name"] == "sharding_indexed" else None
    inner = [codec for codec in shard["codecs"] if codec["name"] != "transpose"] if shard else codecs
    first, *packing = [codec["name"] for codec in inner]
    checksum = packing[-1:] == ["crc32c"]
    packing = packing[: len(packing) - checksum]
    known = known and first == "bytes" and len(packing) < 2 and all(name in _SIZES for name in packing)
    if not known or (shard and (len(codecs) > 1 or _index_names(shard) not in (["bytes"], ["bytes", "crc32c"]))):
        raise InputError(f"{path}: its chunks are packed in an unusual way; write it anew with blosc, zstd or gzip")
    if not packing:
        return
    size_of, most = _SIZES[packing[0]], math.prod(shard["chunk_shape"] if shard else chunk) * itemsize
    for index in itertools.product(*[range(-(-n // c)) for n, c in zip(record["shape"], chunk, strict=True)]):
        file = folder / (prefix + separator.join(map(str, index)))
        if file.is_file():
            for packed in _inner_chunks(file.read_bytes(), chunk, shard) if shard else [file.read_bytes()]:
                if size_of(packed[:-4] if checksum else packed, most) > most:
                    name = file.relative_to(folder)
                    raise InputError(f"{path}: chunk {name} is longer than the {most} bytes of its shape; replace it")


def _index_names(shard: dict[str, Any]) -> list[str]:
    return [codec["name"] for codec in shard["index_codecs"]]


def _inner_chunks(content: bytes, chunk: list[int], shard: dict[str, Any]) -> Iterator[bytes]:
    """The chunks in a shard, by the offsets and lengths of its index."""
    count = math.prod(outer // inner for outer, inner in zip(chunk, shard["chunk_shape"], strict=True))
    length = 16 * count + 4 * ("crc32c" in _index_names(shard))
    index = content[:length] if shard.get("index_location") == "start" else content[-length:]
    for offset, size in np.frombuffer(index[: 16 * count], "<u8").reshape(-1, 2).tolist():
        if offset != _NO_CHUNK:
            yield content[offset : offset + size]
