"""Trackers get what the log gets, end no training, and work without a network."""

import json
import warnings

import numpy as np
import pytest

from jaxgan.config import Config
from jaxgan.errors import InputError
from jaxgan.runs import trackers
from jaxgan.runs.metrics_log import MetricsLog, read_metrics
from jaxgan.runs.trackers import check_trackers, open_trackers

IMAGE = np.random.default_rng(0).integers(0, 256, (6, 5, 1), np.uint8)
FIELDS = Config().fields()


class Told:
    """Keeps what it is told."""

    def __init__(self, run_dir, known):
        self.id, self.calls = known or "first", []

    def __getattr__(self, method):
        return lambda *arguments: self.calls.append((method, arguments))


def log_a_run(run_dir, names, start=0):
    with MetricsLog(run_dir, start, trackers=open_trackers(names, run_dir)) as log:
        log.settings(FIELDS)
        log.write({"step": start + 1, "critic_loss": 0.5, "generator_loss": float("nan"), "note": "ok"})
        log.image("samples", IMAGE, start + 1)
        log.histogram("values/samples", np.arange(20.0).reshape(4, 5), start + 1)


def test_a_tracker_gets_everything_and_a_resumed_run_is_the_same_there(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setitem(trackers.TRACKERS, "told", lambda *given: opened.append(Told(*given)) or opened[-1])
    log_a_run(tmp_path, ["told"])
    assert [name for name, _ in opened[0].calls] == ["settings", "scalars", "image", "histogram", "close"]
    assert opened[0].calls[0][1] == (FIELDS,)
    # What is not finite is no value, and neither is a word.
    assert opened[0].calls[1][1] == ({"critic_loss": 0.5}, 1)
    assert opened[0].calls[-1][1] == (False,)
    monkeypatch.setitem(trackers.TRACKERS, "told", lambda run_dir, known: Told(run_dir, f"again {known}"))
    log_a_run(tmp_path, ["told"], 1)
    assert json.loads((tmp_path / trackers.FILE_NAME).read_text()) == {"told": "again first"}


def test_a_tracker_that_fails_is_warned_of_once_and_the_log_goes_on(tmp_path, monkeypatch):
    class Broken(Told):
        def scalars(self, values, step):
            raise ConnectionError("no route\nto host")

    opened = []
    monkeypatch.setitem(trackers.TRACKERS, "told", lambda *given: opened.append(Broken(*given)) or opened[-1])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        log_a_run(tmp_path, ["told"])
    assert [str(warning.message) for warning in caught] == [
        "--track told: no route to host: it gets no more of this run"
    ]
    assert [name for name, _ in opened[0].calls] == ["settings"]
    assert [record["step"] for record in read_metrics(tmp_path)] == [1]


def test_unknown_and_missing_trackers_are_one_line(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="track=wanbd is not known: did you mean wandb"):
        check_trackers(["wanbd"])
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"track=mlflow is not installed: pip install 'jaxgan\[mlflow\]'"):
        check_trackers(["mlflow"])

    def unreachable(*_):
        raise ConnectionError("server away")

    monkeypatch.setitem(trackers.TRACKERS, "told", unreachable)
    with pytest.raises(InputError, match="track=told: server away"):
        open_trackers(["told"], tmp_path)


@pytest.mark.extras
def test_mlflow_in_a_local_database(tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for start in (0, 1):
        log_a_run(tmp_path / "run", ["mlflow"], start)
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("jaxgan").experiment_id])
    assert run.info.run_name == "run" and run.info.status == "FINISHED"
    assert {name: str(value) for name, value in FIELDS.items()} == run.data.params
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "critic_loss")] == [
        (1, 0.5),
        (2, 0.5),
    ]
    assert {file.path for file in client.list_artifacts(run.info.run_id)} >= {"config.json", "images"}


@pytest.mark.extras
def test_wandb_without_a_network(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for start in (0, 1):
        (tmp_path / "run").mkdir(exist_ok=True)
        log_a_run(tmp_path / "run", ["wandb"], start)
    known = json.loads((tmp_path / "run" / trackers.FILE_NAME).read_text())["wandb"]
    written = sorted((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(written) == 2 and all(path.name.endswith(known) for path in written)
    assert list(written[0].glob(f"run-{known}.wandb")) and wandb.run is None
    assert list(written[0].glob("files/media/images/samples_*.png"))
