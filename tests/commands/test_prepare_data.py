"""The command line: every kind of source, exit codes, one line for every mistake."""

import csv
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxgan.commands import prepare_data as commands
from jaxgan.commands.main import entry_point
from jaxgan.data.listing import medmnist
from jaxgan.data.open import open_dataset
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import Policy
from jaxgan.data.preparing.seal import load_record
from jaxgan.errors import InputError

RNG = np.random.default_rng()
SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_data.py"


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=120)


@pytest.fixture
def tiles(tmp_path):
    for label in ("x", "y"):
        (tmp_path / "tiles" / label).mkdir(parents=True)
        for i in range(3):
            image = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            tifffile.imwrite(tmp_path / "tiles" / label / f"{i}.tif", image, photometric="rgb")
    return tmp_path / "tiles"


def test_prepare_check_and_open(tiles, tmp_path):
    out = tmp_path / "data"
    result = run("folder", "--source", tiles, "--data_dir", out, "--size", 16, "--channels", 1, "--labelled")
    assert (result.returncode, result.stderr) == (0, "")
    assert "train 6 samples of 16x16x1 uint8" in result.stdout and "classes x, y" in result.stdout
    assert open_dataset(out, name="tiles", size=16).num_classes == 2
    result = run("check", "--data_dir", out, "--name", "tiles")
    assert (result.returncode, result.stderr) == (0, "") and "x 3, y 3" in result.stdout


def test_check_exits_1_and_says_what_is_wrong(tiles, tmp_path):
    (tiles / "x" / "twin.tif").write_bytes((tiles / "x" / "0.tif").read_bytes())
    assert run("folder", "--source", tiles, "--data_dir", tmp_path / "data").returncode == 0
    result = run("check", "--data_dir", tmp_path / "data")
    assert result.returncode == 1 and "WRONG: 1 exact duplicates" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["folder", "--source", "absent"],
        ["npz", "--source", "tiles"],
        ["slides", "--source", "tiles", "--overlap", "2"],
        ["folder", "--source", "tiles", "--scaling", "fixed"],
        ["folder", "--source", "tiles", "--channels", "2"],
        ["folder", "--source", "tiles", "--bogus"],
        ["check", "--name", "nothing"],
        ["check", "--overwrite"],
        ["volumes", "--source", "tiles"],
        [],
    ],
)
def test_mistakes_are_one_line_and_exit_2(tiles, tmp_path, arguments):
    arguments = [str(tiles) if a == "tiles" else a for a in arguments]
    result = run(*arguments, *(["--data_dir", tmp_path / "data"] if arguments else []))
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["folder", "--percentiles", "10", "90"], "--percentiles goes with --scaling percentile"),
        (["folder", "--labelled", "--unlabelled"], "not allowed with argument --labelled"),
        (["volumes", "--suffix", "T2w"], "--suffix chooses volumes of a BIDS dataset"),
        (["folder", "--label_column", "grade"], "--label_column names a column of the table --labels"),
        (["slides", "--label_column", "grade"], "--label_column names a column of the table --labels"),
    ],
)
def test_flags_without_their_partner_are_refused(tiles, tmp_path, arguments, said, capsys, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["jaxgan", "prepare", *arguments, "--source", str(tiles), "--data_dir", str(tmp_path / "data")]
    )
    with pytest.raises(SystemExit) as left:
        entry_point()
    error = capsys.readouterr().err
    assert left.value.code == 2 and said in error and error.count("\n") == 1, error
    assert not (tmp_path / "data").exists()


def test_a_check_replaces_no_file_unasked(tiles, tmp_path):
    kept, data = tmp_path / "keep.png", ["--data_dir", str(tmp_path / "data")]
    kept.write_text("precious")
    assert commands.main(["folder", "--source", str(tiles), *data, "--quiet"]) == 0
    with pytest.raises(InputError, match=r"keep\.png exists: .*--overwrite"):
        commands.main(["check", *data, "--preview", str(kept)])
    assert kept.read_text() == "precious"
    assert commands.main(["check", *data, "--preview", str(kept), "--overwrite"]) == 0
    assert Image.open(kept).size[0] > 20


