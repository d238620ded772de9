"""The list of metrics: one contract for every entry, and everything else derived from it."""

import functools
import json
import runpy
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxgan.evaluation import METRICS, Metric, Value, evaluate
from jaxgan.evaluation.metric import NEEDS
from jaxgan.evaluation.metrics import c2st, class_agreement, privacy, swd, utility
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.registry import higher_is_better, markdown, reported_names, value_of

ROOT = Path(__file__).parents[2]
SHAPES = {"images": (16, 16, 1), "volumes": (8, 8, 8, 1)}
# Noise in the standard deviations of the range: each step is far above what chance does to 60 samples.
NOISES = (0.0, 0.15, 0.6)


def inception():
    """A quick extractor, with logits: random projections of coarse blocks, and the roughness, which noise moves."""
    matrix = np.random.default_rng(0).standard_normal((8 * 8 * 3, 6)).astype(np.float32) / 8

    def apply(variables, planes):
        coarse = jax.image.resize(planes, (len(planes), 8, 8, 3), "linear").reshape(len(planes), -1)
        roughness = abs(planes[:, 1:] - planes[:, :-1]).mean(axis=(1, 2, 3))
        features = coarse @ variables + 10 * roughness[:, None]
        return features, 3 * features

    return Extractor("inception", 6, matrix, apply, "0" * 64, "none", "none")


EXTRACTOR, SOME = inception(), privacy.some


def smooth(shape, count=60, seed=0):
    coarse = np.random.default_rng(seed).uniform(-1, 1, (count, *[4] * (len(shape) - 1), shape[-1]))
    return np.asarray(jax.image.resize(coarse, (count, *shape), "linear")).clip(-1, 1).astype(np.float32)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for module in (class_agreement, utility, c2st):
        monkeypatch.setattr(module, "UPDATES", 10)
    monkeypatch.setattr(utility, "SEEDS", 1)
    monkeypatch.setattr(swd, "DESCRIPTORS", 1024)
    # Each image that is looked up is turned and shifted in every way.
    monkeypatch.setattr(privacy, "MOST_SEARCHED", 16)
    monkeypatch.setattr(privacy, "some", lambda count, most=16: SOME(count, min(most, 16)))


@functools.cache
def measured(kind, noise, run=0):
    """Every number of a set with noise against the set itself."""
    real = smooth(SHAPES[kind])
    spoilt = real + noise * np.random.default_rng(1).standard_normal(real.shape)
    labels, other = np.arange(len(real)) % 2, smooth(SHAPES[kind], seed=9)
    return evaluate(
        [(real, labels)],
        [(spoilt.clip(-1, 1).astype(np.float32), labels)],
        METRICS,
        extractor=EXTRACTOR,
        resamples=5,
        heldout_batches=[other],
        critic=lambda images, classes: images.mean(axis=tuple(range(1, images.ndim))),
    )


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("name", METRICS)
def test_contract_of_every_metric(name, kind):
    metric = METRICS[name]
    assert metric.name == name
    assert metric.what and set(metric.needs) <= set(NEEDS)
    results = [measured(kind, noise) for noise in NOISES]
    if metric.volumes and kind != "volumes":
        assert "volumes" in results[0].skipped[name]
        return
    assert name not in results[0].skipped
    for value in metric.values:
        reported = value.named(EXTRACTOR)
        assert value_of(reported) is value
        assert higher_is_better(reported) == (value.better == "higher")
        found = [result.metrics[reported] for result in results]
        for number in found:
            low, high = number.interval
            assert value.bounds[0] <= low <= high <= value.bounds[1]
            # Percentiles of five draws need not reach about the number; what is centred does.
            assert low <= number.value <= high or not metric.halved
            assert "interval_by" in number.protocol
        assert value.reading.format(**found[0].details, units=found[0].protocol.get("units"))
        assert found[0].value == measured(kind, 0.0, run=1).metrics[reported].value, "the same twice"
        if value.same is None:
            continue
        off = [abs(m.value - value.same) for m in found]
        # The kernel distance is unbiased, so a finite set against itself is below 0 by its own spread.
        slack = found[0].details.get("std", 0.0) * 10 if name == "kid" else 1e-4
        assert off[0] <= slack
        assert off[0] <= off[1] <= off[2] and off[2] > slack
        # What two equal sets give is best, but for the searches for copies, whose worst it is.
        if name not in ("nearest", "privacy"):
            assert (value.same > found[2].value) == (value.better == "higher")


@pytest.mark.parametrize("extractor", [None, EXTRACTOR])
def test_reported_names_are_known_before(extractor):
    real = smooth(SHAPES["images"])
    labels = np.arange(len(real)) % 2
    for heldout, critic in ((None, None), ([real], None), ([real], lambda images, classes: images[:, 0, 0, 0])):
        sets = [(real, labels)], [(real, labels)]
        found = evaluate(*sets, METRICS, extractor=extractor, heldout_batches=heldout, critic=critic)
        names = reported_names(METRICS, extractor, heldout is not None, volumes=False, critic=critic is not None)
        assert tuple(found.metrics) == names


def test_names_with_other_extractors_lead_to_their_record():
    assert value_of("fd_vgg16").name == "fid"
    assert value_of("memorisation_vgg16").name == "memorisation_inception"
    assert value_of("coverage_vgg16").better == "higher"
    assert value_of("generator_loss") is None


def test_the_documentation_has_the_table_of_the_list():
    assert markdown() in (ROOT / "docs" / "evaluation.md").read_text(), "python -m jaxgan.evaluation.registry prints it"


def test_a_metric_entered_in_one_place_is_known_to_the_command_line(tmp_path, monkeypatch, capsys):
    def measure(report):
        means = [float(s.arrays["histogram"].sum(axis=0) @ np.arange(65536)) for s in (report.real, report.generated)]
        report.add("dimming", means[0] / means[1], {"of": "means"})

    record = Metric("dimming", "ratio of means", (Value("dimming", "lower", "by {of}"),), ("statistics",), measure)
    monkeypatch.setitem(METRICS, "dimming", record)
    np.save(tmp_path / "real.npy", smooth(SHAPES["images"]))
    output = tmp_path / "report.json"
    arguments = ["--real", tmp_path / "real.npy", "--generated", tmp_path / "real.npy", "--value_range=-1,1"]
    arguments += ["--metrics", "dimming", "--output", output]

    def script(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "scripts" / "evaluate.py"), run_name="__main__")
        return left.value.code

    assert script(*arguments) == 0
    assert json.loads(output.read_text())["metrics"]["dimming"]["value"] == 1.0
    assert "by means" in capsys.readouterr().out
    assert script("--help") == 0
    assert "dimming" in capsys.readouterr().out
    assert "| `dimming` | `dimming` | ratio of means | lower |" in markdown()
