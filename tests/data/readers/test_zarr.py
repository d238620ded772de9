"""OME-Zarr: what the library of the format writes is read, values and sizes; what is wrong is one line."""

import json
import shutil
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from jaxgan.data.listing.collection import list_folder
from jaxgan.data.open import open_dataset
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import prepare
from jaxgan.data.readers import read_file
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.inference.writers import write_samples

SCALING = Scaling("uint16", 0.0, 4000.0, "counts")

pytestmark = pytest.mark.extras


@pytest.fixture
def ngff_zarr():
    return pytest.importorskip("ngff_zarr")


def store(ngff_zarr, path, pixels, dims, unit="micrometer", version="0.4"):
    scale = {"t": 1.0, "c": 1.0, "z": 2.0, "y": 0.65, "x": 0.5}
    units = {axis: unit for axis in dims if axis in "zyx"} if unit else None
    image = ngff_zarr.to_ngff_image(
        pixels, dims=list(dims), scale={axis: scale[axis] for axis in dims},
        translation=dict.fromkeys(dims, 0.0), axes_units=units,
    )  # fmt: skip
    levels = ngff_zarr.to_multiscales(image, scale_factors=[], cache=False, chunks=8)
    ngff_zarr.to_ngff_zarr(str(path), levels, version=version)
    return path


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("dims", "shape"), [("yx", (13, 11)), ("tczyx", (1, 2, 1, 13, 11)), ("cyx", (3, 13, 11))])
def test_images(ngff_zarr, tmp_path, version, dims, shape):
    pixels = np.random.default_rng(0).integers(0, 60000, shape).astype(np.uint16)
    (image,) = read_file(store(ngff_zarr, tmp_path / "a.ome.zarr", pixels, dims, version=version))
    expected = pixels.reshape(-1, 13, 11).transpose(1, 2, 0)
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.spacing == (0.00065, 0.0005)


@pytest.mark.parametrize("dims", ["zyx", "czyx"])
def test_volumes(ngff_zarr, tmp_path, dims):
    pixels = np.random.default_rng(0).normal(size=(9, 8, 7)).astype(np.float32)
    path = store(ngff_zarr, tmp_path / "a.zarr", pixels.reshape((1,) * (len(dims) - 3) + pixels.shape), dims)
    (volume,) = read_file(path, 3)
    np.testing.assert_array_equal(volume.pixels[..., 0], pixels)
    assert volume.spacing == (0.002, 0.00065, 0.0005)
    with pytest.raises(InputError, match="hold more than one image"):
        read_file(path, 2)


def test_without_a_unit_no_size_is_claimed(ngff_zarr, tmp_path):
    path = store(ngff_zarr, tmp_path / "a.zarr", np.ones((9, 8), np.uint8), "yx", unit=None)
    assert read_file(path)[0].spacing is None


def edit(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / ".zattrs").write_text("{"), "is no single OME-Zarr image"),
        (lambda path: (path / ".zattrs").unlink(), "is no single OME-Zarr image"),
        (lambda path: edit(path / "scale0/image/.zarray", lambda r: r.update(shape=[10**6, 10**6])), "claims"),
        (lambda path: edit(path / "scale0/image/.zarray", lambda r: r.update(chunks=[10**6, 10**6])), "claims"),
        (lambda path: edit(path / "scale0/image/.zarray", lambda r: r.update(dtype="|O", fill_value=None)), "a.zarr: "),
        (lambda path: (path / "scale0/image/0/0").write_bytes(b"no chunk"), "cannot be read as a OME-Zarr"),
        (
            lambda path: edit(
                path / ".zattrs", lambda r: r["multiscales"][0]["datasets"][0].update(path="../b.zarr/scale0/image")
            ),
            "outside its own folder|is no single OME-Zarr image",
        ),
    ],
)
def test_damage_is_one_line(ngff_zarr, tmp_path, damage, message):
    for name in ("a.zarr", "b.zarr"):
        path = store(ngff_zarr, tmp_path / name, np.ones((9, 8), np.uint8), "yx")
    path = tmp_path / "a.zarr"
    (path / ".zmetadata").unlink()
    damage(path)
    with pytest.raises(InputError, match=message):
        read_file(path)


def pack_more(path, version):
    """A store whose first chunk unpacks to 100 MB."""
    record = json.loads(next(path.rglob("image/.zarray" if version == "0.4" else "image/zarr.json")).read_text())
    names = [record["compressor"]["id"]] if version == "0.4" else [codec["name"] for codec in record["codecs"]]
    encode = getattr(imagecodecs, f"{next(name for name in names if name in ('blosc', 'zstd', 'gzip'))}_encode")
    next(file for file in path.rglob("image/**/0/0") if file.is_file()).write_bytes(encode(bytes(10**8)))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("container", [False, True])
