"""Every error of a config names the field and the way out; presets, overrides and JSON reach the same dataclasses."""

import json
from pathlib import Path

import pytest

from jaxgan.config import Config, to_config_dict
from jaxgan.config.presets import load_config, load_preset, override
from jaxgan.errors import InputError

MNIST = str(Path(__file__).parents[2] / "configs" / "mnist.py")


@pytest.mark.parametrize(
    ("values", "field", "way_out"),
    [
        ({"optimzer": {}}, "config.optimzer", "did you mean config.optimizer"),
        ({"train": {"batchsize": 3}}, "config.train.batchsize", "did you mean config.train.batch_size"),
        ({"train": {"zzz": 3}}, "config.train.zzz", "known fields"),
        ({"train": {"batch_size": -1}}, "config.train.batch_size=-1", "above 0"),
        ({"train": {"batch_size": 2.5}}, "config.train.batch_size=2.5", "type int"),
        ({"train": {"batch_size": True}}, "config.train.batch_size=True", "type int"),
        ({"train": 3}, "config.train=3", "section"),
        ({"optimizer": {"lr": float("nan")}}, "config.optimizer.lr=nan", "type float"),
        ({"optimizer": {"beta1": 1.0}}, "config.optimizer.beta1=1.0", "[0, 1)"),
        ({"optimizer": {"weight_decay": 0.1}}, "config.optimizer.weight_decay", "adamw"),
        ({"objective": {"loss": "wgam"}}, "config.objective.loss='wgam'", "wgan"),
        ({"objective": {"weight_clip": 0.01, "penalty": "gp"}}, "config.objective.weight_clip", "choose one"),
        ({"objective": {"loss": "wgan", "penalty": "none"}}, "config.objective.loss", "penalty=gp"),
        ({"critic": {"widths": []}}, "config.critic.widths", "at least one"),
        ({"critic": {"widths": [4, 4, 4]}}, "config.critic.widths", "at most 2"),
        ({"generator": {"widths": [4, 0]}}, "config.generator.widths", "above 0"),
        ({"critic": {"conditioning": "projection"}}, "config.critic.conditioning", "labelled=True"),
        ({"data": {"balanced": True}}, "config.data.balanced", "labelled=True"),
        ({"data": {"spatial_rank": 3}, "augment": {"colour": 0.5}}, "config.augment.colour", "volumes"),
        ({"seed": -1}, "config.seed=-1", "0 to"),
    ],
)
def test_wrong_values_name_the_field_and_the_way_out(values, field, way_out):
    with pytest.raises(InputError) as caught:
        Config.from_dict(values)
    message = str(caught.value)
    assert field in message and way_out in message and "\n" not in message


def test_integers_and_lists_are_taken_where_floats_and_tuples_are_meant():
    config = Config.from_dict({"optimizer": {"lr": 1}, "critic": {"widths": [8, 16]}, "generator": {"widths": 8}})
    assert config.optimizer.lr == 1.0 and isinstance(config.optimizer.lr, float)
    assert config.critic.widths == (8, 16) and config.generator.widths == (8,)


def test_json_brings_back_the_same_config():
    config = load_config(f"{MNIST}:wgan_gp")
    assert Config.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("variant", ["gan", "wgan_gp", "wgan_clip", "quickstart"])
def test_both_faces_of_a_preset_are_the_same_and_the_dict_is_locked(variant):
    config_dict = load_preset(f"{MNIST}:{variant}")
    assert Config.from_dict(config_dict.to_dict()) == load_config(f"{MNIST}:{variant}")
    with pytest.raises(AttributeError):
        config_dict.new_field = 1


def test_overrides_are_typed_and_validated():
    config = override(
        load_preset(MNIST),
        ["--config.optimizer.lr=1e-4", "--config.critic.widths=(8,16)", "--config.objective.loss", "wgan",
         "--config.data.balanced=false", "--config.evaluate.metrics=fid,swd"],
    )  # fmt: skip
    assert (config.optimizer.lr, config.critic.widths, config.objective.loss) == (1e-4, (8, 16), "wgan")
    assert config.evaluate.metrics == ("fid", "swd")
    assert config.objective.resolved().penalty == "gp" and config.objective.resolved().n_critic == 5


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("--config.optimizer.rate=1", ["config.optimizer.rate", "known fields"]),
        ("--config.optimzer.lr=1", ["config.optimzer", "config.optimizer"]),
        ("--config.train.batch_size=many", ["batch_size", "many"]),
        ("--config.train.batch_size=-4", ["config.train.batch_size=-4"]),
        ("--config.train=4", ["config.train"]),
        ("--learning_rate=1", ["--learning_rate"]),
        ("stray", ["stray"]),
    ],
)
def test_wrong_overrides_are_one_line(argument, parts):
    with pytest.raises(InputError) as caught:
        override(load_preset(MNIST), [argument])
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "part"),
    [("configs/none.py", "no such file"), (f"{MNIST}:wgan", "choose one of gan, wgan_gp")],
)
def test_wrong_presets_are_one_line(spec, part):
    with pytest.raises(InputError, match=part):
        load_preset(spec)


def test_a_preset_file_without_get_config(tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="get_config"):
        load_preset(str(tmp_path / "mine.py"))


def test_combinations_that_run_but_are_ill_advised_warn_with_the_reason():
    config = Config.from_dict({"critic": {"norm": "batch"}, "objective": {"penalty": "gp"}})
    assert any("couples the samples" in warning for warning in config.warnings())
    assert not Config().warnings()


def test_config_dict_has_every_field():
    assert Config.from_dict(to_config_dict(Config()).to_dict()) == Config()