def test_label_tables(tmp_path):
    table = tmp_path / "train.csv"
    table.write_text("image_id,provider,isup_grade\na,x,3\nb,y,0\n")
    assert commands.read_labels(table, "isup_grade") == {"a": "3", "b": "0"}
    assert commands.read_labels(table) == {"a": "x", "b": "y"}
    table.write_text("image_id,grade\na,x\nb,y\na,x\n")
    assert commands.read_labels(table) == {"a": "x", "b": "y"}
    table.write_text("image_id,grade\na,x\nb,y\na,z\n")
    with pytest.raises(InputError, match="line 4 has 'z' for 'a', an earlier one 'x'"):
        commands.read_labels(table)
    for content, message in (("", "header"), ("a,b\nx\n", "line 2 has no class"), ("a,b\n\xff", "header|CSV")):
        table.write_bytes(content.encode("latin1"))
        with pytest.raises(InputError, match=message):
            commands.read_labels(table)
    with pytest.raises(InputError, match="absent.csv: no such file"):
        commands.read_labels(tmp_path / "absent.csv")


def test_official_archives_are_told_by_their_md5(tmp_path, caplog, monkeypatch):
    path = tmp_path / "pathmnist.npz"
    np.savez(path, train_images=RNG.integers(0, 256, (5, 8, 8), dtype=np.uint8))
    medmnist.check_official(path)
    assert "not the official" in caplog.text
    assert medmnist.is_name("pathmnist_64") and not medmnist.is_name("mnist")

    def unreachable(*args, **kwargs):
        raise OSError("no route")

    monkeypatch.setattr("socket.create_connection", unreachable)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with pytest.raises(InputError, match=r"breastmnist: could not be downloaded .*no route.*give the file"):
        medmnist.download("breastmnist", tmp_path)


def harm(folder, kind):
    """Spoils a folder of sound uint16 images in one way."""
    good, bad = folder / "good0.tif", folder / "bad.tif"
    image = RNG.integers(0, 999, (16, 16), dtype=np.uint16)
    if kind == "truncated":
        bad.write_bytes(good.read_bytes()[:-50])
    elif kind == "zero bytes":
        bad.write_bytes(b"")
    elif kind == "wrong magic":
        bad.write_bytes(b"GIF89a" * 50)
    elif kind == "NaN":
        for path in folder.iterdir():
            tifffile.imwrite(path, np.float32(tifffile.imread(path)))
        tifffile.imwrite(bad, np.full((16, 16), np.nan, np.float32))
    elif kind == "mixed shapes":
        tifffile.imwrite(bad, image[:9])
    elif kind == "mixed channels":
        tifffile.imwrite(bad, np.stack([image] * 3, -1), photometric="rgb")
    elif kind == "empty folder":
        for path in folder.iterdir():
            path.unlink()
    elif kind == "a folder for a file":
        bad.mkdir()
    elif kind == "loop of links":
        bad.symlink_to(bad)
    elif kind == "terabytes claimed":
        tifffile.imwrite(bad, image)
        content = bytearray(bad.read_bytes())
        with tifffile.TiffFile(bad) as file:
            for tag in ("ImageWidth", "ImageLength"):
                offset = file.pages[0].tags[tag].offset
                content[offset + 2 : offset + 12] = struct.pack("<HII", 4, 1, 10**6)
        bad.write_bytes(content)