def test_a_chunk_is_judged_before_it_is_unpacked(ngff_zarr, tmp_path, monkeypatch, version, container):
    path = tmp_path / "a.zarr"
    image = store(ngff_zarr, path / "0" if container else path, np.ones((9, 8), np.uint8), "yx", version=version)
    if container:  # As bioformats2raw writes it, with arrays in view that are not those that are read.
        shutil.copytree(image / "scale0", path / "scale0")
        layout = {"bioformats2raw.layout": 3}
        root = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", **layout}}}
        files = {".zgroup": {"zarr_format": 2}, ".zattrs": layout} if version == "0.4" else {"zarr.json": root}
        for name, content in files.items():
            (path / name).write_text(json.dumps(content))
    np.testing.assert_array_equal(read_file(path)[0].pixels, 1)
    pack_more(image, version)
    monkeypatch.setattr(np, "asarray", None)  # What would unpack it.
    with pytest.raises(InputError, match="longer than the 64 bytes of its shape|buffer is too small"):
        read_file(path)


def test_a_folder_of_stores_is_a_source(ngff_zarr, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a/1.ome.zarr", "a/2.ome.zarr", "b/1.ome.zarr", "b/2.ome.zarr"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        store(ngff_zarr, tmp_path / "in" / name, rng.integers(0, 9999, (8, 8)).astype(np.uint16), "yx")
    data = open_dataset(tmp_path / "in")
    assert data.size == 4 and data.class_names == ("a", "b") and data.spacing == (0.00065, 0.0005)
    first = prepare(list_folder(tmp_path / "in"), tmp_path / "data", "a", Conversion())
    chunk = next((tmp_path / "in" / "a" / "1.ome.zarr").rglob("0/0"))
    chunk.write_bytes((tmp_path / "in" / "b" / "1.ome.zarr" / chunk.relative_to(chunk.parents[3])).read_bytes())
    second = prepare(list_folder(tmp_path / "in"), tmp_path / "data", "a", Conversion())
    assert first != second, "other content, other prepared set"
    assert open_dataset(tmp_path / "in").fingerprint != data.fingerprint


@pytest.mark.parametrize("shape", [(2, 6, 7, 3), (2, 5, 6, 7, 1)])
def test_samples_are_written_as_stores(ngff_zarr, tmp_path, shape):
    samples = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    spacing = (0.002, 0.0005, 0.0005)[-(len(shape) - 2) :]
    write = {"scaling": SCALING, "spacing": spacing, "provenance": {"run": "a"}}
    paths = write_samples(samples, tmp_path, ["zarr"], **write)
    assert [path.name for path in paths] == ["sample_00000.ome.zarr", "sample_00001.ome.zarr"]
    assert sorted(tmp_path.iterdir()) == paths
    (decoded,) = read_file(paths[1], len(shape) - 2)
    np.testing.assert_allclose(decoded.pixels, SCALING.restore(samples[1]), atol=1e-3)
    assert decoded.spacing == spacing
    attributes = json.loads((paths[1] / ".zattrs").read_text())
    assert attributes["jaxgan"]["sample"] == 1 and len(attributes["omero"]["channels"]) == shape[-1]
    axes = attributes["multiscales"][0]["axes"]
    assert [axis["name"] for axis in axes] == ["c", *"zyx"[-(len(shape) - 2) :]] and axes[-1]["unit"] == "micrometer"

    with pytest.raises(InputError, match="exists"):
        write_samples(samples, tmp_path, ["zarr"], **write)
    content = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write_samples(samples, tmp_path, ["zarr"], overwrite=True, **write)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == content


def test_what_fails_leaves_no_store(ngff_zarr, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_text", lambda *args, **kwargs: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(InputError, match="No space left"):
        write_samples(np.zeros((1, 6, 6, 1), np.float32), tmp_path / "out", ["zarr"], scaling=SCALING)
    assert not list((tmp_path / "out").iterdir())


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.zarr").mkdir()
    monkeypatch.setitem(sys.modules, "ngff_zarr", None)
    for call in (
        lambda: read_file(tmp_path / "a.zarr"),
        lambda: write_samples(np.zeros((1, 6, 6, 1), np.float32), tmp_path, ["zarr"], scaling=SCALING),
    ):
        with pytest.raises(InputError, match=r"pip install 'jaxgan\[zarr\]'"):
            call()
