"""Reads network weights that a user brings, without running anything that the file may carry.

PyTorch's and NumPy's files are pickles, and unpickling calls whatever the file names. The unpickler here knows the few
names that tensors need, replaces each by a harmless constructor of its own, and refuses every other. PyTorch is not
needed.
"""

from __future__ import annotations

import collections
import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import InputError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_NUMPY_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


class _Refused(pickle.UnpicklingError):
    """The file asks for something that is not a tensor."""


class _Constructor:
    """A callable that the pickle may call but neither replace nor decorate."""

    __slots__ = ("_build",)
    _build: Callable[..., Any]

    def __init__(self, build):
        object.__setattr__(self, "_build", build)

    def __call__(self, *args):
        return self._build(*args)

    def __setattr__(self, name, value):
        raise _Refused(f"it sets the attribute {name!r}")

    def __setstate__(self, state):
        raise _Refused("it changes a constructor")


class _NumpyDtype:
    """Stands for `numpy.dtype` while unpickling: plain numbers only, never objects."""

    def __init__(self, name: str, *_):
        if name not in _NUMPY_DTYPES:
            raise _Refused(f"it holds an array of dtype {name!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state):
        self.dtype = self.dtype.newbyteorder(state[1] if state[1] in "<>" else "=")


class _NumpyArray:
    """Stands for `numpy.ndarray` while unpickling."""

    array: np.ndarray

    def __setstate__(self, state):
        _, shape, dtype, fortran, data = state
        array = np.frombuffer(data, dtype.dtype)
        self.array = array.reshape(shape, order="F" if fortran else "C")


class _Storage(collections.namedtuple("_Storage", ("dtype", "load"))):
    """A PyTorch storage: `load()` gives its flat array, which may follow later in the file."""


class _TorchTensor(collections.namedtuple("_TorchTensor", ("storage", "offset", "shape", "strides"))):
    """A view of a storage."""

    def numpy(self) -> np.ndarray:
        """The tensor as a contiguous array; raises when it reaches beyond its storage."""
        flat = self.storage.load()
        if 0 in self.shape:
            return np.zeros(self.shape, flat.dtype)
        steps = list(zip(self.shape, self.strides, strict=True))
        last = self.offset + sum((n - 1) * stride for n, stride in steps)
        if self.offset < 0 or any(stride < 0 or n < 0 for n, stride in steps) or last >= flat.size:
            raise _Refused("a tensor reaches beyond its storage")
        strides = [stride * flat.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, strides, writeable=False).copy()


def _rebuild_tensor(storage, offset, shape, strides, *_):
    if not isinstance(storage, _Storage) or not all(isinstance(n, int) for n in (offset, *shape, *strides)):
        raise _Refused("a tensor is not made of a storage and a shape")
    return _TorchTensor(storage, offset, tuple(shape), tuple(strides))


_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _Constructor(lambda *items: collections.OrderedDict(*items)),
    ("torch._utils", "_rebuild_tensor_v2"): _Constructor(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Constructor(lambda tensor, *_: tensor),
    # What these two name is an argument, never the constructor itself.
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): _Constructor(_NumpyDtype),
}
_ADMITTED |= {
    (module, "_reconstruct"): _Constructor(lambda *_: _NumpyArray())
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
}
_ADMITTED |= {("torch", name): dtype for name, dtype in _STORAGES.items()}


