"""Prepared data that were damaged or tampered with are refused in one line, whatever file and whatever way."""

import json
import shutil

import numpy as np
import pytest

from jaxgan.data.listing.archives import stack_entries
from jaxgan.data.listing.collection import Collection
from jaxgan.data.preparing.convert import Conversion
from jaxgan.data.preparing.prepare import prepare
from jaxgan.data.preparing.prepared import open_prepared
from jaxgan.data.preparing.seal import RECORD_FILE
from jaxgan.errors import InputError


def collection(root, count=12):
    images = np.random.default_rng(5).integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    entries = stack_entries(root / "stack", images, np.arange(count) % 3)
    return Collection(root, 2, {"train": entries}, ("a", "b", "c"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    return prepare(collection(root), root / "out", "set", Conversion())


def flip(path, rng):
    content = bytearray(path.read_bytes())
    content[rng.integers(len(content))] ^= 1 << rng.integers(8)
    path.write_bytes(content)


HARMS = {
    "flip": flip,
    "truncate": lambda path, rng: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path, rng: path.write_bytes(b""),
    "remove": lambda path, rng: path.unlink(),
    "append": lambda path, rng: path.write_bytes(path.read_bytes() + b"\0"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_every_damage_to_every_file_is_noticed(sound, tmp_path, harm):
    rng = np.random.default_rng(0)
    for number, name in enumerate(sorted(path.name for path in sound.iterdir())):
        for repeat in range(8 if harm == "flip" else 1):
            folder = tmp_path / f"{number}-{repeat}"
            shutil.copytree(sound, folder)
            HARMS[harm](folder / name, rng)
            with pytest.raises(InputError, match="prepare the data again") as caught:
                open_prepared(folder)
            assert "\n" not in str(caught.value)


def test_a_whole_copy_is_opened_and_the_original_stays_sound(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "copy")
    np.testing.assert_array_equal(open_prepared(tmp_path / "copy").load(), open_prepared(sound).load())


def test_damaged_data_are_prepared_anew(tmp_path):
    listed = collection(tmp_path)
    folder = prepare(listed, tmp_path / "out", "set", Conversion())
    before = open_prepared(folder).load()
    flip(next(folder.glob("*array_record*")), np.random.default_rng(1))
    assert prepare(listed, tmp_path / "out", "set", Conversion()) == folder
    np.testing.assert_array_equal(open_prepared(folder).load(), before)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("value", [None, 7, "text", [], {}, [None], {"train": None}, -1, 1e400])
def test_records_of_wrong_types_are_refused_even_without_a_seal(sound, tmp_path, value):
    record = json.loads((sound / RECORD_FILE).read_text())
    del record["seal"]
    record["format"] = 1
    record["files"] = {name: size for name, (size, _) in record["files"].items()}
    for field in ("files", "splits", "scaling", "shape", "class_names"):
        if (field, value) in (("class_names", []), ("files", {})):
            continue  # What these say is possible: no classes, nothing to compare with.
        folder = tmp_path / field
        shutil.copytree(sound, folder)
        (folder / RECORD_FILE).write_text(json.dumps({**record, field: value}))
        with pytest.raises(InputError) as caught:
            open_prepared(folder).load()
        assert "\n" not in str(caught.value)


def test_no_module_that_data_name_is_imported(sound, tmp_path, monkeypatch):
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "planted_by_data.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    folder = tmp_path / "copy"
    shutil.copytree(sound, folder)
    record = json.loads((folder / RECORD_FILE).read_text())
    record = {**record, "format": 1, "files": {}}
    del record["seal"]
    (folder / RECORD_FILE).write_text(json.dumps(record))
    features = json.loads((folder / "features.json").read_text())
    features["pythonClassName"] = "planted_by_data.Features"
    (folder / "features.json").write_text(json.dumps(features))
    assert open_prepared(folder).load().shape == (12, 8, 8, 1)
