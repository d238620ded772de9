"""One row and seed of the quality table, in a process of its own: train within a budget, sample, judge, write it down.

The budget is processor seconds of this process, everything included (imports, compilation, input), so that a row costs
the same on a busy machine as on a quiet one; on N quiet cores it is about 1/N of that in wall-clock. On an accelerator,
whose work no processor second counts, it is wall-clock seconds, all but the imports. An interrupted row goes on from
its checkpoint with what is left of its budget.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from jaxgan.config import Config
from jaxgan.data.dataset import Dataset
from jaxgan.data.open import open_data
from jaxgan.evaluation import Evaluator
from jaxgan.evaluation.registry import METRICS
from jaxgan.evaluation.sources import seed_of_chunk
from jaxgan.files import atomic_files, write_json
from jaxgan.inference.trained_model import generate_samples, load_trained_model
from jaxgan.pictures import write_grid
from jaxgan.processes import ending
from jaxgan.training.loop import train
from jaxgan.training.stop_signal import Interrupted

RESULT, SAMPLES, SPENT = "result.json", "samples.npy", "spent.json"
_ACCOUNT_EVERY = 5.0  # seconds
_AGAIN_AFTER = 2.0  # seconds
_BEGAN = time.monotonic()
# What this process has used so far: of all cores, or of the time.
CLOCKS: dict[str, Callable[[], float]] = {"processor": time.process_time, "wall": lambda: time.monotonic() - _BEGAN}


@contextmanager
def ended_after(seconds: float, account: Path, clock: Callable[[], float]) -> Iterator[None]:
    """Ends the run inside as a scheduler would, by SIGTERM, once `seconds` are spent; raises `Interrupted` before that
    run takes heed of signals itself.

    A thread looks at the clock (the kernel's timer of processor time was a seventh off on a busy machine), and writes
    down every some seconds what is spent: an attempt that is killed has used its share of the budget too. Where the
    exception is lost, as in a callback of the garbage collector or a library that catches all, the signal comes again.

    Args:
      seconds: the budget, with what earlier attempts used by `account`.
      account: JSON file with what is spent, `{"seconds": ...}`.
      clock: one of `CLOCKS`.
    """
    before = spent(account)
    over = threading.Event()

    def write() -> None:
        write_json(account, {"seconds": before + clock()})

    def watch() -> None:
        written, sent, known = 0.0, False, 0
        while not over.wait(0.2):
            if clock() - written >= _ACCOUNT_EVERY:
                written = clock()
                write()
            # A run that takes heed of signals raises nothing, and is asked once: twice would cut its saving off.
            lost = len(raised) > known and time.monotonic() - raised[-1] > _AGAIN_AFTER
            if lost or (not sent and before + clock() >= seconds):
                sent, known = True, len(raised)
                os.kill(os.getpid(), signal.SIGTERM)

    raised: list[float] = []  # when

    def stop(_: int, frame: FrameType | None) -> None:
        raised.append(time.monotonic())
        if not ending.is_importing(frame):
            raise Interrupted("stopped while the run was set up")

    previous = signal.signal(signal.SIGTERM, stop)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        over.set()
        thread.join()
        signal.signal(signal.SIGTERM, previous)
        write()


def spent(account: Path) -> float:
    """Seconds that a row has used, by its file; 0 where there is none yet."""
    return float(json.loads(account.read_text())["seconds"]) if account.exists() else 0.0


def open_splits(
    config: Config, data_dir: str, cache_dir: Path, splits: tuple[str, str], metrics: Sequence[str]
) -> tuple[Dataset, Dataset]:
    """What a row is trained on and what it is judged by.

    Args:
      config: of the row.
      data_dir: the data.
      cache_dir: where a raw source is prepared if that cannot be done beside it.
      splits: their names.
      metrics: names as for `evaluate`; those of classes need labels of the reals, also where the row learns none.

    Raises:
      InputError: as `open_dataset`.
    """
    labelled = config.data.labelled or any(METRICS[name].labelled for name in metrics)
    judged = dataclasses.replace(config, data=dataclasses.replace(config.data, labelled=labelled))
    trained_on, held_out = (open_data(judged, data_dir, cache_dir, split=split) for split in splits)
    return trained_on, held_out


def train_within(
    config: Config, data_dir: str, folder: Path, budget: float, clock: Callable[[], float]
) -> dict[str, Any]:
    """Trains until the budget is spent; returns facts of the run.

    Args:
      config: what to train; it may end before the budget does.
      data_dir: the data.
      folder: of the row; the run lies in `run` below it.
      budget: seconds, those of earlier attempts included.
      clock: one of `CLOCKS`, that tells them.
    """
    account = folder / SPENT
    if spent(account) < budget:
        stopped = False
        with ended_after(budget, account, clock):
            try:
                train(config, folder / "run", data_dir)
            except Interrupted:
                stopped = True
        if stopped and spent(account) < budget:
            raise Interrupted("stopped before the budget was spent; the same command goes on")
    model = load_trained_model(folder / "run", "latest")
    return {"step": model.step, "seconds": spent(account)}


def sample(folder: Path, count: int, seed: int, trained_on: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples of the row's last model, float32 `[count, *S, C]` in [-1, 1], and their labels, as the data have them."""
    model = load_trained_model(folder / "run", "latest")
    labels = trained_on.drawn_labels(count, seed) if model.class_names else None
    return generate_samples(model, count, None if labels is None else labels.tolist(), seed), labels


def in_order(samples: np.ndarray) -> Callable[..., np.ndarray]:
    """Samples that are there already as the generator that an `Evaluator` with seed 0 asks for, chunk by chunk.

    Args:
      samples: `[N, *S, C]`; the last chunk is filled up with the first ones, and the evaluator drops what is too much.
    """

    numbers = {seed_of_chunk(0, number): number for number in range(len(samples))}

    def chunk(count: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
        number = numbers[seed]
        return np.take(samples, np.arange(number * count, (number + 1) * count), axis=0, mode="wrap")

    return chunk


def judge(
    samples: np.ndarray, labels: np.ndarray | None, held_out: Dataset, trained_on: Dataset, metrics: tuple[str, ...]
) -> dict[str, float]:
    """Metrics of samples against held-out data; those that look for copies, or train a classifier on the reals, which
    needs many, against the data that was trained on.

    Args:
      samples: float32 `[N, *S, C]` in [-1, 1].
      labels: int `[N]` of conditional samples, or None.
      held_out: data that nothing was trained on.
      trained_on: the training data.
      metrics: names as for `evaluate`.
    """
    values: dict[str, float] = {}
    for dataset, chosen in (
        (held_out, tuple(name for name in metrics if not METRICS[name].labelled and name != "nearest")),
        (trained_on, tuple(name for name in metrics if METRICS[name].labelled or name == "nearest")),
    ):
        if chosen:
            values |= Evaluator(dataset, chosen, len(samples), seed=0)(in_order(samples), labels)
    return values


def run_row(
    make: Callable[[], tuple[np.ndarray, np.ndarray | None, dict[str, Any]]],
    folder: Path,
    held_out: Dataset,
    trained_on: Dataset,
    metrics: tuple[str, ...],
) -> None:
    """Makes the samples unless they are there, judges them, and writes the row's result and grid.

    Args:
      make: trains and returns (samples, labels, facts).
      folder: of the row.
      held_out: data to judge by.
      trained_on: the training data.
      metrics: names as for `evaluate`.
    """
    samples, labels, facts = make()
    write_grid(folder / "grid.png", samples[:36], columns=6, overwrite=True)
    with atomic_files([folder / SAMPLES], overwrite=True) as (temporary,):
        np.save(temporary, samples, allow_pickle=False)
    values = judge(samples, labels, held_out, trained_on, metrics)
    write_json(folder / RESULT, {"values": values, "facts": facts})


def main(arguments: list[str]) -> None:
    """Runs one row that a JSON file describes (`quality` writes it)."""
    row = json.loads(Path(arguments[0]).read_text())
    folder, config = Path(arguments[0]).parent, Config.from_dict(row["config"])
    clock = CLOCKS[row.get("clock", "processor")]
    trained_on, held_out = open_splits(config, row["data_dir"], folder, (row["train"], row["test"]), row["metrics"])

    def make() -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
        if row["peer"]:
            from jaxgan.benchmark.quality_peers import train_peer

            arguments = row["peer"], trained_on, row["budget"], row["num_samples"], config.seed
            samples, facts = train_peer(*arguments, clock=clock)
            return samples, None, facts
        facts = train_within(config, row["data_dir"], folder, row["budget"], clock)
        return *sample(folder, row["num_samples"], config.seed, trained_on), facts

    run_row(make, folder, held_out, trained_on, tuple(row["metrics"]))


if __name__ == "__main__":
    main(sys.argv[1:])
