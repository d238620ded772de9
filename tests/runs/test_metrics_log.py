"""The metrics log: strict JSON, repaired after a kill, equal to that of a run never interrupted."""

import io
import json
import math
import re
import struct
import warnings
import zlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.gan.step import METRICS
from jaxgan.runs.metrics_log import FILE_NAME, MetricsLog, read_metrics
from jaxgan.training.preflight import _of_this_game


def record(step):
    return {"step": step, "images": 320 * step, "epoch": step / 7, "critic_loss": -1.0 / step}


def events(run_dir):
    """All TensorBoard events of a folder, file by file."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(run_dir.glob("events.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[16 + length :]
    return found


def test_every_number_that_training_logs_stands_in_the_docs():
    fields = {
        "data": {"labelled": True},
        "critic": {"conditioning": "auxiliary"},
        "objective": {"loss": "hinge", "r1_weight": 1.0, "perceptual_weight": 1.0},
        "diffaugment": {"policy": ["flip"], "adaptive": True},
    }
    page = (Path(__file__).parents[2] / "docs" / "outputs.md").read_text()
    table = page.split("### metrics.jsonl")[1].split("\n### ")[0]
    names = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table, re.M))))
    assert {*METRICS, *_of_this_game(Config.from_dict(fields))} <= names


def test_scalars_of_any_kind_come_back(tmp_path):
    with MetricsLog(tmp_path) as log:
        log.write({"step": np.int64(1), "a": jnp.float32(0.5), "b": np.float32(2), "c": 3, "d": math.pi})
        log.write({"step": 2, "a": float("nan"), "b": jnp.inf, "note": "ok"})
    first, second = read_metrics(tmp_path)
    assert first == {"step": 1, "a": 0.5, "b": 2.0, "c": 3, "d": math.pi}
    assert isinstance(first["step"], int)
    assert math.isnan(second["a"]) and math.isnan(second["b"]) and second["note"] == "ok"


def test_the_file_is_strict_json_and_flushed_at_once(tmp_path):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    with MetricsLog(tmp_path) as log:
        log.write({"step": 1, "loss": float("-inf")})
        line = (tmp_path / FILE_NAME).read_text()
    found = json.loads(line, parse_constant=refuse)
    assert found == {"step": 1, "loss": None, "crc32": zlib.crc32(b'{"step": 1, "loss": null}')}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 8), cut=st.integers(0, 10_000))
def test_a_resumed_log_equals_an_uninterrupted_one(tmp_path_factory, start, cut):
    """Killed at any byte after the checkpoint's step, then resumed from that checkpoint."""
    whole, resumed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("resumed")
    with MetricsLog(whole) as log:
        for step in range(1, 10):
            log.write(record(step))
    data = (whole / FILE_NAME).read_bytes()
    checkpoint = len(b"".join(data.splitlines(keepends=True)[:start]))
    (resumed / FILE_NAME).write_bytes(data[: checkpoint + cut % (len(data) - checkpoint + 1)])
    assert len(read_metrics(resumed)) >= start
    with MetricsLog(resumed, start_step=start) as log:
        for step in range(start + 1, 10):
            log.write(record(step))
    assert (resumed / FILE_NAME).read_bytes() == data
    assert [path.name for path in resumed.iterdir() if path.name.startswith(".tmp")] == []


def test_damage_inside_is_one_clear_line(tmp_path):
    (tmp_path / FILE_NAME).write_text('{"step": 1}\n{"step": \n{"step": 3}\n')
    with pytest.raises(InputError, match="metrics.jsonl line 2 is damaged"):
        read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: lines, None),
        (lambda lines: lines[:4], None),  # That is noticed by what a checkpoint remembers.
        (lambda lines: [], None),
        (lambda lines: [*lines[:2], lines[2].replace("-0.33", "-0.34"), *lines[3:]], 3),
        (lambda lines: [*lines[:2], *lines[3:]], 3),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [*lines[:4], re.sub(', "crc32".*}', "}", lines[4])], 5),
        (lambda lines: [*lines[:2], re.sub('"crc32".*}', '"crc32": "x"}', lines[2]), *lines[3:]], 3),
    ],
)
def test_a_line_that_is_not_what_was_logged_is_said_also_after_a_resume(tmp_path, damage, line):
    with MetricsLog(tmp_path) as log:
        for step in range(1, 6):
            log.write(record(step))
    path = tmp_path / FILE_NAME
    path.write_text("".join(damage(path.read_text().splitlines(keepends=True))))
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = read_metrics(tmp_path)
        said = [str(warning.message) for warning in caught]
        assert len(said) == (line is not None) and all(f"changed: line {line} is" in text for text in said), said
        assert not any("crc32" in record for record in found)
        with MetricsLog(tmp_path, start_step=5) as log:
            log.write(record(6))


def test_a_log_from_before_there_were_checksums_is_read_and_gone_on_with(tmp_path):
    (tmp_path / FILE_NAME).write_text("".join(json.dumps(record(step)) + "\n" for step in (1, 2)))
    with MetricsLog(tmp_path, start_step=2) as log:
        log.write(record(3))
    assert read_metrics(tmp_path) == [record(1), record(2), record(3)]


def test_no_log_yet_is_no_record(tmp_path):
    assert read_metrics(tmp_path) == []


def test_tensorboard_gets_scalars_images_and_the_purge(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    with MetricsLog(tmp_path) as log:
        log.write({"step": 3, "critic_loss": 0.5, "generator_loss": float("nan")})
        log.image("samples", image, 3)
        log.histogram("values", np.repeat([1.0, 5.0], [3, 7]).reshape(2, 5), 3)
        log.settings({"seed": 3, "optimizer.lr": 1e-4, "data.labelled": False, "critic.widths": (4, 6)})
    found = events(tmp_path)
    values = [(v, e.step) for e in found for v in e.summary.value]
    scalars = {(v.tag, step): v.simple_value for v, step in values if v.WhichOneof("value") == "simple_value"}
    assert scalars == {("critic_loss", 3): 0.5}
    ((histogram, tag, step),) = [(v.histo, v.tag, step) for v, step in values if v.HasField("histo")]
    assert (tag, step, histogram.num, histogram.min, histogram.max, histogram.sum) == ("values", 3, 10, 1, 5, 38)
    text = b"".join(part for v, _ in values if v.tag.startswith("config") for part in v.tensor.string_val).decode()
    assert json.loads(text) == {"seed": 3, "optimizer.lr": 1e-4, "data.labelled": False, "critic.widths": [4, 6]}
    plugins = {v.tag: v.metadata.plugin_data for v, _ in values if v.metadata.plugin_data.plugin_name == "hparams"}
    assert set(plugins) == {f"_hparams_/{name}" for name in ("experiment", "session_start_info", "session_end_info")}
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    start = HParamsPluginData.FromString(plugins["_hparams_/session_start_info"].content).session_start_info
    assert (
        start.hparams["optimizer.lr"].number_value == 1e-4 and start.hparams["critic.widths"].string_value == "(4, 6)"
    )
    (encoded,) = [v.image.encoded_image_string for e in found for v in e.summary.value if v.HasField("image")]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encoded))), image)
    other = tmp_path / "resumed"
    with MetricsLog(other, start_step=3) as log:
        log.write({"step": 4, "critic_loss": 0.25})
    # SessionLog.START at step 4 tells TensorBoard to forget what it has from step 4 on.
    assert [e.step for e in events(other) if e.HasField("session_log")] == [4]
