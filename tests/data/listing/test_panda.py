"""PANDA's archive goes in as Kaggle gives it: zip file or folder, grades as classes, slides never torn apart."""

import csv
import zipfile

import numpy as np
import pytest
import tifffile

from jaxgan.commands.prepare_data import main
from jaxgan.data.listing import panda
from jaxgan.data.preparing.seal import load_record
from jaxgan.errors import InputError
from jaxgan.processes.progress import _with_lines

GRADES = {f"slide{i:02d}": i % 4 for i in range(8)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight slides of tissue from edge to edge, each of its own shade; masks; the table."""
    root = tmp_path_factory.mktemp("panda") / "prostate-cancer-grade-assessment"
    (root / "train_images").mkdir(parents=True)
    (root / "train_label_masks").mkdir()
    with (root / "train.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image_id", "data_provider", "isup_grade", "gleason_score"])
        # The table names slides that were not downloaded too.
        rows.writerows([name, "karolinska", grade, "3+3"] for name, grade in {**GRADES, "absent": 5}.items())
    for i, name in enumerate(GRADES):
        slide = np.tile(np.array([200 - 10 * i, 90, 150], np.uint8), (160, 160, 1))
        tifffile.imwrite(root / "train_images" / f"{name}.tiff", slide, tile=(80, 80), photometric="rgb")
        mask = root / "train_label_masks" / f"{name}_mask.tiff"
        tifffile.imwrite(mask, np.roll(slide, 1, -1), tile=(80, 80), photometric="rgb")
    return root


@pytest.fixture(scope="module")
def archive(folder):
    """The same as a zip file, below a folder of its own."""
    path = folder.parent / "panda.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for member in sorted(folder.rglob("*")):
            file.write(member, member.relative_to(folder.parent))
    return path


def prepared(source, data_dir, *flags):
    assert main(["slides", "--source", str(source), "--data_dir", str(data_dir), "--size", "80", *flags]) == 0
    (record,) = data_dir.glob("*/*/*/jaxgan.json")
    return record.parent


@pytest.mark.parametrize("kind", ["folder", "archive"])
def test_grades_are_classes_and_no_slide_is_on_both_sides(kind, tmp_path, request):
    path = prepared(request.getfixturevalue(kind), tmp_path / "data", "--holdout", "0.5")
    record = load_record(path)
    assert record["class_names"] == ["0", "1", "2", "3"]
    assert record["splits"] == {"train": 16, "holdout": 16}  # Four patches a slide, of four slides each.
    assert record["holdout"]["by"] == "slide" and record["holdout"]["groups"] == 4
    from jaxgan.data.preparing.prepared import open_prepared

    shades = {}
    for split in ("train", "holdout"):
        data = open_prepared(path, split)
        images, labels = data.read(np.arange(data.size)), data.labels
        shades[split] = {int(image[0, 0, 0]) for image in images}
        # The red of a slide says which it is: its patches have its grade.
        assert all((200 - int(image[0, 0, 0])) // 10 % 4 == label for image, label in zip(images, labels, strict=True))
        assert sorted(set(labels.tolist())) == [0, 1, 2, 3], "each grade is on both sides"
    assert len(shades["train"]) == 4 and not shades["train"] & shades["holdout"]
    assert [p.name for p in (tmp_path / "data").iterdir()] == [path.parts[-3]], "what was unpacked is gone"


def test_the_zip_file_and_the_folder_are_the_same_data(folder, archive, tmp_path):
    first, second = prepared(folder, tmp_path / "a", "--name", "x"), prepared(archive, tmp_path / "b", "--name", "x")
    assert first.relative_to(tmp_path / "a") == second.relative_to(tmp_path / "b")
    assert load_record(first)["splits"] == load_record(second)["splits"]


def test_another_column_may_be_the_class(folder, tmp_path):
    assert load_record(prepared(folder, tmp_path, "--label_column", "data_provider"))["class_names"] == ["karolinska"]


def test_a_table_of_patients_leaves_the_grades(folder, tmp_path):
    table = tmp_path / "patients.csv"
    slides = sorted(path.stem for path in folder.rglob("*.tiff") if "mask" not in path.stem)
    table.write_text("slide,patient\n" + "".join(f"{name},p{i // 2}\n" for i, name in enumerate(slides)))
    record = load_record(prepared(folder, tmp_path / "data", "--labels", str(table), "--group", "patient"))
    assert record["class_names"] == ["0", "1", "2", "3"]


def test_an_archive_in_a_cloud_has_a_column_too(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxgan.clouds.fetch", lambda address: folder)
    path = prepared("s3://bucket/panda", tmp_path, "--label_column", "data_provider")
    assert load_record(path)["class_names"] == ["karolinska"]


def test_other_and_damaged_archives_are_one_line(folder, archive, tmp_path, monkeypatch):
    def refused(path, message):
        with pytest.raises(InputError, match=message):
            prepared(path, tmp_path / "data")
        assert not (tmp_path / "data").exists()

    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as file:
        file.writestr("notes.txt", "nothing")
    refused(other, "other.zip: holds no train.csv")
    (tmp_path / "text.zip").write_text("no archive")
    refused(tmp_path / "text.zip", "cannot be read as a zip archive")
    damaged = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as file:
        member = next(m for m in file.infolist() if m.filename.endswith("slide00.tiff"))
    start = member.header_offset + 30 + len(member.filename) + 5
    damaged[start : start + 20] = bytes(20)
    (tmp_path / "damaged.zip").write_bytes(damaged)
    refused(tmp_path / "damaged.zip", "slide00.tiff cannot be unpacked")
    monkeypatch.setattr(panda.shutil, "disk_usage", lambda _: type("", (), {"free": 1000}))
    refused(archive, "unpack it where there is room")


def test_without_a_terminal_what_takes_long_says_so_line_by_line(monkeypatch, capsys):
    clock = iter([0, 0, 20, 40, 60])
    monkeypatch.setattr("jaxgan.processes.progress.time.monotonic", lambda: next(clock))
    assert list(_with_lines(range(4), "preparing", 4, "image")) == [0, 1, 2, 3]
    lines = capsys.readouterr().err.splitlines()
    # Told at 0 s; at 20 s it is too soon, at 40 s it is time; then at 60 s it is too soon again.
    assert lines == ["preparing: 2 of 4 images, 0.05 images/s, 40 s left"]
