"""The training loop, and nothing else: it calls the compiled step and has the recorder write down what came of it.

The order of things is a contract. One call of the compiled program runs the iterations up to the next boundary; then,
in this order: (1) EVALUATE if due, (2) LOG the iterations done, (3) JUDGE what was evaluated and the epoch that ended:
best model, early stopping, (4) SAVE a checkpoint if one is due, (5) SAMPLE if due. So a checkpoint holds everything
that has been decided up to its step, and a resumed run repeats an uninterrupted one bit for bit.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.config.presets import as_config
from jaxgan.data.dataset import Dataset, describe_data
from jaxgan.data.open import open_data
from jaxgan.data.source import open_source
from jaxgan.gan.build import build_gan
from jaxgan.gan.step import train_many
from jaxgan.runs import folder as run_folder
from jaxgan.runs.checkpoint import Checkpoints, into_state, set_aside
from jaxgan.runs.metrics_log import MetricsLog
from jaxgan.training.best import BestTracker
from jaxgan.training.call_length import CallLength
from jaxgan.training.preflight import check_fit
from jaxgan.training.recorder import RunRecorder
from jaxgan.training.schedule import Schedule
from jaxgan.training.stop_signal import Interrupted, StopSignal


def train(
    config: Config | Mapping[str, Any] | str | os.PathLike,
    workdir: str | os.PathLike,
    data: Dataset | str | os.PathLike,
    resume: str = "auto",
) -> Path:
    """Trains until the configured length, early stopping or a stop signal, and leaves a run folder.

    Args:
      config: what to train: a `Config`, nested fields (also as a `ConfigDict`), or the name or file of a preset.
      workdir: the run's folder, made if needed.
      data: the reals, or where they lie (see `open_data`); their shape must be `config.data.shape`.
      resume: "auto", "never", or the path of a run or checkpoint; see `run_folder.find_resume_point`.

    Returns:
      The run's folder, with `config.json`, `metrics.jsonl`, `events.*`, `samples/` and `checkpoints/`.

    Raises:
      InputError: data, batch size, folder or checkpoint do not fit.
      Interrupted: SIGTERM or SIGINT came; a checkpoint was written.
      FloatingPointError: a loss is not finite.
    """
    config = as_config(config)
    run_dir = Path(workdir)
    dataset = data
    if not isinstance(data, Dataset):
        dataset = parallel.main_process_first(partial(open_data, config, data, run_dir))
    evaluator = check_fit(config, dataset)
    start = run_folder.find_resume_point(run_dir, resume)
    data_record = describe_data(dataset)
    run_folder.check_same(start, config, data_record)

    objective, settings = config.objective.resolved(), config.train
    schedule = Schedule(objective.n_critic * settings.batch_size, dataset.size)
    total = settings.iterations or max(1, schedule.step_of(settings.epochs))
    best = BestTracker(**start.record["progress"]) if start.record else BestTracker()
    before = start.record.get("config", {}).get("train", {})
    patience_changed = before.get("early_stopping_patience") != settings.early_stopping_patience
    done = best.complete and total <= start.record["total_iterations"]
    if start.step >= total or (done and not (best.stopped_early and patience_changed)):
        way_out = "raise config.train.iterations or config.train.epochs to go on"
        if best.stopped_early:
            way_out += ", or change config.train.early_stopping_patience"
        parallel.say(f"{run_dir} is complete at step {start.step}: nothing to do; {way_out}")
        return run_dir
    if best.stopped_early:
        best.patience_from = start.step
    best.complete = best.stopped_early = False
    watched = (settings.best_metric, settings.best_direction)
    if start.record and (
        start.origin.resolve() != run_dir.resolve() or watched != (before["best_metric"], before["best_direction"])
    ):
        # The best so far was judged by something else, or lies in another folder.
        best = BestTracker(patience_from=start.step)

    if parallel.is_main_process():
        run_folder.write_config(run_dir, config)
        run_folder.write_data_place(run_dir, data)
        for place in set_aside(run_dir, start.step):
            warnings.warn(f"moved a later checkpoint out of the way, to {place}", stacklevel=2)
    gan, state = build_gan(config, dataset.num_classes, total, parallel.AXIS)
    if start.arrays is not None:
        state = into_state(start.arrays, state)
        parallel.say(f"resuming {run_dir} at step {start.step} (epoch {schedule.epoch(start.step):.2f})")
    source = open_source(
        dataset,
        config.data.source,
        config.data.resident_budget_gib * 2**30,
        config.seed,
        objective.n_critic,
        settings.batch_size,
        config.data.balanced,
    )
    is_regular = partial(
        schedule.is_due,
        every_iterations=settings.checkpoint_every_iterations,
        every_epochs=settings.checkpoint_every_epochs,
    )
    record = {"config": config.to_dict(), "data": data_record, "total_iterations": total}
    with (
        contextlib.closing(source),
        Checkpoints(run_dir, settings.keep_checkpoints, is_regular, writable=True) as checkpoints,
        MetricsLog(run_dir, start.step) if parallel.is_main_process() else contextlib.nullcontext() as log,
        StopSignal() as stop,
    ):
        recorder = RunRecorder(config, schedule, gan, run_dir, checkpoints, log, best, record, dataset, evaluator)
        _loop(config, schedule, gan, state, source, start.step, total, recorder, stop)
    return run_dir


def _loop(config, schedule, gan, state, source, step, total, recorder, stop) -> None:
    """Step, evaluate, log, judge, save, sample: the contract of this module."""
    settings = config.train
    call_length = CallLength(settings.steps_per_call)
    program = parallel.map_train(partial(train_many, gan, source.load_batch), data_axes=source.data_axes)
    state = parallel.replicate(state)

    def draw(step: int) -> tuple[int, Any]:
        """How many iterations the next call runs, and their reals on the way to the devices."""
        count = int(min(call_length.iterations, total - step, recorder.next_boundary(step) - step))
        return count, parallel.split_batch(source.batch_refs(step, count, call_length.longest))

    with _bar(step, total) as bar:
        count, batch_refs = draw(step)
        while step < total:
            began = time.perf_counter()
            state, metrics = program(state, source.data, batch_refs, count)
            done, step = count, step + count
            if step < total:
                count, batch_refs = draw(step)  # While the devices work.
            metrics = parallel.to_host(metrics)
            seconds = time.perf_counter() - began
            call_length.ran(done, seconds)
            rate = done * schedule.images_per_iteration / seconds
            evaluated = recorder.evaluate(step, state)
            recorder.log(step - done, done, metrics, rate, evaluated)
            bar.update(done)
            bar.set_postfix(recorder.summary(metrics, done - 1, rate), refresh=False)
            recorder.best.complete = step >= total
            improved = recorder.judge(step, evaluated)
            last = recorder.best.complete or stop.requested()
            if last or improved or recorder.is_regular(step):
                recorder.save(step, parallel.to_host(state), metrics, done - 1)
            if last or schedule.is_due(step, settings.sample_every_iterations, settings.sample_every_epochs):
                recorder.sample(step, state, last)
            if last:
                break
    if not recorder.best.complete:
        raise Interrupted(f"stopped by a signal at step {step}; the same command goes on from there")


@contextlib.contextmanager
def _bar(step: int, total: int) -> Iterator[tqdm]:
    # disable=None: quiet when stderr is not a terminal.
    hidden = None if parallel.is_main_process() else True
    with tqdm(total=total, initial=step, unit="it", dynamic_ncols=True, disable=hidden) as bar:
        yield bar
