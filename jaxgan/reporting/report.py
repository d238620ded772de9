"""The report page of a run, and the page that compares runs: everything to look at, in one file that can be mailed."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jaxgan
from jaxgan.errors import InputError
from jaxgan.files import atomic_files, finite
from jaxgan.reporting import page_pictures
from jaxgan.reporting.contents import flat, origin, read_contents
from jaxgan.reporting.markdown import to_html
from jaxgan.reporting.page_curves import all_series, panels
from jaxgan.reporting.page_tables import (
    FILE_NAME,
    config_table,
    distinct,
    environment_rows,
    evaluated,
    evaluation_tables,
    files_of,
    headline,
    metric_rows,
    side_by_side,
    summary,
    window_note,
)

_COMPARISON = 'content="jaxgan comparison"'


def write_report(run_dir: str | os.PathLike) -> Path:
    """Writes `report.html` into a run's folder, in place of an older one.

    The page has the headline figures, the samples over the training, reals beside them, volumes slice by slice, curves,
    the newest evaluation and the card if there are any, the configuration and the environment. Pictures, style and
    script are in it, so that it is one file, of a few megabytes whatever the size of the samples.

    Args:
      run_dir: the run's folder.

    Returns:
      the page's path.

    Raises:
      InputError: a file of the run is damaged, or the page cannot be written.
    """
    run = read_contents(run_dir)
    volumes, planes, orientation = page_pictures.volumes(run)
    frames = page_pictures.frames(run)
    low, high = run.window
    data = {
        "runs": [{"name": run.name, "series": all_series(run)}],
        "panels": panels([run]),
        "frames": [frames],
        "histograms": page_pictures.histograms(run),
        "volumes": volumes,
        "planes": planes,
    }
    sections = [
        ("samples", "Samples", frames), ("real", "Real against generated", run.reals is not None and frames),
        ("volumes", "Volumes", volumes), ("curves", "Curves", True), ("evaluation", "Evaluation", True),
        ("card", "Card", run.card), ("configuration", "Configuration", True), ("environment", "Environment", True),
        ("files", "Files", True),
    ]  # fmt: skip
    size = run.about.get("data_size")
    return _write(
        run.folder / FILE_NAME,
        "report.html",
        data,
        title=run.name,
        summary=summary(run),
        sections=[(anchor, name) for anchor, name, there in sections if there],
        headline=headline(run),
        frames=frames,
        data_note=f", trained on {size:,} samples of {run.about.get('data')}" if size else "",
        sharp=bool(run.snapshots) and max(run.snapshots[-1].load(1).shape[1:-1]) < 128,
        window_note="" if (low, high) == (-1.0, 1.0) else window_note(run),
        pair=page_pictures.real_and_generated(run),
        volumes=volumes,
        orientation=orientation,
        interpolations=page_pictures.interpolations(run),
        evaluation=evaluation_tables(run),
        evaluation_pictures=page_pictures.evaluation_pictures(run),
        card=to_html(run.card),
        metrics=list(metric_rows(run.records)),
        config=config_table(run),
        compared=f"Marked: what differs from the {origin(run)[0]}.",
        environment=environment_rows(run),
        folder_links=files_of(run.folder),
    )


def write_comparison(runs: Sequence[str | os.PathLike], output: str | os.PathLike, overwrite: bool = False) -> Path:
    """Writes one page that compares runs: curves in one chart, samples side by side, what differs as tables.

    Args:
      runs: folders of runs, at least two.
      output: the page, replaced where it is a comparison.
      overwrite: replace any file.

    Returns:
      the page's path.

    Raises:
      InputError: a file of a run is damaged, `output` is another file, or it cannot be written.
    """
    path = check_comparison(output, overwrite)
    contents = [read_contents(run) for run in runs]
    names = distinct([run.name for run in contents])
    lists = [page_pictures.frames(run, most=12) for run in contents]
    grids = []
    for run, name, frames in zip(contents, names, lists, strict=True):
        for frame in frames:
            frame["caption"] = f"{name}: {frame['caption']}"
        if frames:
            sharp = max(run.snapshots[-1].load(1).shape[1:-1]) < 128
            grids.append({**frames[-1], "sharp": sharp})
    data = {
        "runs": [{"name": n, "series": all_series(run)} for n, run in zip(names, contents, strict=True)],
        "panels": panels(contents),
        "frames": [frames for frames in lists if frames],
    }
    sections = [("runs", "Runs"), ("curves", "Curves"), *([("samples", "Samples")] if grids else [])]
    sections += [(name.lower(), name) for name in ("Evaluation", "Configuration", "Environment")]
    links = [os.path.relpath(run.folder / FILE_NAME, path.absolute().parent) for run in contents]
    return _write(
        path,
        "comparison.html",
        data,
        title=f"Comparison of {len(contents)} runs",
        summary=", ".join(names),
        sections=sections,
        names=names,
        headline=side_by_side([dict(headline(run)) for run in contents]),
        grids=grids,
        steps=max((len(frames) for frames in lists), default=0),
        evaluations=side_by_side([evaluated(run) for run in contents]),
        differences=[row for row in side_by_side([flat(run.config) for run in contents]) if len(set(row[1])) > 1],
        environment=side_by_side([dict(environment_rows(run)) for run in contents]),
        folder_links=list(zip(names, links, strict=True)),
    )


def check_comparison(output: str | os.PathLike, overwrite: bool = False) -> Path:
    """Where a comparison may lie; raises `InputError` for a folder and, without `overwrite`, a file that is none."""
    path = Path(output)
    if path.is_dir():
        raise InputError(f"--output {path} is a folder: give a file name")
    if path.exists() and not overwrite and _COMPARISON not in path.read_text(errors="replace")[:1000]:
        raise InputError(f"--output {path} exists and is no comparison: give another file, or --overwrite")
    return path


def _write(path: Path, template: str, data: Mapping[str, Any], **values: Any) -> Path:
    import jinja2

    loader = jinja2.PackageLoader("jaxgan.reporting", "page")
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True)
    # "<" is written otherwise, so that no text of the data can end the script element.
    text = json.dumps(finite(data), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    read = lambda name: loader.get_source(environment, name)[0]  # noqa: E731
    page = environment.get_template(template).render(
        data=text,
        css=read("page.css"),
        script=read("page.js"),
        version=jaxgan.__version__,
        made=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        **values,
    )
    with atomic_files([path], overwrite=True) as (temporary,):
        temporary.write_text(page, encoding="utf-8")
    return path
