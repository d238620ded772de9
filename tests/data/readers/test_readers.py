"""Every format keeps its values; every kind of damage is one line that names the file."""

import contextlib
import logging
import os
import struct
import threading
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from jaxgan.data import readers
from jaxgan.data.readers import read_file
from jaxgan.errors import InputError

RNG = np.random.default_rng()


def random(shape, dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return RNG.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max, shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(dtype)


def one(path, rank=2):
    (decoded,) = read_file(path, rank)
    return decoded.pixels


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "int32", "uint32", "float16", "float32", "float64", ">u2", ">f4"]
)
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"tile": (16, 16)}])
def test_tiff_keeps_every_value_of_every_dtype(tmp_path, dtype, options):
    if dtype[0] == ">":
        options = {k: v for k, v in options.items() if k == "tile"} | {"byteorder": ">"}
    image = random((33, 21), dtype)
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    pixels = one(tmp_path / "a.tif")
    assert pixels.shape == (33, 21, 1)
    np.testing.assert_array_equal(pixels[..., 0], image)


def test_reading_leaves_the_switches_of_other_libraries_as_they_were(tmp_path):
    Image.fromarray(random((20, 30), "uint8")).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", random((20, 30), "uint8"))
    loggers = [logging.getLogger(name) for name in ("absl", "tifffile")]
    before = (Image.MAX_IMAGE_PIXELS, [logger.level for logger in loggers])
    for name in ("a.png", "a.tif"):
        read_file(tmp_path / name, 2)
    assert (Image.MAX_IMAGE_PIXELS, [logger.level for logger in loggers]) == before


