"""An exported folder gives the generator's samples where jaxgan and flax cannot be imported, and is written whole."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from jaxgan.commands import export as command
from jaxgan.config import Config
from jaxgan.data.dataset import from_arrays
from jaxgan.errors import InputError
from jaxgan.inference import export
from jaxgan.inference.exported import named
from jaxgan.inference.sampling import latents
from jaxgan.inference.trained_model import generate_samples, load_trained_model, networks, sample_labels
from jaxgan.training.loop import train

NAMES = {"model.stablehlo", "weights.safetensors", "config.json", "model_card.md", "load.py"}
SETTINGS = {
    "conditional": {
        "data": {"size": 8, "labelled": True},
        "generator": {"latent_dim": 5, "widths": [16, 8]},  # wide enough for minimal filtering
        "critic": {"widths": [4, 6], "conditioning": "projection"},
    },
    "unconditional": {
        "data": {"size": 8},
        "generator": {"network": "resnet", "latent_dim": 5, "widths": [6, 4]},
        "critic": {"network": "resnet", "widths": [4, 6]},
    },
}

# In a process that has nothing but jax and numpy: batches of 5 and of 1 from one artifact.
ELSEWHERE = """
import sys

for name in ("flax", "optax", "orbax", "jaxgan"):
    sys.modules[name] = None  # importing it raises
try:
    import flax
except ImportError:
    pass
else:
    raise SystemExit("flax could be imported")
import numpy as np
from load import generate

inputs = [np.load("z.npy")] + [np.load(path) for path in sys.argv[1:]]
np.save("five.npy", generate(*inputs))
np.save("one.npy", generate(*(array[2:3] for array in inputs)))
"""


@pytest.fixture(scope="module", params=SETTINGS)
def model(request, tmp_path_factory):
    """A generator after one iteration on noise."""
    images = np.random.default_rng(0).integers(0, 256, (16, 8, 8, 1)).astype(np.uint8)
    config = Config.from_dict(
        {
            **SETTINGS[request.param],
            "objective": {"loss": "wgan", "n_critic": 1},
            "train": {"batch_size": 8, "iterations": 1, "num_samples": 4, "log_every_iterations": 1},
        }
    )
    data = from_arrays("noise", images, np.arange(16) % 2, fingerprint="noise")
    return load_trained_model(train(config, tmp_path_factory.mktemp("export") / request.param, data))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "generator"
    assert command.main(["--checkpoint", str(model.run_dir), "--output", str(folder)]) == 0
    return folder


def test_it_gives_the_samples_in_units_without_flax(model, exported, tmp_path):
    np.save(tmp_path / "z.npy", latents(3, 5, model.config.generator.latent_dim))
    labels = sample_labels(model, 5)
    if labels is not None:
        np.save(tmp_path / "labels.npy", labels)
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *(["labels.npy"] if labels is not None else [])],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(exported)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected = model.scaling.restore(generate_samples(model, 5, seed=3))
    five, one = np.load(tmp_path / "five.npy"), np.load(tmp_path / "one.npy")
    assert five.dtype == np.float32 and one.shape == (1, 8, 8, 1)
    half = (model.scaling.high - model.scaling.low) / 2  # 1e-6 of the network's own [-1, 1]
    np.testing.assert_allclose(five, expected, rtol=0, atol=1e-6 * half)
    np.testing.assert_allclose(one, expected[2:3], rtol=0, atol=1e-6 * half)
    assert np.abs(five[0] - five[1]).max() > 1e-3 * half


def test_one_program_holds_every_platform_and_any_batch(model, exported):
    program = jax.export.deserialize(bytearray((exported / "model.stablehlo").read_bytes()))
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert str(program.in_avals[0].shape) == f"(n, {model.config.generator.latent_dim})"
    assert len(program.in_avals) == 1 + bool(model.class_names)


def test_the_program_has_float32_activations_wherever_it_is_made(model, monkeypatch):
    """CPUs emulate bfloat16, and the one program is theirs too; a host called gpu keeps activations in it."""
    precise = dataclasses.replace(model.config.train, precision="bfloat16")
    config = dataclasses.replace(model.config, train=precise)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    gan, _ = networks(config, len(model.class_names))
    module = export.program(dataclasses.replace(model, config=config, generator=gan.generator)).mlir_module()
    assert "bf16" in module, "products are in it"
    assert not re.search(r"stablehlo\.(maximum|rsqrt|tanh)\b.*bf16", module)


def test_the_weights_are_read_by_safetensors(model, exported):
    assert {path.name for path in exported.iterdir()} == NAMES
    stored = safetensors.numpy.load_file(exported / "weights.safetensors")
    leaves = jax.tree.leaves({"params": model.params, "stats": model.stats})
    assert len(stored) == len(leaves)
    for name, array in named({"params": model.params, "stats": model.stats}).items():
        np.testing.assert_array_equal(stored[name], array)
    with safe_open(exported / "weights.safetensors", "numpy") as file:
        facts = json.loads(file.metadata()["jaxgan"])
    assert facts["step"] == 1 and facts["scaling"] == model.scaling.to_dict()
    assert Config.from_dict(json.loads((exported / "config.json").read_text())) == model.config
    card = (exported / "model_card.md").read_text()
    assert "`wgan`, penalty `gp`, 1 critic updates" in card
    assert "from 0 to 255" in card and all(name in card for name in model.class_names)


def test_a_folder_that_holds_files_is_refused_without_overwrite(model, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "program", lambda model: pytest.fail("work before the check"))
    (tmp_path / "precious").write_text("kept")
    with pytest.raises(InputError, match="--overwrite"):
        export.export_model(model, tmp_path)
    with pytest.raises(InputError, match="is a file"):
        export.export_model(model, tmp_path / "precious", overwrite=True)

    def fails(model):
        raise RuntimeError("no program")

    monkeypatch.setattr(export, "program", fails)
    with pytest.raises(RuntimeError):
        export.export_model(model, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_no_program_or_card_of_another_model_stays_beside_new_weights(model, exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "generator")
    (folder / "README.md").write_text("my own")
    again = ["--checkpoint", str(model.run_dir), "--output", str(folder), "--no_program", "--overwrite"]
    assert command.main(again) == 0
    assert {path.name for path in folder.iterdir()} == NAMES - {"model.stablehlo", "load.py"} | {"README.md"}
    for name in ("metadata.json", "__init__.py"):  # With the README what `share` writes.
        (folder / name).touch()
    assert command.main(again) == 0
    assert {path.name for path in folder.iterdir()} == NAMES - {"model.stablehlo", "load.py"}
