"""Files made to harm: none starts a program, none fills the memory, each gives one line that names it."""

import gzip
import itertools
import re
import struct
import tracemalloc
import zipfile
import zlib

import imagecodecs
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxgan.commands.prepare_data import read_labels
from jaxgan.data.listing.collection import list_folder
from jaxgan.data.open import identifier
from jaxgan.data.readers import arrays, decoded, idx, read_file
from jaxgan.data.readers.decoded import take_alpha
from jaxgan.data.readers.zarr_chunks import check_chunks
from jaxgan.errors import InputError
from jaxgan.files import atomic_files, temporary_folder

MIB = 1 << 20


def refused(path, rank=2, match=""):
    """The one line of a refusal that took no more memory than a small picture."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=match) as caught:
            read_file(path, rank)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * MIB, f"{peak / MIB:.0f} MiB"
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_picture_that_is_postscript_starts_no_program(tmp_path, suffix, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    path = (tmp_path / "a.eps").rename(tmp_path / f"a{suffix}")

    def started(*args, **kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.check_call", started)
    monkeypatch.setattr("subprocess.Popen", started)
    refused(path, match="not a picture")


def png(path, width, height, depth, colour, palette=b""):
    """A PNG of zeros that claims what it is told to."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    extra = chunk(b"PLTE", palette) + chunk(b"tRNS", b"\0") if palette else b""
    end = chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + end)
    return path


def test_claims_count_what_is_really_decoded(tmp_path):
    # 25,000 squared bytes are below the limit of 2 GiB; with colours and alpha, or in 16 bits, they are not.
    refused(png(tmp_path / "palette.png", 25_000, 25_000, 8, 3, palette=b"\0" * 768), match="above the limit")
    refused(png(tmp_path / "wide.png", 20_000, 20_000, 16, 6), match="above the limit")