def test_a_picture_beyond_pillows_limit_is_read_by_ours(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow refuses from twice of it.
    image = random((20, 30), "uint8")
    Image.fromarray(image).save(tmp_path / "a.png")
    np.testing.assert_array_equal(one(tmp_path / "a.png")[..., 0], image)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zstd", "lzma"])
def test_tiff_compressions(tmp_path, compression):
    image = random((20, 30, 3), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", compression=compression)
    np.testing.assert_array_equal(one(tmp_path / "a.tif"), image)


def test_tiff_colour_layouts_end_up_channels_last(tmp_path):
    image = random((20, 30, 3), "uint16")
    tifffile.imwrite(tmp_path / "contig.tif", image, photometric="rgb")
    tifffile.imwrite(tmp_path / "planar.tif", image.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    tifffile.imwrite(tmp_path / "imagej.tif", image.transpose(2, 0, 1), imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "ome.ome.tif", image.transpose(2, 0, 1), ome=True, metadata={"axes": "CYX"})
    for name in ("contig.tif", "planar.tif", "imagej.tif", "ome.ome.tif"):
        np.testing.assert_array_equal(one(tmp_path / name), image, err_msg=name)


def test_tiff_palette_and_white_is_zero(tmp_path):
    index = random((16, 16), "uint8")
    colours = random((3, 256), "uint8")
    tifffile.imwrite(tmp_path / "p.tif", index, photometric="palette", colormap=colours.astype(np.uint16) * 257)
    np.testing.assert_array_equal(one(tmp_path / "p.tif"), colours.T[index])
    tifffile.imwrite(tmp_path / "w.tif", index, photometric="miniswhite")
    np.testing.assert_array_equal(one(tmp_path / "w.tif")[..., 0], 255 - index)


def test_tiff_of_a_colour_space_without_a_name_says_its_number(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random((8, 8), "uint8"), photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(99)
    with pytest.raises(InputError, match="colour space 99 is not supported"):
        one(path)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_alpha_is_dropped_when_opaque_and_laid_on_white_otherwise(tmp_path, suffix):
    image = random((12, 14, 4), "uint8")

    def write(array):
        if suffix == "png":
            Image.fromarray(array).save(tmp_path / "a.png")
        else:
            tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb", extrasamples=["unassalpha"])
        return read_file(tmp_path / f"a.{suffix}")[0]

    image[..., 3] = 255
    opaque = write(image)
    np.testing.assert_array_equal(opaque.pixels, image[..., :3])
    assert not opaque.composited
    image[..., 3] = RNG.integers(0, 256, image.shape[:2])
    mixed = write(image)
    share = image[..., 3:] / 255
    assert mixed.composited
    np.testing.assert_allclose(mixed.pixels, image[..., :3] * share + 255 * (1 - share), atol=0.5)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_associated_alpha_is_not_multiplied_again(tmp_path, dtype):
    white = 255 if dtype == "uint8" else 1.0
    colour, share = np.array([100, 50, 20]) * (white / 255), 0.5 if dtype == "float32" else 128 / 255
    pixels = np.broadcast_to(np.array([*colour, share * white]), (4, 5, 4)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["ASSOCALPHA"])
    (found,) = read_file(tmp_path / "a.tif", 2)
    assert found.composited
    np.testing.assert_allclose(found.pixels[0, 0], colour + white * (1 - share), atol=0.51 if white == 255 else 1e-6)


def test_a_fourth_sample_that_is_not_called_alpha_is_a_channel(tmp_path):
    pixels = random((4, 5, 4), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["UNSPECIFIED"])
    np.testing.assert_array_equal(one(tmp_path / "a.tif"), pixels)
    pixels[..., 3] = 255
    tifffile.imwrite(tmp_path / "b.tif", pixels, photometric="rgb", extrasamples=["UNSPECIFIED"])
    np.testing.assert_array_equal(one(tmp_path / "b.tif"), pixels[..., :3])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["tif", "png8", "png16", "png16 colour"])
def test_pictures_are_turned_upright_in_every_format(tmp_path, kind, orientation):
    pixels = random((3, 5, 3) if kind == "png16 colour" else (3, 5), "uint16" if "16" in kind else "uint8")
    tags = Image.Exif()
    tags[0x0112] = orientation
    # Pillow's own turning of a picture whose pixels are numbered says where each of them goes.
    numbered = Image.fromarray(np.arange(15, dtype=np.int32).reshape(3, 5))
    numbered.getexif()[0x0112] = orientation
    order = np.asarray(ImageOps.exif_transpose(numbered))
    path = tmp_path / f"a.{kind[:3]}"
    if kind == "tif":
        tifffile.imwrite(path, pixels, extratags=[(274, "H", 1, orientation, True)])
    elif kind == "png16 colour":
        path.write_bytes(with_exif(imagecodecs.png_encode(pixels), tags.tobytes()))
    else:
        Image.fromarray(pixels).save(path, exif=tags)
    expected = pixels.reshape(15, -1)[order.ravel()].reshape(*order.shape, -1)
    np.testing.assert_array_equal(one(path), expected)


def test_a_turned_picture_has_its_pixel_sizes_turned(tmp_path):
    turned = {"extratags": [(274, "H", 1, 6, True)], "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", random((3, 5), "uint8"), resolution=(10_000, 5_000), **turned)  # x, y
    (found,) = read_file(tmp_path / "a.tif", 2)
    assert found.pixels.shape == (5, 3, 1) and found.spacing == pytest.approx((1e-3, 2e-3))


def with_exif(png: bytes, exif: bytes) -> bytes:
    """A PNG with the chunk eXIf, right behind its header."""
    body = b"eXIf" + exif.removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return png[:33] + chunk + png[33:]


def test_a_larger_picture_behind_the_first_is_not_left_out_unsaid(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for side in (8, 16, 4):
            file.write(random((side, side), "uint8"))
    with pytest.raises(InputError, match=r"a.tif: holds a larger image \(16x16\) than its first \(8x8\)"):
        one(tmp_path / "a.tif")
    with tifffile.TiffWriter(tmp_path / "b.tif") as file:
        for side in (16, 8):
            file.write(random((side, side), "uint8"))
    assert one(tmp_path / "b.tif").shape == (16, 16, 1)


def test_stack_is_a_volume_and_an_error_for_images(tmp_path):
    stack = random((7, 20, 18), "uint16")
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    for name in ("pages.tif", "imagej.tif"):
        np.testing.assert_array_equal(one(tmp_path / name, 3)[..., 0], stack)
        with pytest.raises(InputError, match=rf"{name}: axes .=7 Y=20 X=18 hold more than one image"):
            read_file(tmp_path / name, 2)


def test_ambiguous_axes_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", random((3, 4, 8, 9), "uint8"), imagej=True, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match="T=3 Z=4 Y=8 X=9"):
        read_file(tmp_path / "t.tif", 3)


@pytest.mark.parametrize("shape", [(9, 11), (9, 11, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_keeps_8_and_16_bits_gray_and_colour(tmp_path, shape, dtype):
    import imagecodecs

    image = random(shape, dtype)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(image))
    np.testing.assert_array_equal(one(tmp_path / "a.png").reshape(shape), image)


def test_jpeg_palette_and_exif(tmp_path):
    smooth = np.add.outer(np.arange(32), np.arange(40)).astype(np.uint8) * 3
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    assert abs(one(tmp_path / "a.jpg")[..., 0].astype(int) - smooth).max() < 8
    picture = Image.fromarray(smooth).convert("RGB").convert("P", palette=Image.Palette.ADAPTIVE)
    picture.save(tmp_path / "p.png")
    np.testing.assert_array_equal(one(tmp_path / "p.png"), np.asarray(picture.convert("RGB")))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(smooth).save(tmp_path / "turned.jpg", exif=exif)
    assert one(tmp_path / "turned.jpg").shape == (40, 32, 1)


def test_numpy_files(tmp_path):
    image, volume = random((10, 12, 3), "float32"), random((8, 9, 10), "int16")
    np.save(tmp_path / "a.npy", image)
    np.savez_compressed(tmp_path / "v.npz", volume=volume)
    np.testing.assert_array_equal(one(tmp_path / "a.npy"), image)
    np.testing.assert_array_equal(one(tmp_path / "v.npz", 3)[..., 0], volume)
    np.save(tmp_path / "chw.npy", image.transpose(2, 0, 1))
    with pytest.raises(InputError, match=r"chw.npy: shape \(3, 10, 12\)"):
        read_file(tmp_path / "chw.npy")
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"object\.npy"):
        read_file(tmp_path / "object.npy")


def test_nifti_is_turned_to_ras_and_keeps_world_coordinates(tmp_path):
    import nibabel

    volume = random((6, 7, 8), "int16")
    # Stored left to right reversed, axes permuted, 2 mm voxels.
    affine = np.array([[0, -2, 0, 30], [0, 0, 2, -5], [2, 0, 0, 7], [0, 0, 0, 1.0]])
    nibabel.save(nibabel.Nifti1Image(volume, affine), tmp_path / "v.nii.gz")
    (decoded,) = read_file(tmp_path / "v.nii.gz", 3)
    assert nibabel.aff2axcodes(decoded.affine) == ("R", "A", "S")
    assert decoded.pixels.dtype == np.int16
    index = np.array([1, 2, 3])
    world = affine @ [*index, 1]
    found = np.linalg.solve(decoded.affine, world)[:3].round().astype(int)
    assert decoded.pixels[tuple(found)] == volume[tuple(index)]


def test_nifti_scale_slope_gives_physical_values(tmp_path):
    import nibabel

    values = RNG.normal(size=(6, 7, 8)) * 100
    image = nibabel.Nifti1Image(values, np.eye(4))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "v.nii")
    pixels = one(tmp_path / "v.nii", 3)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels[..., 0], values, atol=np.ptp(values) / 60000)


def test_nifti_that_holds_no_volume_is_refused(tmp_path):
    import nibabel
    from nibabel.cifti2.cifti2_axes import ScalarAxis

    axes = ScalarAxis(["a", "b"]), ScalarAxis(["c", "d", "e"])
    nibabel.save(nibabel.Cifti2Image(np.zeros((2, 3), np.float32), axes), tmp_path / "a.dscalar.nii")
    with pytest.raises(InputError, match="holds Cifti2 data, not a volume"):
        one(tmp_path / "a.dscalar.nii", 3)


def test_nifti_series_and_flat_reading_are_refused(tmp_path):
    import nibabel

    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7, 2), np.uint8), np.eye(4)), tmp_path / "s.nii.gz")
    with pytest.raises(InputError, match="series"):
        read_file(tmp_path / "s.nii.gz", 3)
    with pytest.raises(InputError, match="is a volume.*jaxgan prepare volumes"):
        read_file(tmp_path / "s.nii.gz", 2)


