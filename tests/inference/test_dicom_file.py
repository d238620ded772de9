"""DICOM out: what other programs read is the sample, and every file says that it shows nobody."""

import json
import sys

import nibabel
import numpy as np
import pytest

from jaxgan.data.readers import read_file
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.inference.writers import write_samples

pydicom = pytest.importorskip("pydicom")
ORIGIN = {"run": "köpfe\\1", "step": 7, "seed": 3, "data": "f00"}


def write(folder, shape, scaling, **known):
    samples = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    paths = write_samples(samples, folder, ["dicom"], scaling=scaling, provenance=ORIGIN, **known)
    return samples, paths


@pytest.mark.parametrize(
    ("scaling", "step"),
    [
        (Scaling("int16", -1024.0, 3071.0, "HU"), 1.0),
        (Scaling("uint8", 0.0, 255.0, ""), 1.0),
        (Scaling("float32", 0.0, 1.0, "normalised intensity"), 1 / 65535),
        (Scaling("float32", -1.7e-5, 123456.789, ""), 123456.789 / 65535),
        (Scaling("uint32", 0.0, 4e6, ""), 4e6 / 65535),
    ],
)
def test_an_image_has_its_values_in_original_units(tmp_path, scaling, step):
    samples, paths = write(tmp_path, (2, 5, 7, 1), scaling, spacing=(0.2, 0.1))
    data = pydicom.dcmread(paths[1])
    values = pydicom.pixels.apply_rescale(data.pixel_array, data)
    assert values == pytest.approx(scaling.restore(samples[1])[..., 0], abs=0.51 * step)
    assert data.PixelSpacing == [0.2, 0.1] and data.SOPClassUID.name == "Secondary Capture Image Storage"
    assert float(data.WindowCenter) == pytest.approx((scaling.low + scaling.high) / 2)


def test_every_file_says_that_it_is_synthetic(tmp_path):
    _, paths = write(tmp_path, (2, 5, 5, 1), Scaling("uint8", 0.0, 255.0, ""))
    first, second = map(pydicom.dcmread, paths)
    assert first.SyntheticData == "YES" and first.ConversionType == "SYN" and first.PatientIdentityRemoved == "YES"
    assert "SYNTHETIC" in str(first.PatientName) and first.ImageType[0] == "DERIVED"
    assert not first.StudyDate and not first.PatientBirthDate and first.BurnedInAnnotation == "NO"
    assert json.loads(second.DerivationDescription)["sample"] == 1
    assert first.SeriesDescription == "synthetic, köpfe/1"
    assert first.SeriesInstanceUID == second.SeriesInstanceUID and first.SOPInstanceUID != second.SOPInstanceUID
    assert "PixelSpacing" not in first, "no size was known"
    for data in (first, second):
        for element in data.iterall():
            for value in element.value if element.VM > 1 else [element.value]:
                if element.VR in ("CS", "DS", "IS", "LO", "LT", "PN", "SH", "ST", "UI"):
                    pydicom.valuerep.validate_value(element.VR, str(value), pydicom.config.RAISE)
                assert element.VR != "UI" or pydicom.uid.UID(value).is_valid


@pytest.mark.parametrize("high", [255.0, 1.0, 0.5])
def test_the_window_shows_all_gray_levels_from_dark_to_bright(tmp_path, high):
    samples = np.linspace(-1, 1, 4096, dtype=np.float32).reshape(1, 64, 64, 1)
    scaling = Scaling("uint8" if high == 255 else "float32", 0.0, high, "")
    (path,) = write_samples(samples, tmp_path, ["dicom"], scaling=scaling)
    data = pydicom.dcmread(path)
    values = pydicom.pixels.apply_rescale(data.pixel_array, data)
    shown = pydicom.pixels.apply_windowing(values, data)
    brightest = data.RescaleSlope * 65535  # as pydicom has it, for 16 bits
    np.testing.assert_allclose(shown, values / high * brightest, atol=1e-6 * brightest)
    assert len(np.unique(shown)) == (256 if high == 255 else 4096)


def test_the_same_samples_are_the_same_bytes(tmp_path):
    scaling = Scaling("uint8", 0.0, 255.0, "")
    known = {"spacing": (1.0, 2.0, 3.0), "affine": np.diag([1.0, 2.0, 3.0, 1.0])}
    once, twice = (write(tmp_path / name, (2, 4, 5, 6, 1), scaling, **known)[1] for name in "ab")
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in twice]


def test_numbers_fit_the_type_that_they_have(tmp_path, monkeypatch):
    """DS, a decimal string, has 16 characters at most; strict readers refuse more."""
    affine = np.diag([1 / 3, 1 / 3, 1 / 3, 1.0])
    scaling = Scaling("uint8", 0.0, 255.0, "")
    _, (path,) = write(tmp_path, (1, 4, 5, 6, 1), scaling, spacing=(1 / 3,) * 3, affine=affine)
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    measures = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(1 / 3, abs=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_volume_lies_as_its_affine_says(tmp_path, channels):
    """By DICOM's own formula (PS3.3 C.7.6.2.1.1), not by our reader."""
    scaling = Scaling("uint8", 0.0, 255.0, "")
    affine = np.array([[0, 0, -2.0, 40], [1.0, 0, 0, -30], [0, -3.0, 0, 25], [0, 0, 0, 1]])
    samples, (path,) = write(tmp_path, (1, 4, 5, 6, channels), scaling, spacing=(1.0, 3.0, 2.0), affine=affine)
    data = pydicom.dcmread(path)
    shared = data.SharedFunctionalGroupsSequence[0]
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    down, across = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    pixels = data.pixel_array
    assert np.cross(row, column) == pytest.approx([0, 0, 1]) and data.NumberOfFrames == 5
    for number, frame in enumerate(data.PerFrameFunctionalGroupsSequence):
        place = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
        for i in range(pixels.shape[1]):
            for j in range(pixels.shape[2]):
                world = (place + row * across * j + column * down * i) * [-1, -1, 1]
                index = np.linalg.solve(affine[:3, :3], world - affine[:3, 3])
                np.testing.assert_allclose(index, np.rint(index), atol=1e-6)
                expected = scaling.restore(samples[(0, *np.rint(index).astype(int))])
                np.testing.assert_allclose(pixels[number, i, j], np.squeeze(expected), atol=0.51)


def test_a_volume_of_unknown_size_claims_no_place(tmp_path):
    samples, (path,) = write(tmp_path, (1, 4, 5, 6, 1), Scaling("uint8", 0.0, 255.0, ""))
    data = pydicom.dcmread(path)
    assert data.NumberOfFrames == 6 and not hasattr(data, "SharedFunctionalGroupsSequence")
    (volume,) = read_file(path, 3)
    assert volume.spacing is None and volume.pixels.shape == (4, 5, 6, 1)
    assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
    np.testing.assert_allclose(volume.pixels, (samples[0] + 1) * 127.5, atol=0.51)


def test_what_it_cannot_hold_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="not 2 channels"):
        write(tmp_path, (1, 5, 5, 2), Scaling("uint8", 0.0, 255.0, ""))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install 'jaxgan\[dicom\]'"):
        write(tmp_path, (1, 5, 5, 1), Scaling("uint8", 0.0, 255.0, ""))
    assert not list(tmp_path.iterdir())
