"""Every file of `generate` says what made it: calls that differ in anything are other studies and series."""

import json
from pathlib import Path

import nibabel
import pytest
import tifffile

from jaxgan.commands import generate


def made(folder, checkpoint, formats, *flags):
    """The files of a call, by the end of their names."""
    given = ["--checkpoint", checkpoint, "--output_dir", str(folder), "--formats", formats, *flags]
    assert generate.main(given) == 0
    return {"".join(path.suffixes[-2:]): path for path in sorted(folder.iterdir())}


def test_calls_that_differ_are_other_studies(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    calls = {
        "plain": [],
        "cut": ["--truncation", "0.5"],
        "path": ["--interpolate", "--num_steps", "2"],
        "line": ["--interpolate", "--num_steps", "2", "--linear"],
    }
    found = {}
    for name, flags in calls.items():
        paths = made(tmp_path / name, "demo:digits", "dicom,tiff8", *flags)
        data = pydicom.dcmread(paths[".dcm"])
        found[name] = data.StudyInstanceUID, data.SeriesInstanceUID, data.SOPInstanceUID
        with tifffile.TiffFile(paths[".tif"]) as tiff:
            told = json.loads(tiff.imagej_metadata["Info"])
        wanted = json.loads(data.DerivationDescription)
        assert {**told, "format": ""} == {**wanted, "format": ""}
        assert told.get("truncation") == (0.5 if name == "cut" else None)
        path = {"path": "great circle", "line": "line"}.get(name)
        assert told.get("interpolation") == (path and {"steps": 2, "path": path})
    for identifiers in zip(*found.values(), strict=True):
        assert len(set(identifiers)) == len(calls)
    again = pydicom.dcmread(made(tmp_path / "again", "demo:digits", "dicom")[".dcm"])
    assert again.StudyInstanceUID == found["plain"][0], "the same samples are the same study"


def test_a_sample_and_an_interpolation_say_their_class(tmp_path):
    paths = made(tmp_path / "one", "demo:hippocampus", "nifti", "--num_samples", "2")
    assert comment(tmp_path / "one" / "sample_00001_small.nii.gz")["class"] == "small" and ".csv" in str(paths)
    made(tmp_path / "two", "demo:hippocampus", "nifti", "--interpolate", "--num_steps", "2", "--labels", "small")
    told = comment(tmp_path / "two" / "interpolation_00001_small.nii.gz")
    assert (told["class"], told["labels"]) == ("small", ["small"])
    made(tmp_path / "first", "demo:hippocampus", "grid,nifti", "--interpolate", "--num_steps", "2")
    assert comment(tmp_path / "first" / "interpolation_00000_large.nii.gz")["class"] == "large"
    assert (tmp_path / "first" / "interpolations_labels.csv").read_text().splitlines()[1:] == ["0,0,large", "1,0,large"]


def comment(path: Path):
    return json.loads(nibabel.load(path).header.extensions[0].get_content())