def test_alpha_is_mixed_in_little_memory():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (1500, 1000, 4), dtype=np.uint8)
    tracemalloc.start()
    mixed, transparent = take_alpha(pixels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert transparent and peak < 6 * decoded._BLOCK * 8 + 2 * pixels.nbytes
    share = pixels[..., 3:].astype(np.float64) / 255
    np.testing.assert_array_equal(mixed, np.rint(pixels[..., :3] * share + 255 * (1 - share)))


def test_nifti_bombs_are_bounded(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<f", content, 108, 3e8)  # voxels begin behind 300 MB of extensions
    struct.pack_into("<4i", content, 348, 1, 300_000_000 - 300_000_000 % 16, 6, 0)
    with gzip.open(tmp_path / "offset.nii.gz", "wb") as stream:
        stream.write(content)
        for _ in range(300):
            stream.write(bytes(10**6))
    refused(tmp_path / "offset.nii.gz", 3, match="voxels begin at byte 3e")
    # 2 GiB of int16 fit; times a slope they are float64, which do not.
    content = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<8h", content, 40, 3, 1000, 1000, 400, 1, 1, 1, 1)
    struct.pack_into("<f", content, 112, 2.0)
    (tmp_path / "slope.nii").write_bytes(content)
    refused(tmp_path / "slope.nii", 3, match="above the limit")


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_strips_that_unpack_to_more_than_they_are_stop_there(tmp_path, compression):
    encode = {"zlib": imagecodecs.zlib_encode, "zstd": imagecodecs.zstd_encode}[compression]
    path, strips = tmp_path / "a.tif", iter([bytes(encode(bytes(100 * MIB)))])
    tifffile.imwrite(path, strips, shape=(16, 16), dtype=np.uint8, compression=compression, rowsperstrip=16)
    # By the decoder, which is given no more room than the strip claims.
    refused(path, match=r"cannot be read as a TIFF \((Deflate|Zlib|Zstd)Error")


def test_idx_bombs_are_bounded(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(bytes([0, 0, 8, 3]) + struct.pack(">III", 1, 28, 28))
        for _ in range(300):
            stream.write(bytes(10**6))
    tracemalloc.start()
    with pytest.raises(InputError, match="longer"):
        idx.read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * MIB


def test_npz_bombs_are_bounded(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "header.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        prefix = b"\x93NUMPY\x02\x00" + (200_000_000).to_bytes(4, "little")
        archive.writestr("a.npy", prefix + bytes(10**8))
    refused(tmp_path / "header.npz", match="header claims 200000000")
    # What is too large for the memory is unpacked to a file: not if it is nothing but packed zeros.
    monkeypatch.setattr(arrays, "MAX_DECODED_BYTES", MIB)
    np.savez_compressed(tmp_path / "zeros.npz", images=np.zeros((50, 512, 512), np.uint8))
    with pytest.raises(InputError, match="as no images do"):
        arrays.ArchiveFile(tmp_path / "zeros.npz").load("images")
    noise = np.random.default_rng(0).integers(0, 256, (50, 200, 200), dtype=np.uint8)
    np.savez_compressed(tmp_path / "noise.npz", images=noise)
    np.testing.assert_array_equal(arrays.ArchiveFile(tmp_path / "noise.npz").load("images"), noise)


PACKED = {
    "zstd": imagecodecs.zstd_encode,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "blosc": imagecodecs.blosc_encode,
}


def zarr_array(folder, codec, version, content):
    """An array of 16 x 24 bytes in chunks of 8 x 8, of which the second is `content`; returns its record."""
    for index in itertools.product("01", "012"):
        file = folder.joinpath(*(["c"] if version != 2 else []), *index)
        file.parent.mkdir(parents=True, exist_ok=True)
        packed = bytes(PACKED[codec](content if index == ("0", "1") else bytes(range(64))))
        if version == "shards":  # Each of 8 x 8 bytes in two: what is not there, and the other, by their index.
            empty = struct.pack("<QQ", 2**64 - 1, 2**64 - 1)
            packed = packed + b"sum." + empty + struct.pack("<QQ", 0, len(packed) + 4) + b"sum."
        file.write_bytes(packed)
    if version == 2:
        chunks = {"chunks": [8, 8], "dimension_separator": "/"}
        return {"shape": [16, 24], **chunks, "compressor": {"id": codec}, "filters": None}
    codecs = [{"name": "transpose"}, {"name": "bytes"}, {"name": codec}]
    if version == "shards":
        inner = {"chunk_shape": [8, 4], "codecs": [*codecs, {"name": "crc32c"}]}
        index = {"index_codecs": [{"name": "bytes"}, {"name": "crc32c"}], "index_location": "end"}
        codecs = [{"name": "sharding_indexed", "configuration": {**inner, **index}}]
    grid = {"name": "regular", "configuration": {"chunk_shape": [8, 8]}}
    return {"shape": [16, 24], "chunk_grid": grid, "chunk_key_encoding": {"name": "default"}, "codecs": codecs}


@pytest.mark.parametrize("version", [2, 3, "shards"])
@pytest.mark.parametrize("codec", PACKED)
def test_zarr_bombs_are_bounded(tmp_path, codec, version):
    itemsize = 2 if version == "shards" else 1  # An inner chunk has 64 bytes as well.
    check_chunks(tmp_path, tmp_path, zarr_array(tmp_path, codec, version, bytes(64)), itemsize)
    for content in (bytes(65), bytes(100 * MIB)):
        record = zarr_array(tmp_path, codec, version, content)
        tracemalloc.start()
        try:
            with pytest.raises((InputError, imagecodecs.ZstdError), match="longer than the 64 bytes|too small"):
                check_chunks(tmp_path, tmp_path, record, itemsize)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 * MIB


@pytest.mark.parametrize(
    "change",
    [
        {"codecs": [{"name": "bytes"}, {"name": "gzip"}, {"name": "gzip"}]},
        {"codecs": [{"name": "bytes"}, {"name": "numcodecs.lzma"}]},
        {"codecs": [{"name": "vlen-bytes"}]},
        {"chunk_key_encoding": {"name": "suffix"}},
    ],
)
def test_zarr_chunks_that_cannot_be_judged_are_refused(tmp_path, change):
    record = zarr_array(tmp_path, "gzip", 3, bytes(64))
    with pytest.raises(InputError, match="packed in an unusual way"):
        check_chunks(tmp_path, tmp_path, {**record, **change}, 1)


def test_a_name_steers_no_terminal(tmp_path):
    path = tmp_path / "a\x1b[31m\x07.png"
    path.write_bytes(b"nothing")
    with pytest.raises(InputError) as caught:
        read_file(path)
    assert str(caught.value).isprintable() and "\\x1b[31m" in str(caught.value)


TABLE = "slide,grade\nGröße 1,hoch\nb,tief\n"


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_tables_of_every_spreadsheet_are_read(tmp_path, separator, encoding, ends):
    path = tmp_path / "table.csv"
    path.write_bytes(TABLE.replace(",", separator).replace("\n", ends).encode(encoding))
    assert read_labels(path) == {"Größe 1": "hoch", "b": "tief"}
    assert read_labels(path, "grade") == {"Größe 1": "hoch", "b": "tief"}


def test_blanks_about_words_and_rows_of_empty_cells_are_no_classes(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("name , class\na,cat\nb,cat \n c, dog\n , \n,\n", encoding="utf-8")
    assert read_labels(path) == read_labels(path, "class") == {"a": "cat", "b": "cat", "c": "dog"}
    path.write_text("name,class\na,cat\nb, \n", encoding="utf-8")
    with pytest.raises(InputError, match="line 3 has no class"):
        read_labels(path)


def test_values_with_other_separators_stay_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text('name,class;of,note\na,"x; y",1\nb,"p, q",2\n', encoding="utf-8")
    assert read_labels(path) == {"a": "x; y", "b": "p, q"}
    path.write_text("name\na\n")
    with pytest.raises(InputError, match="needs a header"):
        read_labels(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as CSV"):
        read_labels(path)


def test_umlauts_stay_in_messages_and_leave_file_names(tmp_path):
    import unicodedata

    assert identifier(tmp_path / "Größe (1)") == "grosse_1"
    folder = tmp_path / "Zellen_ä"
    folder.mkdir()
    for name in ("Größe 1", "b"):
        Image.new("L", (8, 8)).save(folder / f"{unicodedata.normalize('NFD', name)}.png")
    labels = {"Größe 1": "hoch", "b": "tief"}
    collection = list_folder(folder, labels=labels)
    assert collection.class_names == ("hoch", "tief")
    with pytest.raises(InputError, match="Zellen_ä"):
        list_folder(folder, labels={"b": "tief"})


def test_nobody_can_put_a_link_where_a_temporary_file_will_be(tmp_path):
    names = set()
    for number in range(20):
        with atomic_files([tmp_path / f"{number}.txt"]) as (temporary,):
            names.add(re.fullmatch(r"\.tmp-\w+-\d+-([0-9a-f]{8})-\d+\.txt", temporary.name)[1])
            temporary.write_text("whole")
        names.add(re.fullmatch(r"\.incomplete-\w+-\d+-([0-9a-f]{8})", temporary_folder(tmp_path).name)[1])
    assert len(names) == 40