@pytest.mark.parametrize(
    "kind",
    [
        "truncated", "zero bytes", "wrong magic", "NaN", "mixed shapes", "mixed channels", "empty folder",
        "a folder for a file", "loop of links", "terabytes claimed",
    ],
)  # fmt: skip
def test_bad_sources_prepare_nothing_and_say_why_in_one_line(tmp_path, kind):
    source = tmp_path / "source"
    source.mkdir()
    for i in range(4):
        tifffile.imwrite(source / f"good{i}.tif", RNG.integers(0, 999, (16, 16), dtype=np.uint16))
    harm(source, kind)
    for prepare in (
        lambda: commands.prepare_source(
            "folder", str(source), str(tmp_path / "data"), conversion=Conversion(), policy=Policy()
        ),
        lambda: open_dataset(source),
    ):
        with pytest.raises(InputError) as caught:
            prepare()
        message = str(caught.value)
        assert "\n" not in message and str(source) in message
        assert kind == "empty folder" or "bad.tif" in message
    for target in (tmp_path / "data", tmp_path / "source.jaxgan"):
        left = [path.name for path in target.iterdir()] if target.exists() else []
        assert left in ([], ["source.rejected.csv"])


@pytest.fixture
def subjects(tmp_path):
    """Eight images of four subjects, and a table of these."""
    (tmp_path / "images").mkdir()
    for i in range(8):
        image = RNG.integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(image).save(tmp_path / "images" / f"{i}.png")
    table = tmp_path / "table.csv"
    table.write_text("file,subject\n" + "".join(f"{i},s{i // 2}\n" for i in range(8)))

    def prepare(**choices):
        return commands.prepare_source(
            "folder", str(tmp_path / "images"), str(tmp_path / "data"), label_table=str(table),
            conversion=Conversion(), policy=Policy(holdout="0.25", group=choices.pop("group", "subject")),
            progress=False, **choices,
        )  # fmt: skip

    return table, prepare


@pytest.mark.parametrize("labelled", [None, False])
def test_a_table_of_subjects_makes_no_classes(subjects, labelled):
    _, prepare = subjects
    record = load_record(prepare(labelled=labelled))
    assert record["class_names"] == [] and record["splits"] == {"train": 6, "holdout": 2}


def test_classes_that_are_not_wanted_are_left_out(subjects):
    table, prepare = subjects
    table.write_text("file,class,subject\n" + "".join(f"{i},{'ab'[i // 4]},s{i // 2}\n" for i in range(8)))
    assert load_record(prepare(labelled=False))["class_names"] == []
    with pytest.raises(InputError, match=r"table.csv: no classes are wanted .*\(file, class, subject\); leave"):
        prepare(labelled=False, group="s")


def test_the_column_of_subjects_is_not_taken_for_that_of_classes(subjects):
    table, prepare = subjects
    table.write_text("file,subject,class\n" + "".join(f"{i},s{i // 2},{'ab'[i // 4]}\n" for i in range(8)))
    with pytest.raises(InputError, match="second column 'subject' is the --group, and no class; .*--label_column"):
        prepare()
    assert load_record(prepare(label_column="class"))["class_names"] == ["a", "b"]


def test_subjects_may_stand_in_the_table_of_labels(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    lines = ["file,class,subject"]
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(tmp_path / "images" / f"{i}.png")
        lines.append(f"{i},{'ab'[i % 2]},person {i // 3}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    choices = {"label_table": str(table), "conversion": Conversion(), "progress": False}

    def prepared(group):
        policy = Policy(holdout="0.5", group=group)
        return commands.prepare_source(
            "folder", str(tmp_path / "images"), str(tmp_path / "data"), policy=policy, **choices
        )

    folder = prepared("subject")
    with (folder / "samples.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    sides = {}
    for row in found:
        sides.setdefault(row["group"], set()).add(row["split"])
    assert sides.keys() == {f"person {n}" for n in range(4)} and all(len(side) == 1 for side in sides.values())
    # Another division of the same files is another set.
    table.write_text("\n".join(lines).replace("person 3", "person 0") + "\n")
    assert prepared("subject") != folder
    table.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(InputError, match="11.png: is not in the table"):
        prepared("subject")
