"""Exports, models of the package and of the hub give what the run gives, and say in one line what they cannot."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from jaxgan.commands import export, generate, share
from jaxgan.commands.evaluation_task import of_checkpoint
from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.errors import InputError
from jaxgan.inference import locations
from jaxgan.inference.trained_model import critic_scores, generate_samples, load_trained_model
from jaxgan.runs.checkpoint_folder import find
from jaxgan.training import drawing
from jaxgan.training.loop import train

FORMATS = "npy,nifti,tiff_units"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A conditional generator of volumes after one iteration on noise, with millimetres and names of classes."""
    images = np.random.default_rng(0).integers(0, 65536, (8, 8, 8, 8, 1)).astype(np.uint16)
    config = Config.from_dict(
        {
            "data": {"size": 8, "spatial_rank": 3, "labelled": True},
            "generator": {"latent_dim": 5, "widths": [6, 4]},
            "critic": {"widths": [4, 6], "conditioning": "projection"},
            "objective": {"loss": "wgan", "n_critic": 1},
            "train": {"batch_size": 8, "iterations": 1, "num_samples": 4, "log_every_iterations": 1},
        }
    )
    data = from_arrays("noise", images, np.arange(8) % 2, class_names=("left", "right"), fingerprint="noise")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("make_figures", "write_report"):
            patch.setattr(drawing, name, lambda run_dir: None)
        return train(config, tmp_path_factory.mktemp("sharing") / "hippocampi", data)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "generator"
    assert export.main(["--checkpoint", str(run), "--output", str(folder), "--no_program"]) == 0
    return folder


def files(checkpoint, folder, *flags):
    """What `generate` writes, by name."""
    given = ["--checkpoint", str(checkpoint), "--output_dir", str(folder), "--num_samples", "3", "--formats", FORMATS]
    assert generate.main([*given, *flags]) == 0
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_export_gives_the_bytes_of_the_run(run, exported, tmp_path):
    expected = files(run, tmp_path / "run", "--labels", "right", "--truncation", "2")
    assert files(exported, tmp_path / "export", "--labels", "right", "--truncation", "2") == expected
    assert len(expected) == 1 + 1 + 3 + 3


def test_without_output_dir_the_files_lie_in_the_current_folder(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(exported.iterdir())
    assert generate.main(["--checkpoint", str(exported), "--num_samples", "1", "--formats", "npy"]) == 0
    assert sorted(exported.iterdir()) == before
    (made,) = (tmp_path / "generated").glob("generator-*/samples.npy")
    assert np.load(made, allow_pickle=False).shape == (1, 8, 8, 8, 1)


def test_a_folder_given_as_the_current_one_has_its_name(run, exported, tmp_path, monkeypatch):
    flags = ["--num_samples", "1", "--formats", "npy"]
    monkeypatch.chdir(run)
    assert load_trained_model(".").name == load_trained_model("checkpoints/1").name == "hippocampi"
    monkeypatch.chdir(shutil.copytree(exported, tmp_path / "generator"))
    assert generate.main(["--checkpoint", ".", *flags]) == 0
    assert len(list(Path("generated").glob("generator-*/samples.npy"))) == 1


def test_what_an_export_cannot_do_is_one_line(exported):
    model = load_trained_model(exported, "1")
    with pytest.raises(InputError, match="of step 1 alone"):
        load_trained_model(exported, 7)
    with pytest.raises(InputError, match="without its critic: give the run"):
        critic_scores(model, np.zeros((1, 8, 8, 8, 1), np.float32))
    with pytest.raises(InputError, match="without critic and optimizer: give the run's own folder"):
        find(exported)  # what --resume asks


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("config.json", lambda path: path.unlink(), "cannot be read"),
        ("config.json", lambda path: path.write_text("{"), "is no configuration"),
        ("config.json", lambda path: path.write_text('{"generator": {"widths": [8, 4]}}'), "does not fit"),
        ("weights.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-4]), "is damaged"),
        ("weights.safetensors", lambda path: path.write_bytes(b"\xff" * 64), "is damaged"),
        ("weights.safetensors", lambda path: path.write_bytes(b"\2\0\0\0\0\0\0\0{}"), "not written by 'jaxgan export'"),
    ],
)
def test_a_damaged_export_is_one_line(exported, tmp_path, name, damage, message):
    folder = shutil.copytree(exported, tmp_path / "damaged")
    damage(folder / name)
    with pytest.raises(InputError, match=message):
        load_trained_model(folder)


