"""Draws the figures and the report of runs anew, from their logs and samples; several runs are also compared.

    jaxgan report runs/digits
    jaxgan report runs/digits runs/cells --output both.html

Each run's page is its `report.html`. Of several runs, one page more has the curves in the same charts, samples side by
side, and what differs in configuration and evaluation.

Prints the files written. Exit status: 0 success, 2 wrong input (one line on stderr, nothing written), 1 anything else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jaxgan.commands import flags
from jaxgan.errors import InputError


def parser() -> flags.ArgumentParser:
    """The flags."""
    own = flags.ArgumentParser(prog=flags.program("report"), description=__doc__)
    own.add_argument("runs", nargs="+", type=flags.path, metavar="RUN", help="folder of a run")
    own.add_argument(
        "--output",
        type=flags.path,
        metavar="FILE.html",
        help="the comparison of several runs (default: comparison.html)",
    )
    own.add_argument("--overwrite", action="store_true", help="let the comparison replace a file that is none")
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws, and names the files."""
    args = parser().parse_args(arguments)
    for run in args.runs:
        check_run(run)
    several = len(args.runs) > 1
    for name in ("output", "overwrite"):
        if getattr(args, name) and not several:
            raise InputError(f"--{name} is for comparisons: give a second run, or leave it out")
    from jaxgan.reporting.report import check_comparison, write_comparison

    output = args.output or "comparison.html"
    if several:
        check_comparison(output, args.overwrite)
    for run in args.runs:
        for path in redraw(run):
            print(path)
    if several:
        print(write_comparison(args.runs, output, args.overwrite))
    return 0


def check_run(run: str) -> Path:
    """The folder of a run; raises `InputError` where there is none."""
    from jaxgan.runs.folder import ENVIRONMENT
    from jaxgan.runs.metrics_log import FILE_NAME

    # Before its first log line a run has the one, and one of an early version has the other alone.
    if not run or not any((Path(run) / name).is_file() for name in (ENVIRONMENT, FILE_NAME)):
        raise InputError(f"{run!r} is not a run's folder: give the one that --workdir named")
    return Path(run)


def redraw(run: str) -> list[Path]:
    """Draws a run's figures and its report anew; returns the files. Raises `InputError`: there is no run."""
    from jaxgan.reporting.report import write_report
    from jaxgan.reporting.run_figures import make_figures

    folder = check_run(run)
    return [*make_figures(folder), write_report(folder)]
