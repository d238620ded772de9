"""Every file of a checkpoint, damaged in every way: what is read is what was saved, or the checkpoint before."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from jaxgan.errors import InputError
from jaxgan.inference.trained_model import load_trained_model
from jaxgan.training import loop as training
from jaxgan.training.resume import find_resume_point
from tests.faults.test_prepared_data import HARMS
from tests.training.test_loop import digits_like, make_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return training.train(make_config(iterations=4, checkpoint_every_iterations=2), folder, digits_like())


def kinds(run):
    """One file of each kind in the newest checkpoint: their names hold hashes and numbers."""
    found = {}
    for path in sorted((run / "checkpoints" / "4").rglob("*")):
        if path.is_file():
            relative = path.relative_to(run / "checkpoints" / "4")
            stem = relative.name if len(relative.name) < 25 else "hash"
            found.setdefault((*relative.parts[:-1], stem), relative)
    return list(found.values())


def read(folder):
    """(step, arrays) of what a resume goes on with, None for a refusal; anything but one line fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            point = find_resume_point(folder, "auto")
        except InputError as error:
            assert "\n" not in str(error)
            return None
    return point.step, point.arrays


@pytest.mark.faults
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "remove"])
def test_no_damage_to_a_checkpoint_gives_other_values(run, tmp_path, harm):
    rng = np.random.default_rng(0)
    sound = {4: read(run)[1]}
    shutil.copytree(run, tmp_path / "before")
    shutil.rmtree(tmp_path / "before" / "checkpoints" / "4")
    sound[2] = read(tmp_path / "before")[1]
    tried = passed = 0
    for number, relative in enumerate(kinds(run)):
        for repeat in range(5 if harm == "flip" else 1):
            folder = tmp_path / f"{number}-{repeat}"
            shutil.copytree(run, folder)
            path = folder / "checkpoints" / "4" / relative
            if harm == "flip" and not path.stat().st_size:
                continue
            HARMS[harm](path, rng)
            found = read(folder)
            assert found is not None, relative
            tried, passed = tried + 1, passed + (found[0] == 4)
            for name, array in sound[found[0]].items():
                np.testing.assert_array_equal(found[1][name], array, err_msg=f"{relative}: {name}")
            shutil.rmtree(folder)
    print(f"{harm}: {tried} damages, {tried - passed} noticed, {passed} without effect on what is read")
    assert tried > 5


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "remove"])
def test_the_largest_file_and_the_record_are_checked(run, tmp_path, harm):
    """The quick part of the test above."""
    files = [path for path in (run / "checkpoints" / "4").rglob("*") if path.is_file()]
    record = next(path for path in files if "meta" in path.parts and path.stat().st_size > 500)
    for number, path in enumerate((max(files, key=lambda path: path.stat().st_size), record)):
        folder = tmp_path / str(number)
        shutil.copytree(run, folder)
        HARMS[harm](folder / path.relative_to(run), np.random.default_rng(1))
        assert read(folder)[0] == 2


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "samples/scaling.json"])
@pytest.mark.parametrize("harm", ["truncate", "empty", "remove"])
def test_the_other_files_of_a_run_do_no_harm(run, tmp_path, name, harm):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    HARMS[harm](Path(folder / name), np.random.default_rng(0))
    assert read(folder)[0] == 4
    assert load_trained_model(folder).step == 4
