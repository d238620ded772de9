"""The card: every number with protocol and interval, a light only where a threshold decides, no light without."""

import json

import pytest

from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.reporting.card import judge, sections, write_card
from jaxgan.runs.metrics_log import MetricsLog


def measurement(value, interval=None, better="lower", aspect="privacy", **details):
    protocol = {
        "n_real": 50, "n_generated": 100, "split": "holdout", "shape": [8, 8, 1], "jaxgan": "1", "jax": "0",
        "device": "cpu", "dtype": "float32", "searched": 40,
    }  # fmt: skip
    if interval:
        protocol["interval_by"] = "95%, 20 bootstrap draws"
    return {
        "value": value, "interval": interval, "better": better, "aspect": aspect, "details": details,
        "protocol": protocol,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "interval", "better", "word"),
    [
        (0.01, None, "lower", "green"),
        (0.2, None, "lower", "red"),
        (0.01, (0.0, 0.04), "lower", "green"),
        (0.04, (0.02, 0.08), "lower", "amber"),
        (0.2, (0.1, 0.3), "lower", "red"),
        (0.2, (0.1, 0.3), "higher", "green"),
        (0.04, (0.02, 0.08), "higher", "amber"),
        (0.01, (0.0, 0.02), "higher", "red"),
    ],
)
def test_lights_follow_the_threshold_and_the_interval(value, interval, better, word):
    found = judge(measurement(value, interval, better, threshold=0.05, threshold_is="as agreed"))
    side = "least" if better == "higher" else "most"
    assert found == f"{word} (green: at {side} 0.05, as agreed)"
    assert judge(measurement(value, interval, better)) == "", "no threshold, no light"


RECORD = {
    "checkpoint": "runs/x",
    "created": "2026-01-01T00:00:00",
    "metrics": {
        "fd_vgg16": measurement(1.5, (1.0, 2.0), aspect="fidelity"),
        "privacy_copies": measurement(0.5, None, threshold=0.06, threshold_is="above | the baseline", baseline=0.01),
        "swd": measurement(None, None, aspect="fidelity"),
    },
    "per_class": {},
    "warnings": ["few samples"],
    "skipped": {"utility": "no classes"},
    "card": {
        "intended_use": "Teaching",
        "data": {
            "name": "cells", "trained_on": 1000, "held_out": 100, "shape": [8, 8, 1], "spacing_mm": None,
            "classes": ["a", "b"], "class_counts": [900, 100], "fingerprint": "f00",
            "scaling": {"low": 0.0, "high": 255.0, "dtype": "uint8", "units": ""},
        },
        "model": {
            "step": 7, "conditional": True, "generator_parameters": 1234, "critic_parameters": 567,
            "config": Config.from_dict({"objective": {"loss": "wgan"}, "train": {"batch_size": 32}}).to_dict(),
        },
    },
}  # fmt: skip


def test_the_card_says_what_was_measured_and_what_was_not(tmp_path):
    # The run went on after the step that was evaluated, with other settings.
    later = Config.from_dict({"objective": {"loss": "hinge"}}).to_dict()
    (tmp_path / "config.json").write_text(json.dumps(later))
    with MetricsLog(tmp_path) as log:
        for step in (3, 6, 90):
            log.write({"step": step, "images": 100 * step, "epoch": float(step), "images_per_second": 50.0 * step})
    path = tmp_path / "evaluation" / "x.json"
    path.parent.mkdir()
    path.write_text(json.dumps(RECORD))
    assert write_card(path, tmp_path) == tmp_path / "model_card.md"
    text = (tmp_path / "model_card.md").read_text()
    for words in (
        "cells", "a (900), b (100)", "f00", "step 7", "1,234", "loss wgan, penalty gp, n_critic 5", "batch_size 32,",
        "Training: 600 images at 300 images/s (median), about 2 s", "Teaching", "few samples",
        "utility, since no classes", "100 held out", "100 samples against 50 real images (holdout)",
    ):  # fmt: skip
        assert words in text, words
    assert "cut off" not in text
    path.write_text(json.dumps(RECORD | {"truncation": 0.5}))
    write_card(path, tmp_path)
    assert "latents were cut off at 0.5 standard deviations" in (tmp_path / "model_card.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in text.splitlines() if line.startswith("| ")}
    assert rows["fd_vgg16"][1:5] == ["1.5", "1 to 2", "lower", ""] and "searched 40" in rows["fd_vgg16"][5]
    assert "20 bootstrap draws" in rows["fd_vgg16"][5]
    assert rows["swd"][1] == "not defined"
    assert rows["privacy_copies"][4].startswith("red") and "baseline 0.01" in rows["privacy_copies"][5]
    assert {len(row) for row in rows.values()} == {6}, "a bar in a cell tears no row apart"
    utility = next(part for part in sections(RECORD, tmp_path) if part.title.startswith("Utility"))
    assert utility.lines == ("Not measured.",)


def test_stages_of_growth_are_told_one_by_one(tmp_path):
    growing = {
        "data": {"size": 32},
        "generator": {"network": "growing", "widths": [8, 8, 8, 8]},
        "critic": {"network": "growing", "widths": [8, 8, 8, 8]},
        "objective": {"loss": "non_saturating"},
        "growing": {"batch_sizes": [16, 16, 8], "n_critics": [1, 2, 2]},
    }
    model = RECORD["card"]["model"] | {"config": Config.from_dict(growing).to_dict()}
    record = RECORD | {"card": RECORD["card"] | {"model": model}}
    lines = next(part for part in sections(record, tmp_path) if part.title == "Model").lines
    assert any("penalty none, n_critic 1 then 2" in line for line in lines)
    assert any(line.startswith("Train: batch_size 16 then 8, ") for line in lines)


def test_a_row_says_where_it_compares_with_other_images(tmp_path):
    record = {**RECORD, "metrics": {name: dict(m) for name, m in RECORD["metrics"].items()}}
    record["metrics"]["privacy_copies"]["protocol"] = measurement(0)["protocol"] | {"n_real": 900, "split": "train"}
    parts = {part.title.split(":")[0]: part for part in sections(record, tmp_path)}
    protocols = {row[0]: row[-1] for title in ("Fidelity", "Privacy") for row in parts[title].table[1:]}
    assert "n_real 900; split train" in protocols["privacy_copies"] and "n_generated" not in protocols["privacy_copies"]
    assert "n_real" not in protocols["swd"] and "split" not in protocols["swd"]
    assert parts["Limits"].lines[0].startswith("Unless its row says otherwise, a number is of 100 samples against 50")


def test_a_record_without_facts_for_a_card_is_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({name: RECORD[name] for name in RECORD if name != "card"}))
    with pytest.raises(InputError, match="--card"):
        write_card(tmp_path / "x.json", tmp_path)
