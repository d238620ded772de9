"""Every error of a config names the field and the way out; presets, overrides and JSON reach the same dataclasses."""

import json
from pathlib import Path

import pytest

import jaxgan
from jaxgan.config import Config, legacy
from jaxgan.config.overrides import override
from jaxgan.config.presets import as_config, load_config
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
        ({"objective": {"loss": "wgan", "penalty_weight": 0.0}}, "config.objective.loss", "penalty_weight above 0"),
        ({"evaluate": {"num_samples": 1}}, "config.evaluate.num_samples=1", "2 or more"),
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


class ConfigDict:
    """What the library ml_collections offers of its class of that name, as far as we call it."""

    def __init__(self, values):
        self.values = values

    def to_dict(self):
        return self.values


@pytest.mark.parametrize("kind", [Config.from_dict, dict, ConfigDict])
def test_whatever_stands_for_a_config_is_taken(kind):
    config = as_config(kind({"seed": 3, "optimizer": {"lr": 1e-4}}))
    assert config == Config.from_dict({"seed": 3, "optimizer": {"lr": 1e-4}})


def test_the_api_takes_a_presets_name_and_refuses_what_is_no_config(tmp_path):
    assert as_config(f"{MNIST}:wgan_gp") == as_config(Path(f"{MNIST}:wgan_gp")) == load_config(f"{MNIST}:wgan_gp")
    with pytest.raises(InputError, match="config=3 is not valid"):
        jaxgan.train(3, tmp_path, "demo")
    with pytest.raises(InputError, match="no variant 'wgan'"):
        jaxgan.train(f"{MNIST}:wgan", tmp_path, "demo")


def test_a_preset_may_give_nested_fields(tmp_path):
    (tmp_path / "mine.py").write_text("def get_config(seed='3'):\n    return {'seed': int(seed)}\n")
    path = tmp_path / "mine.py"
    assert (load_config(str(path)).seed, load_config(f"{path}:5").seed) == (3, 5)


def test_overrides_are_typed_and_validated():
    config = override(
        load_config(f"{MNIST}:source"),
        ["--config.optimizer.lr=1e-4", "--config.critic.widths=(8,16)", "--config.objective.loss", "wgan",
         "--config.data.balanced=false", "--config.evaluate.metrics=fid,swd", "--config.seed", "7"],
    )  # fmt: skip
    assert (config.optimizer.lr, config.critic.widths, config.objective.loss) == (1e-4, (8, 16), "wgan")
    assert (config.evaluate.metrics, config.seed) == (("fid", "swd"), 7)
    assert config.objective.resolved().penalty == "gp" and config.objective.resolved().n_critic == 5


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.critic.spectral"], True),
        (["--config.critic.spectral", "--config.seed=3"], True),
        (["--config.critic.spectral=True"], True),
        (["--config.critic.spectral", "false"], False),
        (["--config.critic.spectral=true", "--config.critic.spectral=0"], False),
    ],
)
def test_a_bool_is_set_with_or_without_a_value(arguments, expected):
    assert override(Config(), arguments).critic.spectral is expected


@pytest.mark.parametrize("text", ["8,16", "(8,16)", "[8, 16]", "(8,16,)"])
def test_tuples_are_written_as_people_write_them(text):
    assert override(Config(), [f"--config.critic.widths={text}"]).critic.widths == (8, 16)


def test_the_last_of_repeated_flags_counts_for_tuples_too():
    repeated = ["--config.critic.widths=(8,4)", "--config.critic.widths=(16,)", "--config.evaluate.metrics=fid"]
    config = override(Config(), [*repeated, "--config.evaluate.metrics=()", "--config.seed=1", "--config.seed=2"])
    assert (config.critic.widths, config.evaluate.metrics, config.seed) == ((16,), (), 2)


def test_earlier_values_are_taken_and_earlier_fields_are_told_their_present_names():
    config = override(load_config(MNIST), ["--config.objective.loss=vanilla", "--config.critic.norm=spectral"])
    assert config.objective.loss == "non_saturating"
    assert (config.critic.norm, config.critic.spectral) == ("none", True)
    for section, names in legacy.FIELDS.items():
        for old, new in names.items():
            with pytest.raises(InputError, match=f"config.{section}.{old} is not .* it is config.{section}.{new} now"):
                override(Config(), [f"--config.{section}.{old}=0.5"])
            assert getattr(getattr(Config.from_record({section: {old: 0.5}}), section), new) == 0.5


