"""What an earlier jaxgan wrote, before modules moved and fields were renamed, is read as what it meant.

`written_before/run` is a run of two iterations with `critic.norm=spectral`, loss `vanilla`, `drift` and `clip_norm`;
`metrics_after.jsonl` is what that same jaxgan logged when it went on to four iterations, `samples_2.npy` are four
samples that it generated after two (not after four: the statistics of the averaged generator are measured in another
way since). `written_before/prepared` holds six images of two classes that it prepared.

On the machine that wrote them this code gives the same bits. Another CPU, or another number of devices, sums in another
order, and Adam makes much of that where a gradient is near 0; hence the tolerances.
"""

import dataclasses
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

import jaxgan
from jaxgan.config import Config
from jaxgan.config.presets import load_config
from jaxgan.data.open import open_dataset
from jaxgan.runs.metrics_log import read_metrics

BEFORE = Path(__file__).parent / "written_before"


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(BEFORE / "run", tmp_path / "run"))


def recorded():
    return Config.from_record(json.loads((BEFORE / "run" / "config.json").read_text()))


def test_a_recorded_config_means_what_it_meant():
    config = recorded()
    assert (config.critic.norm, config.critic.spectral) == ("none", True)
    assert (config.generator.norm, config.generator.spectral) == ("batch", False)
    assert (config.objective.loss, config.objective.drift_weight) == ("non_saturating", 1e-3)
    assert (config.objective.weight_clip, config.optimizer.grad_clip_norm) == (0.0, 1.0)
    assert load_config(str(BEFORE / "run" / "config.json")) == config


def test_a_run_goes_on_as_it_would_have(run):
    config = recorded()
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, iterations=4))
    with warnings.catch_warnings():
        # Nothing but the length of the run has changed, so there is nothing to warn of but that it is short.
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", "the whole run shows the critic")
        jaxgan.train(config, run, "demo")
    lines = [json.loads(line) for line in (BEFORE / "metrics_after.jsonl").read_text().splitlines()]
    got = read_metrics(run)
    assert [record["step"] for record in got] == [1, 2, 3, 4]
    for record, expected in zip(got, lines, strict=True):
        names = expected.keys() - {"images_per_second"}
        np.testing.assert_allclose([record[n] for n in names], [expected[n] for n in names], rtol=1e-3, err_msg=names)


def test_a_checkpoint_generates_the_same_samples(run):
    model = jaxgan.load_trained_model(run)
    assert model.step == 2
    np.testing.assert_allclose(jaxgan.generate_samples(model, 4), np.load(BEFORE / "samples_2.npy"), atol=5e-3)


def test_a_prepared_set_opens():
    dataset = open_dataset(BEFORE / "prepared", name="tissue", size=8)
    assert (dataset.size, dataset.class_names) == (6, ("benign", "malignant"))
    images = dataset.read(np.arange(6))
    assert (images.shape, images.dtype, images.astype(np.int64).sum()) == ((6, 8, 8, 3), np.uint8, 149979)
    np.testing.assert_array_equal(dataset.labels, [0, 0, 0, 1, 1, 1])
    assert dataset.scaling.policy == "range"
