"""DICOM: every value at its place in the world, one line for what is no volume, and nothing of a patient anywhere."""

import io
import logging
import shutil
import sys
import warnings
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from jaxgan.commands import prepare_data
from jaxgan.data.listing.collection import list_folder
from jaxgan.data.preparing.prepared import open_prepared
from jaxgan.data.readers import read_file, read_series
from jaxgan.errors import InputError

pydicom = pytest.importorskip("pydicom")
pytest.importorskip("pydicom.data")
Dataset, FileMetaDataset = pydicom.dataset.Dataset, pydicom.dataset.FileMetaDataset
Sequence = pydicom.sequence.Sequence
ExplicitVRLittleEndian, generate_uid = pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.generate_uid

RNG = np.random.default_rng()
SECRET = "GEHEIMNIS"
MR = "1.2.840.10008.5.1.4.1.1.4"
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def scanned(name):
    """A file that comes with pydicom."""
    return Path(pydicom.data.get_testdata_file(name, download=False))


def dataset(pixels, series="1.2.3", **fields):
    """A file in memory, with a patient in every field that may have one."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = MR
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.PatientName, data.PatientID, data.PatientBirthDate = f"{SECRET}^ANNA", f"{SECRET}-1", "19700101"
    data.InstitutionName = data.StudyDescription = data.SeriesDescription = SECRET
    data.SeriesInstanceUID = series
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8 * pixels.dtype.itemsize
    data.HighBit, data.PixelRepresentation = data.BitsStored - 1, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(data, name, value)
    return data


@pytest.mark.parametrize("meaning", ["RGB", "YBR_FULL"])
def test_colours_are_converted_once(tmp_path, meaning):
    colours = np.array([[[200, 60, 90], [10, 200, 30]]], np.uint8)
    stored = colours
    if meaning == "YBR_FULL":
        stored = pydicom.pixels.convert_color_space(colours, "RGB", "YBR_FULL")
    data = dataset(stored[..., 0], SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation=meaning)
    data.PixelData = stored.tobytes()
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (found,) = read_file(tmp_path / "a.dcm", 2)
    np.testing.assert_allclose(found.pixels, colours, atol=1)


def test_lossless_jpeg_2000_gives_its_colours(tmp_path):
    colours = RNG.integers(0, 256, (16, 16, 3), np.uint8)
    coded = io.BytesIO()
    Image.fromarray(colours).save(coded, "jpeg2000", no_jp2=True, mct=1, irreversible=False)
    data = dataset(colours[..., 0], SamplesPerPixel=3, PlanarConfiguration=0, PhotometricInterpretation="YBR_RCT")
    data.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    data.PixelData = pydicom.encaps.encapsulate([coded.getvalue()])
    data["PixelData"].is_undefined_length, data["PixelData"].VR = True, "OB"
    data.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (found,) = read_file(tmp_path / "a.dcm", 2)
    np.testing.assert_array_equal(found.pixels, colours)


def oblique():
    """Axes of slices that are turned by 20 degrees about x: `[row, column, normal]`, each a unit vector in LPS."""
    angle = np.deg2rad(20)
    return np.array([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])


def write_series(folder, stack, axes=None, spacing=(0.8, 0.5), gap=3.0, start=(-10.0, 5.0, 7.0), **fields):
    """Slices with shuffled names; returns the paths, and the place in RAS of each `[slice, row, column]`."""
    folder.mkdir(parents=True, exist_ok=True)
    row, column, normal = oblique() if axes is None else axes
    places = [np.array(start) + k * gap * normal for k in range(len(stack))]
    paths = []
    for k in np.random.default_rng(1).permutation(len(stack)):
        data = dataset(
            stack[k],
            InstanceNumber=int(k) + 1,
            PixelSpacing=list(spacing),
            ImageOrientationPatient=[*row, *column],
            ImagePositionPatient=[float(f"{value:.10g}") for value in places[k]],
            **fields,
        )
        paths.append(folder / f"IM{len(paths):04d}")
        data.save_as(paths[-1], enforce_file_format=True)
    k, i, j = np.meshgrid(*map(np.arange, stack.shape), indexing="ij")
    world = np.stack(places)[k] + i[..., None] * spacing[0] * column + j[..., None] * spacing[1] * row
    return paths, world * [-1, -1, 1]


@pytest.mark.parametrize("axes", [None, np.eye(3), np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])])
def test_every_value_lies_where_the_header_says(tmp_path, axes):
    stack = np.random.default_rng(0).integers(-1000, 3000, (7, 6, 5)).astype(np.int16)
    paths, world = write_series(tmp_path, stack, axes)
    (volume,) = read_series(paths)
    assert volume.pixels.dtype == np.int16 and volume.pixels.shape[-1] == 1
    indices = nibabel.affines.apply_affine(np.linalg.inv(volume.affine), world)
    np.testing.assert_allclose(indices, np.rint(indices), atol=1e-4)
    x, y, z = np.moveaxis(np.rint(indices).astype(int), -1, 0)
    np.testing.assert_array_equal(volume.pixels[x, y, z, 0], stack)
    assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
    assert sorted(volume.spacing) == pytest.approx([0.5, 0.8, 3.0])


def test_rescaled_values_are_physical(tmp_path):
    stack = np.random.default_rng(0).integers(0, 4000, (3, 6, 5)).astype(np.uint16)
    paths, _ = write_series(tmp_path, stack, np.eye(3), RescaleSlope="0.5", RescaleIntercept="-1024")
    (volume,) = read_series(paths)
    assert volume.pixels.dtype == np.float32
    assert np.sort(volume.pixels.ravel()) == pytest.approx(np.sort(stack.ravel() * 0.5 - 1024))


def enhanced(stack, places, axes, spacing):
    """One file with all slices, their geometry in functional groups, the rescaling of each its own."""
    data = dataset(stack, NumberOfFrames=len(stack))
    shared, measures, plane = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, plane.ImageOrientationPatient = list(spacing), [*axes[0], *axes[1]]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([plane])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for number, place in enumerate(places):
        frame, position, values = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [float(f"{value:.10g}") for value in place]
        values.RescaleSlope, values.RescaleIntercept = str(number + 1), "0"
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([values])
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return data


def test_an_enhanced_file_is_a_volume(tmp_path):
    stack = np.random.default_rng(0).integers(0, 100, (4, 6, 5)).astype(np.uint16)
    row, column, normal = axes = oblique()
    order = [2, 0, 3, 1]  # in which the file holds them
    places = [np.array([1.0, 2.0, 3.0]) + 2.0 * k * normal for k in order]
    path = tmp_path / "a.dcm"
    enhanced(stack, places, axes, (0.8, 0.5)).save_as(path, enforce_file_format=True)
    (volume,) = read_file(path, 3)
    for number, place in enumerate(places):
        world = (place + 1 * 0.8 * column + 2 * 0.5 * row) * [-1, -1, 1]
        x, y, z = np.rint(nibabel.affines.apply_affine(np.linalg.inv(volume.affine), world)).astype(int)
        assert volume.pixels[x, y, z, 0] == stack[number, 1, 2] * (number + 1)
    with pytest.raises(InputError, match="holds 4 frames, not one image"):
        read_file(path, 2)


def test_geometry_is_that_of_another_program(tmp_path):
    """nibabel has code of its own for the slices of a scanner."""
    from nibabel.nicom import dicomwrappers

    paths = [tmp_path / "0.dcm", tmp_path / "1.dcm"]
    for number, path in enumerate(paths):
        data = pydicom.dcmread(scanned("MR_small.dcm"))
        normal = dicomwrappers.wrapper_from_data(data).slice_normal
        place = np.array(data.ImagePositionPatient, float) + number * float(data.SliceThickness) * normal
        data.ImagePositionPatient = [float(f"{value:.10g}") for value in place]
        data.save_as(path)
    theirs = dicomwrappers.wrapper_from_file(paths[0])
    pixels = nibabel.Nifti1Image(np.stack([theirs.get_data()] * 2, -1), LPS_TO_RAS @ theirs.affine)
    expected = nibabel.as_closest_canonical(pixels)
    (volume,) = read_series(paths)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)
    np.testing.assert_array_equal(volume.pixels[..., 0], np.asanyarray(expected.dataobj))


def test_images_are_read_one_a_file(tmp_path):
    gray = np.arange(30, dtype=np.uint8).reshape(6, 5)
    dataset(gray, PixelSpacing=[0.2, 0.1]).save_as(tmp_path / "a.dcm", enforce_file_format=True)
    (image,) = read_file(tmp_path / "a.dcm")
    np.testing.assert_array_equal(image.pixels[..., 0], gray)
    assert image.spacing == (0.2, 0.1)
    dataset(gray, PhotometricInterpretation="MONOCHROME1").save_as(tmp_path / "b.dcm", enforce_file_format=True)
    np.testing.assert_array_equal(read_file(tmp_path / "b.dcm")[0].pixels[..., 0], 255 - gray)
    (colour,) = read_file(scanned("SC_rgb_small_odd.dcm"))
    assert colour.pixels.shape == (3, 3, 3) and colour.pixels.dtype == np.uint8


def drop(key):
    return lambda data: delattr(data, key)


def assign(key, value):
    return lambda data: setattr(data, key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (assign("ImagePositionPatient", [0.0, 0.0, 99.0]), "mm apart; some are missing"),
        (assign("ImagePositionPatient", [-10.0, 5.0, 7.0]), "several slices at one place"),
        (assign("ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), "differ in orientation"),
        (drop("ImagePositionPatient"), "have no place in space"),
        (assign("BurnedInAnnotation", "YES"), "text is burned into its pixels"),
        (drop("PixelData"), "without pixels"),
        (assign("PixelData", b"\0" * 10), "cannot be read as a DICOM"),
        (assign("Rows", 5), "cannot be read|differ in size"),
        (assign("Rows", 65535), "cannot be read|differ in size"),
    ],
)
def test_what_is_no_volume_is_one_line_without_the_patient(tmp_path, change, message):
    paths, _ = write_series(tmp_path, np.zeros((4, 6, 6), np.uint16), np.eye(3))
    last = max(paths, key=lambda path: pydicom.dcmread(path).InstanceNumber)
    data = pydicom.dcmread(last)
    change(data)
    data.save_as(last)
    with pytest.raises(InputError, match=message) as caught:
        read_series(paths)
    assert SECRET not in str(caught.value) and "\n" not in str(caught.value)


def test_a_tilted_gantry_is_named(tmp_path):
    axes = np.eye(3)
    axes[2] = [0, 0.3, 1]
    paths, _ = write_series(tmp_path, np.zeros((4, 6, 6), np.uint16), axes)
    with pytest.raises(InputError, match="tilted gantry"):
        read_series(paths)


def test_without_pydicom_the_extra_is_named(tmp_path, monkeypatch):
    write_series(tmp_path, np.zeros((2, 6, 6), np.uint16))
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"pip install 'jaxgan\[dicom\]'"):
        list_folder(tmp_path, spatial_rank=3)


@pytest.fixture
def study(tmp_path):
    """Two patients of three and two series, one class each, with a report among them."""
    rng = np.random.default_rng(2)
    for patient, name, count in (("1", "well", 3), ("2", "ill", 2)):
        for number in range(count):
            folder = tmp_path / "study" / name / f"p{patient}" / f"scan{number}"
            stack = rng.integers(0, 1000, (6, 6, 6)).astype(np.uint16)
            write_series(folder, stack, np.eye(3), (1.0, 1.0), 1.0, series=f"1.2.{patient}.{number}",
                         PatientID=f"{SECRET}-{patient}")  # fmt: skip
    report = dataset(np.zeros((2, 2), np.uint8))
    del report.Rows, report.PixelData
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.22"
    report.save_as(tmp_path / "study" / "well" / "p1" / "report", enforce_file_format=True)
    return tmp_path / "study"


def test_series_are_samples_and_patients_stay_on_one_side(study):
    listed = list_folder(study, labelled=True, spatial_rank=3)
    assert listed.class_names == ("ill", "well")
    assert [entry.label for entry in listed.splits["train"]] == [0, 0, 1, 1, 1]
    assert [entry.group for entry in listed.splits["train"]] == ["patient 1"] * 2 + ["patient 2"] * 3
    assert listed.ignored == ((str(study / "well" / "p1" / "report"), "DICOM without pixels"),)
    assert len(listed.files) == 31
    table = {f"scan{number}": "odd" if number % 2 else "even" for number in range(3)}
    by_table = list_folder(study, spatial_rank=3, labels={**table, "report": "even"})
    assert [entry.label for entry in by_table.splits["train"]] == [0, 1, 0, 1, 0]


def test_nothing_of_a_patient_is_prepared_or_printed(study, tmp_path, capfd, caplog):
    first = next(path for path in sorted(study.rglob("IM*")))
    data = pydicom.dcmread(first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.add_new(0x00080060, "CS", f"{SECRET} is no code, and too long for one")  # which pydicom warns of
    data.save_as(first)
    flags = ["volumes", "--source", str(study), "--data_dir", str(tmp_path / "data"), "--labelled", "--size", "6"]
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert prepare_data.main([*flags, "--holdout", "0.5"]) == 0
    seen = "".join(capfd.readouterr()) + caplog.text + "".join(str(warning.message) for warning in caught)
    assert "held out by subject" in seen and SECRET not in seen
    prepared = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert prepared and not any(SECRET.encode() in path.read_bytes() for path in prepared)
    (folder,) = (path.parent for path in prepared if path.name == "jaxgan.json")
    dataset_ = open_prepared(folder)
    assert dataset_.shape == (6, 6, 6, 1) and dataset_.spacing == (1.0, 1.0, 1.0)


def test_a_damaged_slice_is_named_and_a_directory_of_files_is_none(study, tmp_path):
    (study / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(100))
    slice_ = sorted((study / "ill" / "p2" / "scan0").iterdir())[0]
    slice_.write_bytes(slice_.read_bytes()[:200])
    listed = list_folder(study, spatial_rank=3)
    assert any("DICOMDIR" in name for name, _ in listed.ignored)
    (alone,) = (entry for entry in listed.splits["train"] if entry.name == str(slice_))
    with pytest.raises(InputError, match=f"{slice_.name}: .*(single slice|cannot be read|without pixels)"):
        alone.read()


def test_a_compressed_file_without_a_decoder_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "a.dcm"
    shutil.copy(scanned("MR_small_jpeg_ls_lossless.dcm"), path)
    for name in ("gdcm", "jpeg_ls", "pylibjpeg"):
        monkeypatch.setitem(sys.modules, name, None)
    try:
        (image,) = read_file(path)
    except InputError as error:
        assert "JPEG-LS" in str(error) and "pip install 'jaxgan[dicom]'" in str(error)
    else:  # A decoder was found when pydicom was imported.
        assert image.pixels.shape == (64, 64, 1)
