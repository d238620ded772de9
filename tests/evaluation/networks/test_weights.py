"""Weights files: tensors come out of every format; everything else is refused in one line and nothing is run."""

import io
import os
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
import pytest

from jaxgan.errors import InputError
from jaxgan.evaluation.networks.inception import load_inception
from jaxgan.evaluation.networks.weights import read_tensors, sha256


class Storage:
    """A PyTorch storage as the pickle sees it: by reference."""

    def __init__(self, key, array):
        self.key, self.array = key, array


class TorchPickler(pickle.Pickler):
    """Writes tensors as PyTorch does, without PyTorch."""

    def __init__(self, file, torch, tail):
        super().__init__(file, protocol=2)
        self.torch, self.tail = torch, tail

    def persistent_id(self, item):
        if isinstance(item, Storage):
            return ("storage", self.torch.FloatStorage, item.key, "cpu", item.array.size, *self.tail)
        return None


class Tensor:
    def __init__(self, torch, key, array):
        self.torch, self.storage, self.array = torch, Storage(key, array), array

    def __reduce__(self):
        strides = tuple(s // self.array.itemsize for s in self.array.strides)
        arguments = (self.storage, 0, self.array.shape, strides, False, {})
        return self.torch._utils._rebuild_tensor_v2, arguments


@pytest.fixture
def torch(monkeypatch):
    """Names that pickle can look up, in place of PyTorch's."""
    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2(*args):
        raise AssertionError("only the name is wanted")

    class FloatStorage:
        pass

    for owner, item in ((utils, _rebuild_tensor_v2), (module, FloatStorage)):
        item.__module__, item.__qualname__ = owner.__name__, item.__name__
        setattr(owner, item.__name__, item)
    module._utils = utils
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return module


def tensors():
    rng = np.random.default_rng()
    return {"a.weight": rng.standard_normal((3, 4, 2)).astype(np.float32), "b": np.float32(rng.standard_normal(5))}


def write_zip(path, torch, content):
    arrays = list(content.values())
    buffer = io.BytesIO()
    TorchPickler(buffer, torch, ()).dump({n: Tensor(torch, str(i), a) for i, (n, a) in enumerate(content.items())})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        for i, array in enumerate(arrays):
            archive.writestr(f"archive/data/{i}", array.tobytes())
    return path


def write_legacy(path, torch, content):
    with path.open("wb") as file:
        for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(part, file, protocol=2)
        rows = {n: Tensor(torch, f"key{i}", a) for i, (n, a) in enumerate(content.items())}
        TorchPickler(file, torch, (None,)).dump(rows)
        pickle.dump([f"key{i}" for i in range(len(content))], file, protocol=2)
        for array in content.values():
            file.write(struct.pack("<q", array.size) + array.tobytes())
    return path


def write_numpy(path, torch, content):
    path.write_bytes(pickle.dumps({"outer": content}, protocol=4))
    return path


def write_safetensors(path, torch, content):
    from safetensors.numpy import save_file

    save_file(content, path)
    return path


WRITERS = [write_zip, write_legacy, write_numpy, write_safetensors]


@pytest.mark.parametrize("write", WRITERS)
def test_tensors_come_out_of_every_format(write, torch, tmp_path):
    content = tensors()
    found = read_tensors(write(tmp_path / "weights.bin", torch, content))
    for name, array in content.items():
        np.testing.assert_array_equal(found.get(name, found.get(f"outer.{name}")), array)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_files_are_refused(write, share, torch, tmp_path):
    path = write(tmp_path / "weights.pth", torch, tensors())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="weights.pth"):
        read_tensors(path)


def test_text_and_missing_files_are_refused(tmp_path):
    (tmp_path / "page.html").write_text("<html>404: not found</html>")
    for name in ("page.html", "none.pth", "."):
        with pytest.raises(InputError):
            read_tensors(tmp_path / name)


class Evil:
    """Runs a command when unpickled."""

    def __init__(self, call, *args):
        self.call = call, args

    def __reduce__(self):
        return self.call


EVIL = {
    "system": lambda mark: Evil(os.system, f"touch {mark}"),
    "eval": lambda mark: Evil(eval, f"open({str(mark)!r}, 'w')"),
    "getattr": lambda mark: Evil(getattr, "x", "upper"),
    "exec in a dict": lambda mark: {"a": np.zeros(2), "b": Evil(exec, f"open({str(mark)!r}, 'w')")},
    "objects": lambda mark: {"a": np.array([Evil(os.system, f"touch {mark}")], dtype=object)},
}


@pytest.mark.parametrize("kind", EVIL)
@pytest.mark.parametrize("container", ["pickle", "zip", "legacy"])
def test_code_is_refused_and_not_run(kind, container, tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "evil.pth"
    data = pickle.dumps(EVIL[kind](mark), protocol=2)
    if container == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
    else:
        head = b"" if container == "pickle" else b"".join(
            pickle.dumps(part, protocol=2) for part in (0x1950A86A20F9469CFC6C, 1001, {})
        )  # fmt: skip
        path.write_bytes(head + data)
    with pytest.raises(InputError) as error:
        read_tensors(path)
    assert "nothing in it was run" in str(error.value)
    assert "\n" not in str(error.value)
    assert not mark.exists()


def test_admitted_names_cannot_be_turned_against_us(tmp_path):
    # BUILD on a constructor, and a tensor made of something that is no storage.
    for body in (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}X\x06\x00\x00\x00_buildK\x01sb.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x00))tR.",
        b"\x80\x02cnumpy\nndarray\n)R.",
    ):
        path = tmp_path / "weights.pth"
        path.write_bytes(body)
        with pytest.raises(InputError):
            read_tensors(path)


def test_tensors_stay_within_their_storage(torch, tmp_path):
    array = np.zeros((2, 3), np.float32)
    wide = Tensor(torch, "0", array)
    wide.array = np.lib.stride_tricks.as_strided(array, (2, 3), (4000, 4))
    path = tmp_path / "weights.pth"
    buffer = io.BytesIO()
    TorchPickler(buffer, torch, ()).dump({"a": wide})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        archive.writestr("archive/data/0", array.tobytes())
    with pytest.raises(InputError, match="beyond its storage"):
        read_tensors(path)


def test_another_network_is_refused(torch, tmp_path):
    path = write_zip(tmp_path / "resnet.pth", torch, {"fc.weight": np.zeros((8, 4), np.float32)})
    with pytest.raises(InputError, match=r"resnet.pth does not hold the Inception-v3 of FID"):
        load_inception(path, tmp_path)
    path = write_numpy(tmp_path / "vgg.pkl", torch, tensors())
    with pytest.raises(InputError, match="inception-2015-12-05"):
        load_inception(path, tmp_path)
    assert len(sha256(path)) == 64
    assert not list(tmp_path.glob("weights/*"))
