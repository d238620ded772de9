"""Slides are read exactly, by tiles; patches hold tissue, lie where their names say, and repeat by seed."""

import csv
import io
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxgan.commands.prepare_data import prepare_source
from jaxgan.data.listing.patches import Cutting, list_slides
from jaxgan.data.listing.slides import Slide, open_slide, tissue
from jaxgan.data.preparing.convert import Conversion, convert
from jaxgan.data.preparing.prepare import Policy
from jaxgan.errors import InputError

RNG = np.random.default_rng()


def draw(height=700, width=900):
    """White glass with two blobs of textured pink tissue and a gray pen mark; and where the tissue is."""
    y, x = np.mgrid[:height, :width]
    inside = ((y - 250) ** 2 + (x - 250) ** 2 < 200**2) | ((y - 500) ** 2 + (x - 650) ** 2 < 150**2)
    image = np.full((height, width, 3), 245, np.uint8)
    image[inside] = RNG.integers((160, 60, 110), (230, 130, 180), (int(inside.sum()), 3))
    image[20:60, 600:880] = 90
    return image, inside


def write(path, image, levels=(1, 2, 4), mpp=0.5, **options):
    options = {"tile": (128, 128), "compression": "zlib", "photometric": "rgb"} | options
    with tifffile.TiffWriter(path) as file:
        for i, step in enumerate(levels):
            resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
            if i == 0:
                file.write(image, subifds=len(levels) - 1, **options, **resolution)
            else:
                file.write(image[::step, ::step], subfiletype=1, **options)
    return path


@pytest.mark.parametrize("options", [{}, {"tile": None, "rowsperstrip": 50}])
def test_any_window_is_read_exactly(tmp_path, options):
    image, _ = draw()
    slide = Slide(write(tmp_path / "s.tif", image, **options))
    assert len(slide.pages) == 3 and abs(slide.mpp - 0.5) < 1e-3
    for _ in range(10):
        top, left = RNG.integers(0, 600), RNG.integers(0, 800)
        height, width = RNG.integers(1, 700 - top + 1), RNG.integers(1, 900 - left + 1)
        np.testing.assert_array_equal(
            slide.read(0, top, left, height, width), image[top : top + height, left : left + width]
        )
    np.testing.assert_array_equal(slide.read(2, 3, 5, 20, 30), image[::4, ::4][3:23, 5:35])


@pytest.mark.parametrize(("unit", "factor"), [("µm", 1.0), ("nm", 1e3), ("mm", 1e-3), (None, 1.0)])
def test_the_size_of_an_ome_slide_has_a_unit(tmp_path, unit, factor):
    size = {f"PhysicalSize{axis}{end}": value for axis in "XY" for end, value in (("", 0.25 * factor), ("Unit", unit))}
    metadata = {"axes": "YXS"} | {name: value for name, value in size.items() if value is not None}
    image = RNG.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "s.ome.tif", image, tile=(64, 64), photometric="rgb", metadata=metadata)
    assert Slide(tmp_path / "s.ome.tif").mpp == pytest.approx(0.25)


SCN = """<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="c">
<image name="macro"><pixels sizeX="64" sizeY="64"><dimension sizeX="64" sizeY="64" r="0" ifd="0"/></pixels></image>
<image name="main"><pixels sizeX="256" sizeY="128"><dimension sizeX="256" sizeY="128" r="0" ifd="1"/></pixels></image>
</collection></scn>"""


@pytest.mark.parametrize("kind", ["scn", "ome"])
def test_the_largest_picture_is_the_slide_and_has_its_own_size(tmp_path, kind):
    macro, main = (RNG.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((64, 64), (128, 256)))
    path = tmp_path / ("s.ome.tif" if kind == "ome" else "s.scn")
    with tifffile.TiffWriter(path, ome=kind == "ome") as file:
        for image, microns in ((macro, 16.0), (main, 0.5)):
            size = {"axes": "YXS", "PhysicalSizeX": microns, "PhysicalSizeY": microns}
            file.write(
                image, tile=(64, 64), photometric="rgb", metadata=size if kind == "ome" else None,
                description=SCN if kind == "scn" and image is macro else None,
                resolution=(1e4 / microns, 1e4 / microns), resolutionunit="CENTIMETER",
            )  # fmt: skip
    slide = Slide(path)
    np.testing.assert_array_equal(slide.read(0, 0, 0, 128, 256), main)
    assert slide.mpp == pytest.approx(0.5)