@pytest.mark.parametrize(
    ("argument", "parts"),
    [
        ("--config.optimizer.rate=1", ["config.optimizer.rate", "known fields"]),
        ("--config.optimzer.lr=1", ["config.optimzer", "config.optimizer"]),
        ("--config.train.lr=1", ["config.train.lr is not", "did you mean config.optimizer.lr?"]),
        ("--config.batch_size=1", ["did you mean config.train.batch_size?"]),
        ("--config.train.widths=4", ["did you mean config.generator.widths or config.critic.widths?"]),
        ("--config.train.batch_size=many", ["batch_size", "many"]),
        ("--config.train.batch_size=-4", ["config.train.batch_size=-4"]),
        ("--config.train=4", ["config.train is a section"]),
        ("--config.train.batch_size.x=4", ["config.train.batch_size is a value"]),
        ("--config.train.batch_size", ["config.train.batch_size has no value"]),
        ("--config.optimizer.lr=inf", ["config.optimizer.lr='inf'"]),
        ("--config.critic.spectral=maybe", ["config.critic.spectral='maybe'", "bool"]),
        ("--config.critic.widths=(4,wide)", ["config.critic.widths='(4,wide)'"]),
        ("--config.seed=[" + "[" * 500, ["config.seed="]),
        ("--config.=4", ["config. is not"]),
        ("--learning_rate=1", ["--learning_rate"]),
        ("stray", ["stray"]),
    ],
)
def test_wrong_overrides_are_one_line(argument, parts):
    with pytest.raises(InputError) as caught:
        override(load_config(MNIST), [argument])
    assert all(part in str(caught.value) for part in parts), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "part"),
    [
        ("configs/none.py", "no such file"),
        ("mnits", "no such file"),
        (f"{MNIST}:wgan", "choose one of default, small, quickstart, source, wgan_gp"),
    ],
)
def test_wrong_presets_are_one_line(spec, part):
    with pytest.raises(InputError, match=part):
        load_config(spec)


def test_a_preset_file_without_get_config(tmp_path):
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(InputError, match="get_config"):
        load_config(str(tmp_path / "mine.py"))


def test_combinations_that_run_but_are_ill_advised_warn_with_the_reason():
    config = Config.from_dict({"critic": {"norm": "batch"}, "objective": {"penalty": "gp"}})
    assert any("couples the samples" in warning for warning in config.warnings())
    lazy = {"loss": "non_saturating", "r1_weight": 1.0, "penalty_interval": 16}
    assert not Config.from_dict({"objective": lazy}).warnings()
    config = Config.from_dict({"critic": {"norm": "batch"}, "objective": lazy})
    assert any("couples the samples" in warning for warning in config.warnings())
    config = Config.from_dict({"objective": {"loss": "hinge", "penalty_interval": 16}})
    assert any("penalty_interval has no effect" in warning for warning in config.warnings())
    config = Config.from_dict({"growing": {"start_side": 7}})
    assert any("config.growing has no effect" in warning for warning in config.warnings())
    assert not Config().warnings()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"objective": {"loss": "relativistic"}}, "without a penalty"),
        ({"objective": {"loss": "relativistic", "penalty": "r1+r2"}}, ""),
        ({"objective": {"weight_clip": 0.01}, "critic": {"spectral": True}}, "bounds nothing"),
        ({"optimizer": {"name": "rmsprop", "beta2": 0.999}}, "32 times the rate"),
        ({"optimizer": {"name": "rmsprop", "beta2": 0.99}}, ""),
        ({"augment": {"rot90": 0.75}, "diffaugment": {"policy": ["turn"]}}, ""),
        (
            {
                "data": {"spatial_rank": 3, "size": 32},
                "augment": {"rot90": 0.75},
                "diffaugment": {"policy": ["turn"]},
            },
            "samples may come out turned",
        ),
    ],
)
def test_what_bounds_converges_or_turns_less_than_it_seems_is_warned_of(fields, words):
    found = Config.from_dict(fields).warnings()
    assert len(found) == bool(words) and all(words in each for each in found)


def test_clipping_and_equalized_weights_exclude_each_other():
    fields = {"objective": {"weight_clip": 0.01}, "critic": {"network": "resnet", "equalized": True}}
    with pytest.raises(InputError, match=r"config.objective.weight_clip=0.01 .*config.critic.equalized=False"):
        Config.from_dict(fields)


def test_a_perceptual_loss_needs_four_pixels_in_the_first_stage():
    networks = {name: {"network": "growing", "widths": [8] * 4} for name in ("generator", "critic")}
    fields = {**networks, "data": {"size": 32}, "objective": {"perceptual_weight": 1.0}, "growing": {"start_side": 2}}
    with pytest.raises(InputError, match=r"config.growing.start_side=2 .*4 pixels"):
        Config.from_dict(fields)
