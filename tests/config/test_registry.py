"""One source of names: what a config accepts is what is implemented, here or in a user's own preset file."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxgan.config import Config
from jaxgan.config.augmentation import Augmentation
from jaxgan.config.fields import sections
from jaxgan.config.registry import HOMES, registry
from jaxgan.errors import InputError
from jaxgan.objectives.losses import LOSSES, Loss

ROOT = Path(__file__).parents[2]

# The field whose names each registry holds.
FIELDS = {
    "LOSSES": "objective.loss",
    "PENALTIES": "objective.penalty",
    "GENERATORS": "generator.network",
    "CRITICS": "critic.network",
    "UPSAMPLING": "generator.resample",
    "DOWNSAMPLING": "critic.resample",
    "NORMS": "critic.norm",
    "CONDITIONINGS": "critic.conditioning",
    "PRECISIONS": "train.precision",
    "OPTIMIZERS": "optimizer.name",
    "SCHEDULES": "optimizer.schedule",
    "SOURCES": "data.source",
    "POLICIES": "data.scaling",
    "STRETCHES": "data.stretch",
    "NORMALISATIONS": "data.normalise",
    "METRICS": "evaluate.metrics",
    "DIFFAUGMENTATIONS": "diffaugment.policy",
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_accepts_what_is_in_its_registry_and_nothing_else(name):
    section, field = FIELDS[name].split(".")
    # Sides of 64 and a labelled set in colour, so that every network, conditioning and operation fits.
    network = {"widths": [8, 8], "network": "resnet" if field == "resample" else "dcgan"}
    base = {"data": {"size": 64, "channels": 3, "labelled": True}, "generator": network, "critic": network}
    base["growing"] = {"start_side": 16}
    for entry in registry(name):
        chosen = {**base, section: {**base.get(section, {}), field: entry}}
        if entry == "growing":  # Both networks grow, or neither.
            chosen |= {"generator": {**network, "network": entry}, "critic": {**network, "network": entry}}
        config = Config.from_dict(chosen)
        assert getattr(getattr(config, section), field) in (entry, (entry,))
    with pytest.raises(InputError, match=f"config.{FIELDS[name]}='nonsense'.*{next(iter(registry(name)))}"):
        Config.from_dict({**base, section: {**base.get(section, {}), field: "nonsense"}})


def test_an_added_loss_is_accepted(monkeypatch):
    with pytest.raises(InputError, match="config.objective.loss='mine'"):
        Config.from_dict({"objective": {"loss": "mine"}})
    monkeypatch.setitem(LOSSES, "mine", Loss(lambda real, fake: fake - real, lambda real, fake: -fake))
    assert Config.from_dict({"objective": {"loss": "mine"}}).objective.loss == "mine"


def test_describing_a_config_imports_no_jax_and_making_one_touches_no_device():
    code = """
import sys
import jaxgan.config
assert "jax" not in sys.modules
jaxgan.config.Config()
from jax._src import xla_bridge
assert not xla_bridge._backends
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env={**os.environ, "PYTHONPATH": str(ROOT)})


MINE = '''
import flax.linen as nn
import jax.numpy as jnp
from jaxgan.config import Config, CriticConfig, DataConfig, EvaluateConfig, GeneratorConfig, TrainConfig
from jaxgan.config.parsing import require
from jaxgan.evaluation import METRICS, Metric, Value
from jaxgan.models import CRITICS, Network
from jaxgan.objectives.losses import LOSSES, Loss

LOSSES["cramped"] = Loss(lambda real, fake: jnp.tanh(fake - real), lambda real, fake: jnp.tanh(real - fake))


class Means(nn.Module):
    """Scores a sample by its mean value."""

    widths: tuple = ()

    @nn.compact
    def __call__(self, x, labels=None, train=False):
        h = x.mean(axis=tuple(range(1, x.ndim - 1)))
        for width in self.widths:
            h = nn.relu(nn.Dense(width)(h))
        return nn.Dense(1)(h)[:, 0], None


def check(section, settings, shape):
    require(len(settings.widths) < 3, f"{section}.widths", settings.widths, "means takes at most two")


CRITICS["means"] = Network(lambda widths, **_: Means(widths), check)
METRICS["seven"] = Metric(
    "seven", "Seven", (Value("seven", "lower", "lower"),), needs=("statistics",),
    measure=lambda report: report.add("seven", 7.0) and None,
)


def get_config():
    return Config(
        data=DataConfig(size=28),
        generator=GeneratorConfig(widths=(4, 4), latent_dim=4),
        critic=CriticConfig(widths=(4,)),
        train=TrainConfig(batch_size=4, iterations=1, num_samples=4, log_every_iterations=1),
        evaluate=EvaluateConfig(num_samples=4, every_images=1),
    )
'''


def train(folder, *flags):
    (folder / "mine.py").write_text(MINE)
    chosen = ["--config.objective.loss=cramped", "--config.critic.network=means", "--config.evaluate.metrics=seven"]
    return run(folder, "train", "--config", "mine.py", "--data_dir", "demo", "--workdir", "run", *chosen, *flags)


def run(folder, script, *flags):
    command = [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_loss_a_network_and_a_metric_of_a_users_own_preset_train_from_the_command_line(tmp_path):
    done = train(tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (record["objective"]["loss"], record["critic"]["network"]) == ("cramped", "means")
    (line,) = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert abs(json.loads(line)["critic_loss"]) < 1 and json.loads(line)["seven"] == 7.0

    flags = ["--checkpoint", "run", "--output_dir", "out", "--num_samples", "2", "--formats", "npy"]
    without = run(tmp_path, "generate", *flags)
    assert without.returncode == 2 and "config.critic.network='means'" in without.stderr
    assert run(tmp_path, "generate", *flags, "--config", "mine.py").returncode == 0
    assert (tmp_path / "out").exists()


def test_a_network_says_which_widths_it_takes(tmp_path):
    done = train(tmp_path, "--config.critic.widths=4,4,4")
    assert (done.returncode, done.stderr) == (
        2,
        "error: config.critic.widths=(4, 4, 4) is not valid: means takes at most two\n",
    )


def test_every_operation_on_reals_has_its_probability_in_the_config():
    off = {field.name for field in dataclasses.fields(Augmentation) if field.default == 0.0}
    assert off == registry("OPERATIONS").keys()
    assert Augmentation(**dict.fromkeys(off, 0.5)).active == tuple(registry("OPERATIONS"))


@pytest.mark.parametrize("name", sorted(FIELDS.keys() - {"METRICS", "DIFFAUGMENTATIONS"}))
def test_help_names_every_choice(name):
    """Those of metrics and of augmentation are listed elsewhere."""
    section = FIELDS[name].partition(".")[0]
    (prose,) = (each.prose for each in sections() if each.name == section)
    ours = [key for key, value in registry(name).items() if key not in ("cramped", "means")]
    assert [key for key in ours if f'"{key}"' not in prose] == []


def test_every_registry_has_a_test():
    assert {*FIELDS, "OPERATIONS"} == HOMES.keys()