def test_tiles_of_hamamatsu_are_pieces_of_one_jpeg(tmp_path):
    y, x = np.mgrid[:64, :256]
    image = np.stack([200 + 0 * x, 60 + x // 8, 120 + y // 2], -1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=95, subsampling=0, restart_marker_blocks=16)
    packed = stream.getvalue()
    scan = packed.index(b"\xff\xda")
    starts = [scan + 2 + int.from_bytes(packed[scan + 2 : scan + 4], "big")]
    starts += [found.end() for found in re.finditer(rb"\xff[\xd0-\xd7]", packed) if found.start() > scan]
    tags = [(271, "s", 0, "Hamamatsu", True), (65420, "I", 1, 1, True), (65426, "I", len(starts), starts, True)]
    with tifffile.TiffWriter(tmp_path / "s.tif") as file:
        file.write(
            iter([packed]), shape=image.shape, dtype=np.uint8, compression="jpeg", photometric="ycbcr",
            subsampling=(1, 1), rowsperstrip=64, metadata=None, extratags=tags,
        )  # fmt: skip
    slide = Slide(tmp_path / "s.tif")
    assert len(slide.pages[0].dataoffsets) == len(starts) == 16
    np.testing.assert_allclose(slide.read(0, 5, 9, 50, 240).astype(int), image[5:55, 9:249], atol=2)


def test_thumbnail_is_the_mean(tmp_path):
    image = RNG.integers(0, 256, (320, 480, 3), dtype=np.uint8)
    thumbnail, factor = Slide(write(tmp_path / "s.tif", image, levels=(1,))).thumbnail(16)
    assert factor == 16
    expected = image.reshape(20, 16, 30, 16, 3).mean((1, 3))
    np.testing.assert_allclose(thumbnail, expected, atol=1)


def test_tissue_is_coloured():
    pixels = np.array([[245, 245, 245], [10, 10, 12], [120, 118, 122], [200, 120, 160], [90, 60, 140]], np.uint8)
    assert tissue(pixels).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("size", [64, 50])
@pytest.mark.parametrize("levels", [(1,), (1, 2, 4)])
def test_patches_hold_tissue_and_lie_where_they_say(tmp_path, levels, size):
    image, inside = draw()
    path = write(tmp_path / "s.tif", image, levels)
    found = list_slides(path, Cutting(size=size, min_tissue=0.6))
    entries = found.splits["train"]
    assert len(entries) > 15
    for entry in entries:
        top, left = (int(v) for v in entry.name.rsplit(":", 1)[1].split(","))
        window = np.s_[top : top + size, left : left + size]
        np.testing.assert_array_equal(entry.read()[0].pixels, image[window])
        assert inside[window].mean() > 0.5


def test_limit_seed_overlap_and_evenness(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tif", draw()[0])

    def names(**kwargs):
        return [e.name for e in list_slides(tmp_path, Cutting(size=64, **kwargs)).splits["train"]]

    some = names(max_patches=10, seed=1)
    assert len(some) == 10 and some == names(max_patches=10, seed=1) != names(max_patches=10, seed=2)
    assert sum("a.tif" in name for name in some) == 5
    assert len(names(overlap=0.5)) > 3 * len(names())


def test_fewer_patches_than_slides_are_of_every_class_by_seed(tmp_path):
    pink = np.full((64, 64, 3), (200, 100, 160), np.uint8)
    for name in ("a/0", "a/1", "a/2", "a/3", "b/0", "b/1"):
        path = tmp_path / f"{name}.tif"
        path.parent.mkdir(exist_ok=True)
        tifffile.imwrite(path, pink, tile=(64, 64), photometric="rgb")
    tifffile.imwrite(tmp_path / "b" / "glass.tif", np.full_like(pink, 250), tile=(64, 64), photometric="rgb")

    def taken(limit, seed):
        found = list_slides(tmp_path, Cutting(size=64, max_patches=limit, seed=seed), labelled=True)
        assert found.ignored == ((str(tmp_path / "b" / "glass.tif"), "no patch with enough tissue"),)
        return [(entry.label, entry.group) for entry in found.splits["train"]]

    assert all({label for label, _ in taken(2, seed)} == {0, 1} for seed in range(4))
    assert {group for seed in range(9) for _, group in taken(2, seed)} == {group for _, group in taken(6, 0)}
    assert taken(3, 1) == taken(3, 1)


def test_levels_and_microns(tmp_path):
    image, _ = draw()
    path = write(tmp_path / "s.tif", image, mpp=0.5)
    entry = list_slides(path, Cutting(size=32, level=1)).splits["train"][0]
    top, left = (int(v) for v in entry.name.rsplit(":", 1)[1].split(","))
    np.testing.assert_array_equal(entry.read()[0].pixels, image[::2, ::2][top : top + 32, left : left + 32])
    # 1.5 micrometres a pixel: from level 1 (1.0), 48 of its pixels become 32.
    entry = list_slides(path, Cutting(size=32, mpp=1.5)).splits["train"][0]
    assert "@1/48:" in entry.name and entry.read()[0].pixels.shape == (32, 32, 3)
    with pytest.raises(InputError, match="at best"):
        list_slides(path, Cutting(size=32, mpp=0.1)).splits["train"][0].read()
    with pytest.raises(InputError, match="levels 0 to 2"):
        list_slides(path, Cutting(size=32, level=7)).splits["train"][0].read()


def test_labels_by_slide_and_stain_of_the_slide(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / f"{name}.tif", draw()[0])
    found = list_slides(tmp_path, Cutting(size=64), {"a": "3", "b": "0", "c": "1"})
    assert found.class_names == ("0", "3")
    assert {(e.group[-5], e.label) for e in found.splits["train"]} == {("a", 1), ("b", 0)}
    with pytest.raises(InputError, match=r"b\.tif: is not in the table"):
        list_slides(tmp_path, Cutting(size=64), {"a": "3"})
    (tmp_path / "2").mkdir()
    (tmp_path / "a.tif").rename(tmp_path / "2" / "a.tif")
    with pytest.raises(InputError, match=r"b\.tif: lies in no class folder"):
        list_slides(tmp_path, Cutting(size=64), labelled=True)
    (tmp_path / "b.tif").unlink()
    found = list_slides(tmp_path, Cutting(size=64), labelled=True)
    assert found.class_names == ("2",) and found.splits["train"][0].label == 0
    decoded = found.splits["train"][0].read()[0]
    ((plain, *_),) = convert(decoded, Conversion())
    ((stained, *_),) = convert(decoded, Conversion(stain_normalise=True))
    assert stained.shape == plain.shape and (stained != plain).any()
    assert decoded.stain() is decoded.stain()


def test_patients_of_slides_by_a_table(tmp_path):
    (tmp_path / "slides").mkdir()
    for number in range(4):
        write(tmp_path / "slides" / f"case{number}.tif", draw()[0])
    table = tmp_path / "cases.csv"
    table.write_text("slide,grade,patient\n" + "".join(f"case{i}.tif,{i % 2},p{i // 2}\n" for i in range(4)))
    folder = prepare_source(
        "slides", str(tmp_path / "slides"), str(tmp_path / "out"), label_table=str(table), label_column="grade",
        cutting=Cutting(size=64), conversion=Conversion(), policy=Policy(holdout="0.5", group="patient"),
    )  # fmt: skip
    with (folder / "samples.csv").open(newline="") as stream:
        sides = {(row["group"], row["split"]) for row in csv.DictReader(stream)}
    assert sorted(patient for patient, _ in sides) == ["p0", "p1"] and {split for _, split in sides} == {
        "train",
        "holdout",
    }


def test_no_tissue_no_slides_and_damage_are_said(tmp_path):
    (tmp_path / "x.png").write_bytes(b"x")
    with pytest.raises(InputError, match="holds no slides"):
        list_slides(tmp_path, Cutting())
    path = write(tmp_path / "white.tif", np.full((600, 600, 3), 245, np.uint8))
    with pytest.raises(InputError, match="no patch"):
        list_slides(path, Cutting())
    (large,) = list_slides(path, Cutting(size=700)).splits["train"]
    with pytest.raises(InputError, match="600x600 is smaller than a patch; lower --size"):
        large.read()
    (tmp_path / "broken.tif").write_bytes(path.read_bytes()[:2000])
    write(tmp_path / "good.tif", draw()[0])
    bad, *good = list_slides(tmp_path, Cutting(size=64)).splits["train"]
    assert "broken.tif" in bad.name and len(good) > 15
    with pytest.raises(InputError, match=r"broken\.tif"):
        bad.read()
    tifffile.imwrite(tmp_path / "gray.tif", np.zeros((300, 300), np.uint16))
    with pytest.raises(InputError, match="not 8-bit RGB"):
        open_slide(tmp_path / "gray.tif")


@pytest.mark.parametrize("field", [{"overlap": 1.0}, {"min_tissue": 2}, {"max_patches": 0}, {"level": 0, "mpp": 1.0}])
def test_wrong_choices_name_the_field(field):
    with pytest.raises(InputError, match=next(iter(field))):
        Cutting(**field)
