"""Back to the last good checkpoint, when what was computed after it is not finite."""

from __future__ import annotations

import warnings
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxgan import parallel
from jaxgan.training.health import Verdict
from jaxgan.training.recorder import RunRecorder
from jaxgan.training.resume import clear_later, tracker_at
from jaxgan.training.resume_point import ResumePoint, read_newest, read_step
from jaxgan.training.run import Run


def roll_back(run: Run, recorder: RunRecorder, verdict: Verdict) -> None:
    """Sends a run back, with other draws and lower learning rates, and logs it; all processes of a job must call it.

    What it decides follows from the checkpoint that it goes back to: a run that is killed afterwards, before it has
    saved again, comes to the same verdict and goes back in the same way.

    Args:
      run: is set to where it goes on from.
      recorder: of the run; its log forgets what came after.
      verdict: why.
    """
    point = _last_good(run, recorder)
    run.health.rolled_back()
    run.best = tracker_at(point, run.config, run.run_dir)
    run.place(point)
    # Other latents, other augmentations; the reals come in the order of their steps, as always.
    key = jax.random.fold_in(jax.random.wrap_key_data(jnp.asarray(run.state.key)), run.health.rollbacks)
    run.state = run.state._replace(key=jax.random.key_data(key))
    recorder.roll_back(verdict.step)
    warnings.warn(
        f"{verdict.reason}: back to step {run.step}, with learning rates times {run.health.rate_factor:g}"
        f" (rollback {run.health.rollbacks} of {run.health.settings.max_rollbacks})",
        stacklevel=2,
    )


def _last_good(run: Run, recorder: RunRecorder) -> ResumePoint:
    """The newest checkpoint that was due, or the best, else where the run began.

    A checkpoint that only a stop signal made does not count: a run that was never stopped has none there.
    """
    checkpoints, origin = recorder.checkpoints, run.record.get("origin")
    checkpoints.wait()

    def find_good() -> list[int]:
        return [step for step in checkpoints.steps() if recorder.is_regular(step) or step == run.best.best_step]

    good = parallel.decided_by_main_process("looking for a good checkpoint", find_good)
    if good:
        point = read_newest(run.run_dir, good)
    else:
        point = read_step(Path(origin["run"]), origin["step"]) if origin else ResumePoint()
    clear_later(run.run_dir, point.step)
    checkpoints.reload()
    return point