def damaged(path, kind):
    """Writes a damaged file of the format of `path`."""
    image = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)
    volume = np.zeros((9, 9, 9), np.uint8)
    if kind == "zero bytes":
        return path.write_bytes(b"")
    if kind == "wrong magic":
        return path.write_bytes(b"this is not an image, whatever its name says" * 20)
    if path.name.endswith((".nii", ".nii.gz")):
        import nibabel

        nibabel.save(nibabel.Nifti1Image(volume + RNG.integers(0, 9, volume.shape).astype(np.uint8), np.eye(4)), path)
    elif path.suffix == ".tif":
        tifffile.imwrite(path, image, compression="zlib")
    elif path.suffix == ".npy":
        np.save(path, image)
    elif path.suffix == ".npz":
        np.savez(path, image)
    else:
        Image.fromarray(image).save(path)
    content = path.read_bytes()
    return path.write_bytes(content[: len(content) * 6 // 10])


@pytest.mark.parametrize("kind", ["truncated", "zero bytes", "wrong magic"])
@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.bmp", "a.npy", "a.npz", "a.nii", "a.nii.gz"])
def test_damage_is_one_line_that_names_the_file(tmp_path, name, kind):
    path = tmp_path / name
    damaged(path, kind)
    with pytest.raises(InputError) as caught:
        read_file(path, 3 if "nii" in name else 2)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and len(message) < 500


def test_uncompressed_tiff_cut_short_is_not_filled_with_zeros(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, random((64, 64), "uint16"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated"):
        read_file(path)


def test_a_ring_of_pages_ends(tmp_path):
    path = tmp_path / "ring.tif"
    tifffile.imwrite(path, random((16, 16), "uint8"), metadata=None)
    tifffile.imwrite(path, random((8, 8), "uint8"), metadata=None, append=True)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        last = file.pages[1].offset
    (tags,) = struct.unpack_from("<H", content, last)
    struct.pack_into("<I", content, last + 2 + 12 * tags, last)
    path.write_bytes(content)

    def read():
        with contextlib.suppress(InputError):
            read_file(path, 3)

    # A thread of its own, which no one waits for: a pool would, for ever.
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert not reader.is_alive()


def test_a_claim_of_a_million_squared_pixels_is_refused_at_once(tmp_path):
    small = tmp_path / "a.tif"
    tifffile.imwrite(small, np.zeros((16, 16), np.uint8), tile=(16, 16), compression="zlib")
    content = bytearray(small.read_bytes())
    with tifffile.TiffFile(small) as file:
        for tag in ("ImageWidth", "ImageLength"):
            offset = file.pages[0].tags[tag].offset
            # Type LONG, one value, in place.
            content[offset + 2 : offset + 12] = struct.pack("<HII", 4, 1, 10**6)
    small.write_bytes(content)
    with pytest.raises(InputError, match=r"claims 1000000x1000000"):
        read_file(small)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 10**6, 10**6, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    with pytest.raises(InputError, match=r"claims 1000000x1000000"):
        read_file(tmp_path / "a.png")


def test_what_is_no_readable_file_is_refused_without_hanging(tmp_path, monkeypatch):
    (tmp_path / "folder.tif").mkdir()
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    for name in ("folder.tif", "pipe.tif", "loop.tif", "absent.tif"):
        with pytest.raises(InputError, match=name):
            read_file(tmp_path / name)
    tifffile.imwrite(tmp_path / "secret.tif", np.zeros((8, 8), np.uint8))

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match=r"secret.tif: cannot be opened \(Permission denied\)"):
        read_file(tmp_path / "secret.tif")


def test_formats_that_nobody_reads_are_named(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"1")
    with pytest.raises(InputError, match=r"unknown format \.xyz"):
        read_file(tmp_path / "a.xyz")
    assert ".tif" in readers.SUFFIXES


def test_gray_palettes_stay_one_channel(tmp_path):
    indices = RNG.integers(0, 256, (9, 7), dtype=np.uint8)
    ramp = np.arange(255, -1, -1, dtype=np.uint16) * 257
    for name, colours in (("gray", [ramp] * 3), ("colour", [ramp, ramp, ramp[::-1]])):
        tifffile.imwrite(tmp_path / f"{name}.tif", indices, photometric="palette", colormap=np.stack(colours))
    (gray,) = read_file(tmp_path / "gray.tif")
    np.testing.assert_array_equal(gray.pixels[..., 0], 255 - indices)
    assert gray.pixels.shape == (9, 7, 1) and read_file(tmp_path / "colour.tif")[0].pixels.shape == (9, 7, 3)


def test_a_file_is_read_as_itself_alone(tmp_path):
    for name, value in (("other", 700), ("mine", 3)):
        options = {"ome": True, "photometric": "minisblack", "compression": "zlib", "metadata": {"axes": "ZYX"}}
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", np.full((2, 8, 8), value, np.uint16), **options)
    with tifffile.TiffFile(tmp_path / "other.ome.tif") as tiff:
        identifier = tiff.ome_metadata.split('UUID="')[1].split('"')[0]
    link = f'<UUID FileName="other.ome.tif">{identifier}</UUID>'
    with tifffile.TiffFile(tmp_path / "mine.ome.tif", mode="r+") as tiff:
        plain = '<TiffData IFD="0" PlaneCount="2"/>'
        assert plain in tiff.ome_metadata
        text = tiff.ome_metadata.replace(plain, f'<TiffData IFD="0" PlaneCount="2">{link}</TiffData>')
        tiff.pages[0].tags["ImageDescription"].overwrite(text)
    with tifffile.TiffFile(tmp_path / "mine.ome.tif") as tiff:
        assert (tiff.asarray() == 700).all()  # what a reader that follows the name returns
    assert (read_file(tmp_path / "mine.ome.tif", 3)[0].pixels == 3).all()
