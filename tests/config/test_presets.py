"""Each preset from data to a sampled checkpoint, in one iteration: at its full shape where that is quick."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import jaxgan
from jaxgan.config.presets import load_config
from jaxgan.data.dataset import from_arrays
from jaxgan.training import drawing

CONFIGS = Path(__file__).parents[2] / "configs"
FULL = ["mnist", "mnist:source", "mnist:wgan_gp", "mnist:wgan_clip", "pathmnist", "pathmnist:source", "pathmnist:small"]
REDUCED = [
    "cell256",
    "cell256:source",
    "cell256:small",
    "panda256",
    "panda256:plain",
    "panda256:source",
    "mri64",
    "mri64:source",
    "mri64:small",
]
# Same networks and game as one of the above: read, not run.
READ = ["mnist:small", "mnist:quickstart", "mnist:gan", "panda256:small",
        "panda256:plain_small", "panda256:small_r3gan", "panda256:small_r1"]  # fmt: skip


def load(name):
    stem, _, variant = name.partition(":")
    return load_config(str(CONFIGS / f"{stem}.py") + (f":{variant}" if variant else ""))


def reduced(config):
    """The same game on 16 pixels: two widths instead of four or six. Full shapes are in the benchmark. What grows
    begins with its last stage."""
    generator, critic = (
        dataclasses.replace(network, widths=widths, attention=(8,) if network.attention else ())
        for network, widths in (
            (config.generator, config.generator.widths[-2:]),
            (config.critic, config.critic.widths[:2]),
        )
    )
    grown = {"start_side": 16} if config.generator.grows else {}
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, size=16),
        generator=generator,
        critic=critic,
        growing=dataclasses.replace(config.growing, **grown),
    )


# One of each file, with figures and a report; the others, slow together, are drawn by nobody.
FIRST = {"mnist:wgan_gp", "pathmnist", "cell256", "panda256", "mri64"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FIRST else pytest.mark.slow) for name in FULL + REDUCED]
)
def test_one_iteration_end_to_end(name, tmp_path, monkeypatch):
    config, drawn = load(name), name in FIRST
    if not drawn:
        for part in ("make_figures", "write_report"):
            monkeypatch.setattr(drawing, part, lambda run_dir: None)
    config = reduced(config) if name in REDUCED else config
    config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, iterations=1, batch_size=4, num_samples=4, log_every_iterations=1),
    )
    assert not config.warnings()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, *config.data.shape)).astype(np.uint8)
    labels = np.arange(12) % 2 if config.data.labelled else None
    run = jaxgan.train(config, tmp_path / "run", from_arrays("random", images, labels))
    model = jaxgan.load_trained_model(run)
    assert model.config == config and model.step == 1
    samples = jaxgan.generate_samples(model, 2, seed=1)
    assert samples.shape == (2, *config.data.shape) and np.isfinite(samples).all()
    assert [(run / path).exists() for path in ("figures/losses.png", "report.html")] == [drawn, drawn]


@pytest.mark.parametrize("name", READ)
def test_every_variant_is_a_valid_config_without_warnings(name):
    assert not load(name).warnings()


def test_every_preset_is_tested():
    assert {path.stem for path in CONFIGS.glob("*.py")} == {name.partition(":")[0] for name in FULL + REDUCED}


PROMISED = {
    "mnist": {
        "generator.latent_dim": 100, "optimizer.lr": 2e-4, "optimizer.beta1": 0.5, "objective.loss": "non_saturating",
        "train.epochs": 200.0, "train.batch_size": 128, "train.checkpoint_every_epochs": 10.0,
        "train.sample_every_epochs": 5.0, "train.early_stopping_patience": 10, "train.best_metric": "generator_loss",
    },
    "pathmnist": {
        "data.channels": 1, "generator.latent_dim": 100, "optimizer.name": "rmsprop", "optimizer.lr": 5e-5,
        "objective.n_critic": 5, "objective.weight_clip": 0.01, "train.epochs": 50.0, "train.batch_size": 128,
    },
    "cell256": {
        "data.size": 256, "data.channels": 1, "generator.latent_dim": 100, "generator.norm": "batch",
        "generator.network": "dcgan", "objective.penalty": "gp", "train.checkpoint_every_epochs": 20.0,
    },
    "panda256": {
        "data.size": 256, "data.channels": 3, "generator.network": "growing", "generator.spectral": True,
        "critic.spectral": True, "generator.norm": "instance", "critic.norm": "instance", "train.batch_size": 8,
    },
    "mri64": {
        "data.size": 64, "data.spatial_rank": 3, "data.channels": 1, "data.labelled": True,
        "generator.norm": "instance", "critic.norm": "instance", "objective.penalty": "gp",
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PROMISED)
def test_a_source_variant_keeps_what_its_description_promises(name):
    """Defaults follow what was measured; `:source` is an agreement, which retuning a preset must not change."""
    config = load(f"{name}:source").to_dict()
    for place, value in PROMISED[name].items():
        section, field = place.split(".")
        assert config[section][field] == value, place


def test_every_preset_has_an_agreement():
    assert PROMISED.keys() == {path.stem for path in CONFIGS.glob("*.py")}
