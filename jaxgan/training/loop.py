"""The training loop, and nothing else: it calls the compiled step and has the recorder write down what came of it.

The order of things is a contract. One call of the compiled program runs the iterations up to the next boundary; then
its HEALTH is judged: if a loss or a gradient is not finite, the run ends there, or goes back to its last good
checkpoint, and nothing below happens. Else, in this order: (1) EVALUATE if due, (2) LOG the iterations done, (3) JUDGE
what was evaluated and the epoch that ended: best model, early stopping, (4) SAVE a checkpoint if one is due, unless the
state is not finite, which is a verdict as above, (5) SAMPLE if due, and warn if the samples are all alike. So a
checkpoint holds everything that has been decided up to its step, and a resumed run repeats an uninterrupted one bit for
bit. (Checkpoints by minutes come when they come: a run that goes back to one of these is exact from there on.)
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jaxgan import clouds, parallel
from jaxgan.config import Config
from jaxgan.config.presets import as_config
from jaxgan.data.dataset import Dataset, describe_data
from jaxgan.data.open import open_data
from jaxgan.data.source import ResidentSource, StreamingSource, open_source
from jaxgan.errors import InputError
from jaxgan.runs import folder as run_folder
from jaxgan.runs.checkpoint import Checkpoints, remove_unfinished
from jaxgan.runs.lock import FILE_NAME, lock_run
from jaxgan.runs.metrics_log import MetricsLog
from jaxgan.runs.trackers import check_trackers, open_trackers
from jaxgan.training.call_length import CallLength
from jaxgan.training.calls import Call, Calls
from jaxgan.training.health import STOP, WARN, Verdict
from jaxgan.training.machine import warn_of_the_machine
from jaxgan.training.origin import write_origin
from jaxgan.training.preflight import check_fit
from jaxgan.training.recorder import RunRecorder
from jaxgan.training.resume import clear_later, regular_checkpoints
from jaxgan.training.rollback import roll_back
from jaxgan.training.run import Run, plan_run
from jaxgan.training.stop_signal import Interrupted, StopSignal
from jaxgan.training.ticks import Ticks


def train(
    config: Config | Mapping[str, Any] | str | os.PathLike,
    workdir: str | os.PathLike,
    data: Dataset | str | os.PathLike,
    resume: str = "auto",
    preset: str = "",
    track: Sequence[str] = (),
) -> Path:
    """Trains until the configured length, early stopping or a stop signal, and leaves a run folder.

    Args:
      config: what to train: a `Config`, nested fields (also as a `ConfigDict`), or the name or file of a preset.
      workdir: the run's folder, made if needed.
      data: the reals, or where they lie (see `open_data`); their shape must be `config.data.shape`.
      resume: "auto", "never", or the path of a run or checkpoint; see `resume.find_resume_point`.
      preset: what `config` was before settings were changed, by name or file: the report marks the differences.
      track: names of trackers that are told of the run, of `runs.trackers.TRACKERS`.

    Returns:
      The run's folder, with `config.json`, `metrics.jsonl`, `events.*`, `samples/` and `checkpoints/`.

    Raises:
      InputError: data, batch size, folder or checkpoint do not fit, or another process trains in the folder.
      Interrupted: SIGTERM or SIGINT came; a checkpoint was written.
      Stopped: a checkpoint could not be written, or the folder is gone.
      JobFailed: another process of the job failed, or was started otherwise.
      FloatingPointError: a loss or a gradient is not finite, and the run was not sent back (`config.train.on_nan`).

    Example:
      >>> networks = {"generator": {"widths": (4, 4)}, "critic": {"widths": (4, 4)}}
      >>> length = {"iterations": 1, "batch_size": 8, "num_samples": 4}
      >>> run = train({**networks, "train": length}, "runs/digits", "demo")
      step 1 (epoch 0.01): runs/digits/samples/step_00000001.png
      >>> sorted(path.name for path in run.iterdir() if path.suffix in (".json", ".html"))
      ['config.json', 'data.json', 'environment.json', 'report.html']
    """
    if isinstance(config, str | os.PathLike):
        preset = preset or os.fspath(config)
    config = as_config(config)
    check_trackers(track)
    run_dir = _local(workdir)
    with parallel.sharing_failure():
        place = {"--workdir": str(run_dir.absolute()), "--resume": resume}
        parallel.agree("settings", {**place, **{f"config.{k}": v for k, v in config.fields().items()}})
        dataset = data if isinstance(data, Dataset) else _open(config, data, run_dir)
        _train_on(config, run_dir, data, dataset, resume, preset, track)
    return run_dir


def _local(workdir: str | os.PathLike) -> Path:
    if clouds.is_remote(workdir):
        raise InputError(
            f"workdir={workdir}: give a local folder, such as that of `runs.mirror.mirrored({str(workdir)!r})`"
        )
    return Path(workdir)


def _open(config: Config, data: str | os.PathLike, run_dir: Path) -> Dataset:
    return parallel.main_process_first(partial(open_data, config, data, run_dir))


def _train_on(
    config: Config,
    run_dir: Path,
    data: Dataset | str | os.PathLike,
    dataset: Dataset,
    resume: str,
    preset: str,
    track: Sequence[str],
) -> None:
    """Trains in the folder, which nobody else may use meanwhile."""
    evaluator = check_fit(config, dataset, preset)
    warn_of_the_machine(config.train.precision)
    parallel.agree("data", describe_data(dataset))
    with _locked(run_dir) as check_held:
        run = plan_run(config, run_dir, dataset, evaluator, resume)
        if run is not None:
            start = run.start
            parallel.agree("checkpoints", {"the step to go on from": start.step})
            if parallel.is_main_process():
                remove_unfinished(run_dir)
                if not run.complete:
                    run_folder.write_config(run_dir, config)
                    run_folder.write_data_place(run_dir, data)
                    run_folder.write_environment(run_dir, preset)
                    write_origin(run_dir, run.record.get("origin"))
            clear_later(run_dir, start.done_in(run_dir))
            run.check_held = check_held
            _train(run, track)


def _train(run: Run, track: Sequence[str]) -> None:
    """Opens what the loop works with, and closes it again however the loop ends."""
    config, start = run.config, run.start
    run.place(start)
    if run.complete:
        parallel.say(
            f"{run.run_dir} is complete at step {start.step}, but for its last samples and report: drawing them"
        )
    elif start.arrays is not None:
        parallel.say(f"resuming {run.run_dir} at step {start.step} (epoch {run.schedule.epoch(start.step):.2f})")
    source = open_source(
        run.dataset,
        config.data.source,
        config.data.resident_budget_gib * 2**30,
        config.seed,
        run.schedule.timetable,
        config.data.balanced,
    )
    with contextlib.ExitStack() as stack:
        # First, and so to the end of the last save.
        stop = stack.enter_context(StopSignal())
        stack.enter_context(contextlib.closing(source))
        recorder = RunRecorder(run, regular_checkpoints(start))
        keep = config.train.keep_checkpoints
        recorder.checkpoints = stack.enter_context(Checkpoints(run.run_dir, keep, recorder.is_regular, writable=True))
        if parallel.is_main_process():
            expected = start.record.get("log") if start.is_of(run.run_dir) else None
            trackers = open_trackers(track, run.run_dir)
            log = MetricsLog(run.run_dir, start.done_in(run.run_dir), run.health.rollbacks, expected, trackers)
            recorder.open_log(stack.enter_context(log))
        if start.is_of(run.run_dir):
            verdict = recorder.sample_what_is_missing(run.complete)
            if verdict.action == WARN:
                warnings.warn(verdict.reason, stacklevel=2)
        if not run.complete:
            _loop(run, source, recorder, stop)


def _loop(run: Run, source: ResidentSource | StreamingSource, recorder: RunRecorder, stop: StopSignal) -> None:
    """Step, health, evaluate, log, judge, save, sample: the contract of this module."""
    length = CallLength(run.config.train.steps_per_call)
    calls = Calls(run, source, length, recorder.next_boundary)
    with Ticks(run) as ticks:
        ended = False
        while not ended:
            stop.activity = f"the iterations from step {run.step}"
            call = calls.run()
            stop.begin()  # Before there was nothing to save.
            verdict = run.health.of_losses(call.first, call.count, call.metrics)
            if not verdict.broken:
                verdict, ended = _record(run, recorder, call, stop)
            elif verdict.action == STOP:
                recorder.log(call.first, verdict.step - 1 - call.first, call.metrics, call.rate, {})
            if verdict.action == WARN:
                warnings.warn(verdict.reason, stacklevel=2)
            elif verdict.action == STOP:
                raise FloatingPointError(f"{verdict.reason} ({recorder.checkpoints.directory})")
            elif verdict.broken:
                roll_back(run, recorder, verdict)
                calls = Calls(run, source, length, recorder.next_boundary)
            ticks.show(call)
    if not run.best.complete:
        recorder.checkpoints.wait()  # Else nobody knows yet whether there is one to go on from.
        raise Interrupted(f"stopped by a signal at step {run.step}; the same command goes on from there")


def _record(run: Run, recorder: RunRecorder, call: Call, stop: StopSignal) -> tuple[Verdict, bool]:
    """Everything between two calls; returns a verdict on what was made, and whether the run ends here."""
    settings, step = run.config.train, run.step
    run.check_held()
    stop.activity = f"the evaluation at step {step}"
    evaluated = recorder.evaluate(step, run.state)
    stop.activity = f"checkpoint and samples at step {step}"
    recorder.log(call.first, call.count, call.metrics, call.rate, evaluated)
    run.best.complete = step >= run.total
    improved = recorder.judge(step, evaluated)
    last = stop.requested() or run.best.complete
    due = recorder.is_save_due(step)
    if last or improved or due:
        recorder.checkpoints.wait()  # So that the host holds one copy of the state, not two; `save` would wait anyway.
        state = parallel.to_host(run.state)
        verdict = run.health.of_state(step, state)
        if verdict.broken:
            return verdict, False
        recorder.save(step, state, call.metrics, call.count - 1)
    verdict = Verdict()
    if last or run.schedule.is_due(step, settings.sample_every_iterations, settings.sample_every_epochs):
        verdict = recorder.sample(step, run.state, last, call)
    return verdict, last


@contextlib.contextmanager
def _locked(run_dir: Path) -> Iterator[Callable[[], None]]:
    """The first process holds the folder for the whole job; the others hear if it could not, and see its file there.

    Yields what raises `Stopped` in the first process once the folder is gone.
    """
    with contextlib.ExitStack() as stack:
        check_held = stack.enter_context(lock_run(run_dir)) if parallel.is_main_process() else lambda: None
        parallel.check_same_folder(run_dir / FILE_NAME)
        yield check_held
