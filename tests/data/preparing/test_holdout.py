"""A holdout is whole subjects of every class, is never trained on, and the same in every preparation."""

import csv
import dataclasses

import numpy as np
import pytest
import tifffile

from jaxgan.config import Config
from jaxgan.data.listing.collection import list_folder
from jaxgan.data.open import open_data, open_dataset
from jaxgan.data.preparing.check import check
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import Policy, prepare
from jaxgan.data.preparing.prepared import open_prepared
from jaxgan.errors import InputError
from jaxgan.training.preflight import check_fit

SUBJECT = r"(sub-\d+)_"


@pytest.fixture
def scans(tmp_path):
    """20 subjects, 12 of class "a" and 8 of class "b", with 1 to 4 images of 8x8 each."""
    rng = np.random.default_rng(0)
    for subject in range(20):
        folder = tmp_path / "scans" / ("a" if subject < 12 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        for scan in range(1 + subject % 4):
            image = rng.integers(0, 256, (8, 8), dtype=np.uint8)
            tifffile.imwrite(folder / f"sub-{subject:02d}_{scan}.tif", image)
    return tmp_path / "scans"


def prepared(scans, target, **choices):
    return prepare(list_folder(scans), target, "scans", Conversion(), Policy(**choices))


def rows(folder):
    with (folder / "samples.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("seed", range(5))
def test_subjects_stay_whole_and_classes_keep_their_share(scans, tmp_path, seed):
    folder = prepared(scans, tmp_path / "out", holdout="0.25", group=SUBJECT, seed=seed)
    sides = {split: {row["group"] for row in rows(folder) if row["split"] == split} for split in ("train", "holdout")}
    assert not sides["train"] & sides["holdout"] and len(sides["train"] | sides["holdout"]) == 20
    assert len(sides["holdout"]) == 5
    of_a = sum(name < "sub-12" for name in sides["holdout"])
    assert of_a in (2, 3, 4)  # 3 of 12 and 2 of 8, give or take what the whole share leaves over
    train, everything = open_prepared(folder), open_prepared(folder, "all")
    assert train.size + train.held_out.size == everything.size == len(rows(folder))
    assert train.trainable and not train.held_out.trainable and not everything.trainable
    stored = {image.tobytes() for image in train.load()}
    assert not any(image.tobytes() in stored for image in train.held_out.load())
    assert train.fingerprint != train.held_out.fingerprint
    assert any("held out, never trained on: 'holdout'" in line and "5 subjects" in line for line in check(folder).lines)


def test_the_same_choice_holds_out_the_same(scans, tmp_path):
    first, second = (rows(prepared(scans, tmp_path / name, holdout="0.3", group=SUBJECT)) for name in "ab")
    assert first == second
    other = rows(prepared(scans, tmp_path / "c", holdout="0.3", group=SUBJECT, seed=1))
    assert first != other


def test_a_set_without_holdout_is_the_one_it_was(scans, tmp_path):
    folder = prepared(scans, tmp_path / "out")
    assert open_prepared(folder).held_out is None and open_prepared(folder, "all").trainable
    assert Policy().identity().keys().isdisjoint({"holdout", "group"})


def test_a_split_of_the_source_is_held_out_by_its_name(scans, tmp_path):
    (scans / "a").rename(scans / "train")
    (scans / "b").rename(scans / "test")
    folder = prepared(scans, tmp_path / "out", holdout="test", group=SUBJECT)
    assert open_prepared(folder).held_out.size == sum(row["split"] == "test" for row in rows(folder)) > 0
    tifffile.imwrite(scans / "train" / "sub-15_9.tif", np.eye(8, dtype=np.uint8))
    with pytest.raises(InputError, match="'sub-15' is in 'train' and in 'test'"):
        prepared(scans, tmp_path / "out", holdout="test", group=SUBJECT)
    for wrong in ("train", "val"):
        with pytest.raises(InputError, match="holdout="):
            prepared(scans, tmp_path / "out", holdout=wrong)
    with pytest.raises(InputError, match="split='0.2': the source has a split 'test' already"):
        prepared(scans, tmp_path / "out", split="0.2")


def test_a_subject_in_two_splits_of_the_source_is_an_error(scans, tmp_path):
    for split in ("train", "val", "test"):
        (scans / split).mkdir()
        tifffile.imwrite(scans / split / f"sub-{split}_0.tif", np.eye(8, dtype=np.uint8))
    for folder in "ab":
        for path in (scans / folder).iterdir():
            path.rename(scans / "train" / path.name)
        (scans / folder).rmdir()
    prepared(scans, tmp_path / "out", group=r"(sub-\w+)_")
    tifffile.imwrite(scans / "val" / "sub-test_1.tif", np.eye(8, dtype=np.uint8))
    for holdout in ("", "test"):
        with pytest.raises(InputError, match="'sub-test' is in 'val' and in 'test'.*--split"):
            prepared(scans, tmp_path / "out", holdout=holdout, group=r"(sub-\w+)_")
    prepared(scans, tmp_path / "out", split="train,val", group=r"(sub-\w+)_")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"holdout": "1.5"}, "must be a share"),
        ({"holdout": "nan"}, "must be a share"),
        ({"holdout": "0.001"}, "must be a share.* files: choose another, add data, or leave holdout out"),
        ({"holdout": "0.2", "group": "patient(\\d+)"}, "finds no subject"),
        ({"holdout": "0.2", "group": "("}, "not a regular expression"),
    ],
)
def test_wrong_choices_are_said(scans, tmp_path, choices, message):
    with pytest.raises(InputError, match=message):
        prepared(scans, tmp_path / "out", **choices)


def test_training_on_what_is_held_out_is_refused(scans, tmp_path):
    config = Config.from_dict({"data": {"size": 8, "holdout": "0.25", "group": SUBJECT}})
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=8))
    dataset = open_data(config, scans, tmp_path)
    assert dataset.held_out is not None
    check_fit(config, dataset)
    with pytest.raises(InputError, match="held out from training"):
        check_fit(config, dataset.held_out)
    plain = prepared(scans, tmp_path / "plain")
    with pytest.raises(InputError, match="prepare it again with --holdout"):
        open_data(config, plain.parents[2], tmp_path)
    assert open_dataset(scans, holdout="0.25", group=SUBJECT, size=8, channels=1, labelled=False).size == dataset.size
