"""Presets by bare name, by path and as files of values, from any folder."""

import dataclasses
import json
from importlib import metadata
from pathlib import Path

import pytest

from jaxgan.config import Config, preset_files
from jaxgan.config.overrides import override
from jaxgan.config.presets import load_config, title
from jaxgan.errors import InputError

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("spec", ["mnist:wgan_gp", "configs/mnist.py:wgan_gp", f"{CONFIGS}/mnist.py:wgan_gp"])
def test_every_way_to_name_a_preset_works_from_any_folder(spec, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(spec) == load_config(f"{CONFIGS}/mnist.py:wgan_gp")
    assert load_config(spec).objective.penalty == "gp"
    assert title(spec) == "mnist:wgan_gp"


def test_a_file_of_the_users_own_goes_before_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    mine = "from jaxgan.config import Config\ndef get_config():\n    return Config(seed=7)\n"
    (tmp_path / "configs" / "mnist.py").write_text(mine)
    assert load_config("configs/mnist.py").seed == 7
    assert load_config("mnist").seed == 0


def test_the_config_of_a_run_repeats_it(tmp_path):
    config = load_config("mri64")
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    assert load_config(str(tmp_path / "config.json")) == config
    changed = override(load_config(str(tmp_path / "config.json")), ["--config.train.batch_size=3"])
    assert changed.train.batch_size == 3 and changed.generator == config.generator


def test_yaml_sets_some_fields_and_reads_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 3\noptimizer: {lr: 1e-4}\ngenerator:\n  widths: [16, 8]\ntrain: {epochs: 5}\n")
    config = load_config(str(path))
    assert (config.seed, config.optimizer.lr, config.generator.widths) == (3, 1e-4, (16, 8))
    assert config.train.epochs == 5.0 and config.critic == Config().critic


def test_a_file_of_values_may_begin_with_a_preset(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("preset: cell256:small\noptimizer: {lr: 1e-4}\nseed: 3\n")
    config, preset = load_config(str(path)), load_config("cell256:small")
    assert (config.seed, config.optimizer.lr) == (3, 1e-4)
    assert config.generator == preset.generator != Config().generator
    assert dataclasses.replace(config.optimizer, lr=preset.optimizer.lr) == preset.optimizer


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("x.yaml", "preset: 3", "preset=3 is not valid"),
        ("x.yaml", "preset: cell256:smal", "did you mean small"),
        ("x.yaml", "preset: mnist\ntrain: {batchsize: 3}", "did you mean config.train.batch_size"),
        ("x.yaml", "preset: mnist\ntrain: 3", "config.train=3"),
        ("x.json", "{", "x.json cannot be read"),
        ("x.json", "[1]", "sections with fields"),
        ("x.json", "[" * 100_000, "x.json cannot be read"),
        ("x.yaml", "a: [", "x.yaml cannot be read"),
        ("x.yaml", "3", "sections with fields"),
        ("x.yaml", "a: !!python/object/apply:os.system [ls]", "x.yaml cannot be read"),
        ("x.yaml", "train: {batchsize: 3}", "did you mean config.train.batch_size"),
        ("x.yaml", "train: 3", "config.train=3"),
    ],
)
def test_files_of_values_that_do_not_fit_are_one_line(name, text, part, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=part) as caught:
        load_config(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_path_may_hold_colons(tmp_path):
    folder = tmp_path / "run:1"
    folder.mkdir()
    (folder / "my.py").write_text((CONFIGS / "mnist.py").read_text())
    assert load_config(f"{folder}/my.py:wgan_gp") == load_config("mnist:wgan_gp")
    assert load_config(f"{folder}/my.py") == load_config("mnist")
    with pytest.raises(InputError, match=r"run:1/none\.py: no such file"):
        load_config(f"{folder}/none.py")


def test_unknown_names_are_answered_with_the_nearest_or_all():
    with pytest.raises(InputError, match="did you mean mnist"):
        load_config("mnits")
    with pytest.raises(InputError, match="cell256, mnist, .*yaml"):
        load_config("zzz")
    with pytest.raises(InputError, match="no variant"):
        load_config("mnist:zzz")


def test_installed_presets_are_found_by_the_packages_own_list(tmp_path, monkeypatch):
    """Without a checkout around it the package asks the installer's record where its files lie."""
    root = tmp_path / "site"
    (root / "jaxgan-1.dist-info").mkdir(parents=True)
    (root / "jaxgan-1.dist-info" / "METADATA").write_text("Name: jaxgan\nVersion: 1\n")
    record = "../share/jaxgan/configs/mnist.py,,\njaxgan/__init__.py,,\n"
    (root / "jaxgan-1.dist-info" / "RECORD").write_text(record)
    share = tmp_path / "share" / "jaxgan" / "configs"
    share.mkdir(parents=True)
    (share / "mnist.py").write_text((CONFIGS / "mnist.py").read_text())
    monkeypatch.setattr(preset_files, "__file__", str(root / "jaxgan" / "config" / "preset_files.py"))
    found = metadata.PathDistribution(root / "jaxgan-1.dist-info")
    monkeypatch.setattr(metadata, "distribution", lambda name: found)
    assert {name: path.resolve() for name, path in preset_files.preset_files().items()} == {"mnist": share / "mnist.py"}