def test_half_precision_halves_the_file_and_nearly_keeps_the_samples(run, exported, tmp_path):
    half = tmp_path / "half"
    assert export.main(["--checkpoint", str(run), "--output", str(half), "--no_program", "--half"]) == 0
    sizes = [(folder / "weights.safetensors").stat().st_size for folder in (exported, half)]
    parameters = load_trained_model(exported).params
    assert sizes[0] - sizes[1] == pytest.approx(2 * sum(map(np.size, _leaves(parameters))), abs=64)
    whole, rounded = (generate_samples(load_trained_model(folder), 4) for folder in (exported, half))
    np.testing.assert_allclose(rounded, whole, rtol=0, atol=5e-3)
    assert rounded.dtype == np.float32 and (rounded != whole).any()


def _leaves(tree):
    return [leaf for value in tree.values() for leaf in _leaves(value)] if isinstance(tree, dict) else [tree]


def test_a_model_of_the_package(run, exported, tmp_path, monkeypatch):
    monkeypatch.setattr(locations, "DEMO_MODELS", tmp_path)
    shutil.copytree(exported, tmp_path / "hippocampus")
    expected = files(run, tmp_path / "run")
    assert files("demo:hippocampus", tmp_path / "demo") == expected
    with pytest.raises(InputError, match="did you mean hippocampus"):
        load_trained_model("demo:hipocampus")
    with pytest.raises(InputError, match="choose one of hippocampus$"):
        load_trained_model("demo:x")
    with pytest.raises(InputError, match="no such model comes with jaxgan"):
        load_trained_model(f"demo:../{tmp_path.name}/hippocampus")


def test_models_of_the_package_are_small_and_open():
    for name in locations.demo_names():
        folder = locations.DEMO_MODELS / name
        assert sum(path.stat().st_size for path in folder.iterdir()) < 2e6
        assert (folder / "model_card.md").is_file()
        assert np.isfinite(generate_samples(load_trained_model(f"demo:{name}"), 1)).all()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's cache as its documentation describes it, and an upload that writes there; there is no network."""
    library, constants = map(pytest.importorskip, ("huggingface_hub", "huggingface_hub.constants"))
    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    made = []

    class Api:
        def __init__(self, **kwargs):
            pass

        def create_repo(self, name, private, exist_ok):
            made.append((name, private))

        def upload_folder(self, repo_id, folder_path, allow_patterns, revision, commit_message):
            repository = cache / f"models--{repo_id.replace('/', '--')}"
            commit = f"{len(made):040x}"
            target = repository / "snapshots" / commit
            target.mkdir(parents=True)
            for name in allow_patterns:
                shutil.copyfile(Path(folder_path) / name, target / name)
            (repository / "refs").mkdir(exist_ok=True)
            for name in ("main", f"v{len(made)}"):
                (repository / "refs" / name).write_text(commit)

            class Done:
                commit_url = f"https://huggingface.co/{repo_id}/commit/{commit}"

            return Done

    monkeypatch.setattr(library, "HfApi", Api)
    return made


def test_a_shared_model_is_read_from_the_hub(run, hub, tmp_path, capsys, monkeypatch):
    to = ["--checkpoint", str(run), "--to", "hf://lab/hippocampi"]
    assert share.main(to) == 0
    assert capsys.readouterr().out.strip() == f"https://huggingface.co/lab/hippocampi/commit/{1:040x}"
    expected = files(run, tmp_path / "run")
    assert files("hf://lab/hippocampi", tmp_path / "main") == expected
    assert share.main([*to, "--public", "--half"]) == 0
    assert hub == [("lab/hippocampi", True), ("lab/hippocampi", False)]
    assert files("hf://lab/hippocampi@v1", tmp_path / "v1") == expected
    monkeypatch.chdir(tmp_path)
    assert generate.main(["--checkpoint", "hf://lab/hippocampi@v1", "--num_samples", "1", "--formats", "npy"]) == 0
    assert list((tmp_path / "generated").glob("hippocampi-*/samples.npy")), "not by the hash that the hub's cache has"
    assert files("hf://lab/hippocampi", tmp_path / "newest") != expected


def test_nothing_else_of_the_folder_is_uploaded(run, hub, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "patients.csv").write_text("secret")
    flags = ["--checkpoint", str(run), "--output", str(folder), "--overwrite", "--to", "hf://lab/hippocampi"]
    assert share.main(flags) == 0
    (uploaded,) = (tmp_path / "hub").glob("*/snapshots/*")
    assert {path.name for path in uploaded.iterdir()} == {path.name for path in folder.iterdir()} - {"patients.csv"}


@pytest.mark.parametrize("address", ["hf://lab", "hf://lab/x/y", "hf://lab/x@", "hf://../x y"])
def test_an_address_that_is_none_is_one_line(address):
    with pytest.raises(InputError, match="is no repository of the hub: write hf://ORGANISATION/NAME"):
        load_trained_model(address)


