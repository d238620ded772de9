"""BIDS: the volumes of one suffix, classes from participants.tsv, and no subject on both sides."""

import nibabel
import numpy as np
import pytest

from jaxgan.commands import prepare_data
from jaxgan.data.listing.bids import list_bids
from jaxgan.data.listing.collection import list_folder
from jaxgan.data.preparing.prepared import find_prepared, open_prepared
from jaxgan.errors import InputError


@pytest.fixture
def root(tmp_path):
    """Six subjects, two of them in two sessions, with other suffixes, derivatives and a subject without a group."""
    rng = np.random.default_rng(0)
    root = tmp_path / "study"

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(rng.integers(0, 900, (6, 6, 6)).astype(np.int16), np.diag([2, 2, 2, 1])), path)

    for number in range(1, 7):
        subject = f"sub-{number:02d}"
        if number in (1, 2):
            for session in ("ses-a", "ses-b"):
                write(root / subject / session / "anat" / f"{subject}_{session}_run-1_T1w.nii.gz")
        else:
            write(root / subject / "anat" / f"{subject}_T1w.nii.gz")
        write(root / subject / "anat" / f"{subject}_FLAIR.nii")
    write(root / "derivatives" / "fmriprep" / "sub-01" / "anat" / "sub-01_desc-preproc_T1w.nii.gz")
    (root / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_run-1_T1w.json").write_text("{}")
    groups = ["control", "patient", "control", "patient", "control", "n/a"]
    rows = [f"sub-{i:02d}\t{20 + i}\t{group}" for i, group in enumerate(groups, 1)]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tage\tgroup", *rows]) + "\n")
    return root


def test_the_volumes_of_a_suffix_with_their_classes(root):
    listed = list_bids(root, "T1w", "group")
    assert listed.class_names == ("control", "patient")
    entries = listed.splits["train"]
    assert [entry.group for entry in entries] == ["sub-01"] * 2 + ["sub-02"] * 2 + ["sub-03", "sub-04", "sub-05"]
    assert [entry.label for entry in entries] == [0, 0, 1, 1, 0, 1, 0]
    assert ("sub-06_T1w.nii.gz" in listed.ignored[-1][0]) and listed.ignored[-1][1] == "no group in participants.tsv"
    assert entries[0].read()[0].spacing == (2.0, 2.0, 2.0)
    assert len(list_bids(root, "FLAIR").splits["train"]) == 6 and list_bids(root, "FLAIR").class_names == ()


@pytest.mark.parametrize(
    ("suffix", "column", "message"),
    [
        ("T2w", None, "no volume .*T2w.nii.gz; there are FLAIR, T1w"),
        ("T1w", "sex", "no column 'sex'; it has participant_id, age, group"),
    ],
)
def test_what_is_not_there_is_one_line(root, suffix, column, message):
    with pytest.raises(InputError, match=message):
        list_bids(root, suffix, column)


def test_a_subject_without_a_row_and_a_folder_that_is_no_dataset(root):
    table = root / "participants.tsv"
    table.write_text("".join(line for line in table.open() if "sub-03" not in line))
    with pytest.raises(InputError, match="has no row for sub-03"):
        list_bids(root, "T1w", "group")
    with pytest.raises(InputError, match="is no BIDS dataset"):
        list_bids(root / "sub-01")
    table.unlink()
    with pytest.raises(InputError, match="cannot be read as a table"):
        list_bids(root, "T1w", "group")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_subject_is_on_both_sides(root, tmp_path, seed):
    flags = ["--size", "6", "--label_column", "group", "--holdout", "0.4", "--seed", str(seed), "--quiet"]
    source = ["volumes", "--bids", "--source", str(root), "--data_dir", str(tmp_path / "data")]
    assert prepare_data.main([*source, *flags]) == 0
    (folder,) = find_prepared(tmp_path / "data")
    rows = [line.split(",") for line in (folder / "samples.csv").read_text().splitlines()[1:]]
    sides = {split: {row[4] for row in rows if row[0] == split} for split in ("train", "holdout")}
    assert not sides["train"] & sides["holdout"] and sides["train"] | sides["holdout"] == {
        f"sub-{i:02d}" for i in range(1, 6)
    }
    assert open_prepared(folder).class_names == ("control", "patient")


def test_subjects_are_not_taken_for_classes(root):
    (root / "dataset_description.json").write_text("{}")
    with pytest.raises(InputError, match="is a BIDS dataset.*prepare volumes --bids"):
        list_folder(root, spatial_rank=3)
    assert not list_folder(root, labelled=False, spatial_rank=3).class_names


def test_flags_that_do_not_fit(root, tmp_path, capsys):
    source = ["volumes", "--bids", "--source", str(root), "--data_dir", str(tmp_path / "data")]
    with pytest.raises(InputError, match="give --label_column"):
        prepare_data.main([*source, "--labelled"])
    with pytest.raises(SystemExit):
        prepare_data.main([*source, "--labels", "table.csv"])
    assert "does not go with --bids" in capsys.readouterr().err
