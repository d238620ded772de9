"""When figures and report of a run are drawn while it trains, and that this never ends it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path

from jaxgan.errors import one_line
from jaxgan.reporting.report import write_report
from jaxgan.reporting.run_figures import make_figures

# Figures take some seconds: they are drawn again at a sampling only after so long, and at the end.
FIGURES_EVERY_SECONDS = 600.0
# The report is drawn at the first sampling, and again when this share of the time is not exceeded.
_REPORT_SHARE = 0.01


class Drawing:
    """Draws a run's figures and report now and then.

    Args:
      run_dir: the run's folder.
    """

    def __init__(self, run_dir: Path):
        self._run_dir = run_dir
        self._figures_at = time.monotonic()
        self._report_due = 0.0

    def now_and_then(self, last: bool) -> None:
        """Draws what it is time for, and both where the run ends."""
        began = time.monotonic()
        if last or began - self._figures_at > FIGURES_EVERY_SECONDS:
            self._draw("figures", make_figures)
            self._figures_at = time.monotonic()
        if last or began > self._report_due:
            self._draw("report", write_report)
            now = time.monotonic()
            self._report_due = now + (now - began) / _REPORT_SHARE

    def _draw(self, what: str, draw: Callable[[Path], object]) -> None:
        """Draws what only looks at the run: where that fails, it is no reason to end a training."""
        try:
            draw(self._run_dir)
        except Exception as error:
            warnings.warn(
                f"{self._run_dir}: the {what} could not be drawn ({one_line(error)}); the training goes on, and"
                " 'jaxgan report' draws them",
                stacklevel=2,
            )