def test_what_is_not_there_is_one_line(hub):
    with pytest.raises(InputError, match="hf://lab/none: cannot be fetched"):
        load_trained_model("hf://lab/none")


def test_without_the_library_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (
        lambda: load_trained_model("hf://a/b"),
        lambda: share.main(["--checkpoint", str(run), "--to", "hf://a/b"]),
    ):
        with pytest.raises(InputError, match=r"pip install 'jaxgan\[hub\]'"):
            call()


def test_a_folder_is_not_made_public(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as left:
        share.main(["--checkpoint", str(run), "--output", str(tmp_path / "shared"), "--public"])
    assert left.value.code == 2 and "give --to" in capsys.readouterr().err and not (tmp_path / "shared").exists()


def test_the_folder_of_a_shared_model(run, tmp_path):
    (run / "evaluation").mkdir()
    # The clock in the files' names stood elsewhere: what was made last counts.
    for name, made, values, other in (
        ("010000", "00:30:00+00:00", {"fid": 12.5, "inception_score": 1.0}, {}),
        ("020000", "02:00:00+02:00", {"fid": 99.0, "inception_score": 2.5}, {}),
        ("025000", "02:30:00+00:00", {"swd": 3.0, "fid": None}, {}),
        ("030000", "03:00:00+00:00", {"fid": 9.5}, {"truncation": 0.3}),
        ("040000", "04:00:00+00:00", {"fid": 8.5}, {"step": 2}),
    ):
        metrics = {name: {"value": value, "protocol": {}} for name, value in values.items()}
        record = {"metrics": metrics, "step": 1, "created": f"2026-01-01T{made}", **other}
        (run / "evaluation" / f"step_1-20260101-{name}.json").write_text(json.dumps(record))
    card = "# Model card\n\n## Model\n\n- Checkpoint: /home/me/secret, step 1\n\n## Limits\n\n- Few samples\n"
    (run / "model_card.md").write_text(card)
    flags = ["--license", "cc-by-4.0", "--modality", "MRI,T1w", "--organ", "hippocampus", "--dataset", "MSD"]
    assert share.main(["--checkpoint", str(run), "--output", str(tmp_path / "shared"), *flags]) == 0
    shutil.rmtree(run / "evaluation")
    (run / "model_card.md").unlink()
    folder = tmp_path / "shared"
    _, front, text = (folder / "README.md").read_text().split("---\n", 2)
    front = yaml.safe_load(front)
    assert front["license"] == "cc-by-4.0" and {"jaxgan", "MRI", "hippocampus"} <= set(front["tags"])
    assert "0 = left, 1 = right" in text and "- Few samples" in text and "| licence | cc-by-4.0 |" in text
    assert not any(b"/home/me/secret" in path.read_bytes() for path in folder.iterdir())

    ((name, entry),) = json.loads((folder / "metadata.json").read_text()).items()
    assert name == "hippocampi" and entry.keys() == {"execution", "selection", "description"}
    selection = entry["selection"]
    assert (selection["depth"], selection["height"], selection["width"]) == (8, 8, 8)
    assert selection["performance"]["FID"] == 12.5 and selection["performance"]["IS"] == 1.0
    assert selection["modality"] == ["MRI", "T1w"] and selection["license"] == "cc-by-4.0"
    _check_that_medigan_can_run_it(entry["execution"], folder, tmp_path)


def _check_that_medigan_can_run_it(execution, folder, tmp_path):
    """As medigan does it: imports the folder as a package and calls the method that the record names."""
    spec = importlib.util.spec_from_file_location(execution["package_name"], folder / "__init__.py")
    package = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    arguments = execution["generate_method"]["args"]
    assert arguments["base"] == ["model_file", "num_samples", "output_path", "save_images"]
    call = getattr(package, execution["generate_method"]["name"])
    file = folder / f"{execution['model_name']}{execution['extension']}"
    samples = call(os.fspath(file), 3, "", False, **arguments["custom"])
    assert len(samples) == 3 and list(samples[0].shape[:-1]) == execution["image_size"]
    call(os.fspath(file), 2, os.fspath(tmp_path / "images"), True, seed=1)
    stored = [np.load(tmp_path / "images" / f"{i}.npy", allow_pickle=False) for i in range(2)]
    np.testing.assert_array_equal(stored, call(os.fspath(file), 2, "", False, seed=1))
    assert 0 <= np.min(stored) < np.max(stored) <= 65535


def test_an_export_is_evaluated_as_a_run_is_without_its_critic(exported):
    class Flags:
        real = generated = value_range = generated_range = None
        step = seed = data_dir = None
        checkpoint = str(exported)

    with pytest.raises(InputError, match="give --data_dir"):
        of_checkpoint(Flags(), None)
