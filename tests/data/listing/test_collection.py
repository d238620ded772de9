"""What a folder is taken to hold."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from jaxgan.data.listing.collection import group_by_table, guess_rank, list_folder, natural
from jaxgan.errors import InputError


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)


def names(entries):
    return [entry.name.rsplit("/", 1)[1] for entry in entries]


def test_flat_folder_in_natural_order_without_labels(tmp_path):
    for i in (10, 2, 1):
        picture(tmp_path / f"im{i}.png")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_text("x")
    found = list_folder(tmp_path)
    assert names(found.splits["train"]) == ["im1.png", "im2.png", "im10.png"]
    assert found.class_names == () and found.splits["train"][0].label is None
    assert {reason for _, reason in found.ignored} == {"not an image format (.txt)", "hidden file"}


def test_class_folders(tmp_path):
    for name in ("0/a.png", "0/d.png", "2/b.png", "10/c.png"):
        picture(tmp_path / name)
    found = list_folder(tmp_path)
    assert found.class_names == ("0", "2", "10")
    assert [entry.label for entry in found.splits["train"]] == [0, 0, 1, 2]
    assert list_folder(tmp_path, labelled=False).class_names == ()


def test_folders_of_one_sample_each_are_patients_and_no_classes(tmp_path):
    for name in ("sub-01/t1.png", "sub-02/t1.png", "sub-03/t1.png"):
        picture(tmp_path / name)
    assert list_folder(tmp_path).class_names == ()
    with pytest.raises(InputError, match="every folder holds one sample.*--unlabelled"):
        list_folder(tmp_path, labelled=True)
    table = {"sub-01/t1": "ill", "sub-02/t1": "well", "sub-03/t1": "ill"}
    assert list_folder(tmp_path, labels=table).class_names == ("ill", "well")


def test_prepared_data_and_runs_below_the_source_are_no_images(tmp_path):
    picture(tmp_path / "a.png")
    for place, mark in (("made/set/1.0.0", "jaxgan.json"), ("run", "config.json")):
        picture(tmp_path / place / "preview.png")
        (tmp_path / place / mark).write_text("{}")
    (tmp_path / "run" / "checkpoints").mkdir()
    found = list_folder(tmp_path)
    assert [Path(entry.name).name for entry in found.splits["train"]] == ["a.png"]
    assert {reason for _, reason in found.ignored} == {"prepared data", "a run of jaxgan"}


@given(st.lists(st.text("01a²", min_size=1, max_size=4), unique=True))
def test_the_order_of_names_depends_on_nothing_but_the_names(names):
    assert sorted(names, key=natural) == sorted(sorted(names, key=hash), key=natural)
    assert len({natural(name) for name in names}) == len(names)


def test_deeper_folders_are_classes_only_on_demand(tmp_path):
    for name in ("a/one/im.png", "a/two/im.png", "b/im.png"):
        picture(tmp_path / name)
    assert list_folder(tmp_path).class_names == ()
    assert [e.label for e in list_folder(tmp_path, labelled=True).splits["train"]] == [0, 0, 1]


def test_one_folder_is_no_class_and_a_stray_file_has_none(tmp_path):
    picture(tmp_path / "only/a.png")
    assert list_folder(tmp_path).class_names == ()
    picture(tmp_path / "other/b.png")
    picture(tmp_path / "other/c.png")
    picture(tmp_path / "stray.png")
    assert list_folder(tmp_path).class_names == ()
    with pytest.raises(InputError, match=r"stray.png: lies in no class folder"):
        list_folder(tmp_path, labelled=True)


@pytest.mark.parametrize("name", ["two\nlines", b"\xff".decode(errors="surrogateescape")])
def test_class_names_that_no_file_can_list_are_refused(tmp_path, name):
    picture(tmp_path / name / "a.png")
    picture(tmp_path / name / "b.png")
    picture(tmp_path / "good" / "a.png")
    with pytest.raises(InputError, match="rename the folder"):
        list_folder(tmp_path)


def test_split_folders(tmp_path):
    for split in ("train", "valid", "test"):
        for label in "ab":
            picture(tmp_path / split / label / f"{split}.png")
    found = list_folder(tmp_path)
    assert list(found.splits) == ["train", "val", "test"] and found.class_names == ("a", "b")
    assert [entry.label for entry in found.splits["val"]] == [0, 1]


def test_other_names_of_splits(tmp_path):
    for split in ("Training", "validation", "val", "Testing"):
        for label in ("cat", "dog"):
            picture(tmp_path / split / label / f"{split}.png")
    found = list_folder(tmp_path)
    assert {split: len(entries) for split, entries in found.splits.items()} == {"train": 2, "val": 4, "test": 2}
    assert found.class_names == ("cat", "dog")
    (tmp_path / "Training").rename(tmp_path / "tissue")
    assert set(list_folder(tmp_path).splits) == {"train"}, "without a training split folders are just folders"


def test_label_table(tmp_path):
    picture(tmp_path / "x.png")
    picture(tmp_path / "y.png")
    found = list_folder(tmp_path, labels={"x": "sick", "y.png": "healthy"})
    assert found.class_names == ("healthy", "sick") and [e.label for e in found.splits["train"]] == [1, 0]
    with pytest.raises(InputError, match=r"y.png: is not in the table"):
        list_folder(tmp_path, labels={"x": "sick"})


def test_a_row_is_one_file(tmp_path):
    for folder in ("p1", "p2"):
        picture(tmp_path / folder / "x.png")
    with pytest.raises(InputError, match=r"p2/x.png and .*p1/x.png: are both 'x' in the table; name them"):
        list_folder(tmp_path, labels={"x": "sick"})
    found = list_folder(tmp_path, labels={"p1/x.png": "sick", "p2/x": "healthy"})
    assert [found.class_names[entry.label] for entry in found.splits["train"]] == ["sick", "healthy"]
    subjects = group_by_table(found, "patient", {"p1/x": "A", "p2/x": "B"})
    assert [entry.group for entry in subjects.splits["train"]] == ["A", "B"]
    with pytest.raises(InputError, match="name them there by their path"):
        group_by_table(found, "patient", {"x": "A"})


def test_loops_of_links_end(tmp_path):
    picture(tmp_path / "a/im.png")
    (tmp_path / "a/again").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    found = list_folder(tmp_path)
    assert names(found.splits["train"]) == ["im.png"]
    assert sum("already listed" in reason for _, reason in found.ignored) == 2


@pytest.mark.parametrize("content", [None, "notes.txt"])
def test_nothing_to_read_is_said(tmp_path, content):
    if content:
        (tmp_path / content).write_text("x")
    with pytest.raises(InputError, match=r"\.tif"):
        list_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        list_folder(tmp_path / "absent")
    (tmp_path / "slide.svs").write_text("x")
    with pytest.raises(InputError, match="jaxgan prepare slides"):
        list_folder(tmp_path)


def test_rank_is_guessed_by_format(tmp_path):
    (tmp_path / "v.nii.gz").write_bytes(b"x")
    assert guess_rank(tmp_path) == 3
    picture(tmp_path / "a.png")
    assert guess_rank(tmp_path) == 2


def test_natural_order():
    assert sorted(["a10b", "a2b", "a2", "b1"], key=natural) == ["a2", "a2b", "a10b", "b1"]
