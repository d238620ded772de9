"""The records of evaluations: the newest is the one that was made last, and other JSON is none."""

import datetime
import json

import pytest

from jaxgan.runs.evaluations import read_evaluations

METRICS = {"swd": {"value": 1.5, "protocol": {"n_real": 3}}}


def write(path, **record):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record))


def test_the_newest_is_the_one_made_last_wherever_the_clock_stood(tmp_path):
    write(tmp_path / "evaluation" / "east.json", metrics=METRICS, created="2025-01-01T11:30:00+02:00")
    write(tmp_path / "evaluation" / "west.json", metrics=METRICS, created="2025-01-01T10:00:00+00:00")
    write(tmp_path / "undated.json", metrics=METRICS)
    local = datetime.datetime.fromisoformat("2025-01-01T09:45:00+00:00").astimezone().replace(tzinfo=None)
    write(tmp_path / "naive.json", metrics=METRICS, created=local.isoformat())
    assert [r["file"].stem for r in read_evaluations(tmp_path)] == ["west", "naive", "east", "undated"]


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"metrics": {"fid": 12.3}}', '{"metrics": {}}', '{"metrics": {"fid": {"mean": 1}}}', "\x80"]
)
def test_other_json_is_passed_over(tmp_path, text):
    (tmp_path / "evaluation").mkdir()
    for folder in (tmp_path, tmp_path / "evaluation"):
        (folder / "other.json").write_text(text, encoding="latin-1")
    assert read_evaluations(tmp_path) == []