class _TensorUnpickler(pickle.Unpickler):
    """Admits tensors, arrays and plain containers."""

    def __init__(self, file: io.BufferedIOBase, open_storage=None):
        super().__init__(file, encoding="latin1")
        self._open_storage = open_storage

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for an admitted name; refuses every other."""
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise _Refused(f"it asks for {module}.{name}") from None

    def persistent_load(self, record: Any) -> _Storage:
        """A storage reference `('storage', dtype, key, location, count, ...)`."""
        if self._open_storage is None or not isinstance(record, tuple) or len(record) < 5 or record[0] != "storage":
            raise _Refused("it refers to something that is not a tensor storage")
        dtype, key = np.dtype(record[1]), str(record[2])
        return _Storage(dtype, lambda: self._open_storage(key, dtype, int(record[4])))


def _read_torch_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}
        if "data.pkl" not in names:
            raise _Refused("it is a zip archive without data.pkl")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise _Refused("it is a compressed archive, which PyTorch never writes")

        def open_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
            flat = np.frombuffer(archive.read(names[f"data/{key}"]), dtype)
            if flat.size < count:
                raise _Refused("a storage is too short")
            return flat

        return _arrays(_TensorUnpickler(io.BytesIO(archive.read(names["data.pkl"])), open_storage).load())


def _read_torch_legacy(path: Path) -> Any:
    """The format before PyTorch 1.6, in which the published FID weights come: five pickles, then raw storages."""
    storages: dict[str, np.ndarray] = {}
    wanted: dict[str, np.dtype] = {}

    def open_storage(key: str, dtype: np.dtype, count: int) -> np.ndarray:
        return storages[key]

    class Legacy(_TensorUnpickler):
        def persistent_load(self, record: Any) -> _Storage:
            storage = super().persistent_load(record)
            if record[5:] not in ((), (None,)):
                raise _Refused("it uses storage views, which no current PyTorch writes")
            wanted[str(record[2])] = storage.dtype
            return storage

    with path.open("rb") as file:
        if _TensorUnpickler(file).load() != _LEGACY_MAGIC:
            raise _Refused("it is not a PyTorch file")
        _TensorUnpickler(file).load()  # protocol version
        _TensorUnpickler(file).load()  # byte order and sizes of the machine that wrote it
        content = Legacy(file, open_storage).load()
        for key in _TensorUnpickler(file).load():
            count = int.from_bytes(file.read(8), "little")
            data = file.read(count * wanted[str(key)].itemsize)
            if len(data) != count * wanted[str(key)].itemsize:
                raise EOFError
            storages[str(key)] = np.frombuffer(data, wanted[str(key)])
    return _arrays(content)


def _arrays(content: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """Nested mappings of tensors as one flat dict with dotted names."""
    if not isinstance(content, dict):
        raise _Refused("it does not hold a dict of tensors")
    flat = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, _TorchTensor):
            flat[name] = value.numpy()
        elif isinstance(value, _NumpyArray):
            flat[name] = value.array
        elif isinstance(value, dict):
            flat |= _arrays(value, f"{name}.")
        else:
            raise _Refused(f"{name!r} is a {type(value).__name__}, not a tensor")
    return flat


def _read_numpy_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _arrays(_TensorUnpickler(file).load())


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def _reader(path: Path):
    with path.open("rb") as file:
        head = file.read(16)
    if head[:4] == b"PK\x03\x04":
        return _read_torch_zip
    if head[8:9] == b"{":
        return _read_safetensors
    # Legacy files open with the pickled magic number: PROTO 2, LONG1, ten bytes.
    return _read_torch_legacy if head[2:4] == b"\x8a\x0a" else _read_numpy_pickle


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """All tensors of a weights file, by dotted name.

    Args:
      path: a `.pth` of PyTorch (either format), a safetensors file, or a pickle of nested dicts of NumPy arrays.

    Raises:
      InputError: the file is missing, damaged, or holds anything that is not a tensor. Nothing in it is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"weights file {path} does not exist: give the path of a .pth or .safetensors file")
    try:
        return _reader(path)(path)
    except _Refused as error:
        raise InputError(f"weights file {path} is refused, nothing in it was run: {error}") from None
    except Exception as error:  # Damage surfaces as almost any exception of pickle, zipfile, struct or NumPy.
        reason = f"{type(error).__name__}: {error}"[:120]
        raise InputError(f"weights file {path} is damaged or no weights file ({reason}): fetch it again") from None


def sha256(path: str | Path) -> str:
    """The file's SHA-256, hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()
