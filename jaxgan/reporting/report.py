"""The report page of a run: everything to look at, in one file that can be mailed."""

from __future__ import annotations

import base64
import datetime
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxgan.files import atomic_files
from jaxgan.reporting.run_figures import read_json
from jaxgan.runs.metrics_log import read_metrics

_ORDER = (
    "samples_final",
    "real_and_generated",
    "losses",
    "wasserstein",
    "metrics",
    "epoch_comparison",
    "progress",
)
_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ name }}</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 64rem; margin: auto; padding: 1rem }
  h1, h2 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc }
  table { border-collapse: collapse }
  td, th { padding: .15rem .9rem .15rem 0; text-align: left; vertical-align: top }
  td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
  .sections { columns: 22rem } .sections section { break-inside: avoid; margin-bottom: 1rem }
  figure { margin: 1.5rem 0 } figcaption { color: #555 } img { max-width: 100% }
</style>
</head>
<body>
<h1>{{ name }}</h1>
<p>{{ summary }} Made on {{ made }}.</p>
<h2>Metrics</h2>
{% if metrics %}
<table>
<tr><th>metric</th>
{% for name in columns %}
<th class="number">{{ name }}</th>
{% endfor %}
</tr>
{% for row in metrics %}
<tr><td>{{ row.name }}</td>
{% for name in columns %}
<td class="number">{{ row[name] }}</td>
{% endfor %}
</tr>
{% endfor %}
</table>
{% else %}<p>Nothing was logged yet.</p>{% endif %}
<h2>Figures</h2>
{% for figure in figures %}
<figure>
<img alt="{{ figure.title }}" src="{{ figure.uri }}"><figcaption>{{ figure.title }}</figcaption>
</figure>
{% else %}<p>No figures were made yet.</p>{% endfor %}
<h2>Configuration</h2>
<div class="sections">
{% for section, fields in config.items() %}
<section><h3>{{ section }}</h3><table>
{% for field, value in fields.items() %}
<tr><td>{{ field }}</td><td>{{ value }}</td></tr>
{% endfor %}
</table></section>
{% endfor %}
</div>
</body>
</html>
"""


def write_report(run_dir: str | os.PathLike) -> Path:
    """Writes `report.html` into a run's folder, replacing an older one.

    The page has the last metrics with their extremes, every picture of `figures/`, the latest sample grid of
    `samples/` and the configuration; pictures are embedded, so that the page is one file.

    Args:
      run_dir: the run's folder.

    Returns:
      the page's path.

    Raises:
      InputError: a file of the run is damaged, or the page cannot be written.
    """
    import jinja2

    run_dir = Path(run_dir)
    records = read_metrics(run_dir)
    pictures = sorted((run_dir / "figures").glob("*.png")) + sorted((run_dir / "figures").glob("*.gif"))
    pictures.sort(key=lambda path: _ORDER.index(path.stem) if path.stem in _ORDER else len(_ORDER))
    grids = sorted((run_dir / "samples").glob("step_*.png"))
    template = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(_TEMPLATE)
    page = template.render(
        name=run_dir.resolve().name,
        summary=_summary(records[-1]) if records else "",
        made=datetime.datetime.now().strftime("%Y-%m-%d %H:%M"),
        columns=("last", "lowest", "highest"),
        metrics=list(_metric_rows(records)),
        figures=[_embed(path) for path in grids[-1:] + pictures],
        config=_sections(read_json(run_dir / "config.json")),
    )
    path = run_dir / "report.html"
    with atomic_files([path], overwrite=True) as (temporary,):
        temporary.write_text(page, encoding="utf-8")
    return path


def _summary(last: Mapping[str, Any]) -> str:
    parts = [f"{last['step']:,} iterations"] if "step" in last else []
    if "epoch" in last:
        parts.append(f"{last['epoch']:.4g} epochs")
    if "images" in last:
        parts.append(f"{last['images']:,} images")
    return ", ".join(parts) + "."


def _metric_rows(records: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Name, last value and extremes of every number that was logged; a last value of NaN is shown as such."""
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record[name] for record in records if isinstance(record.get(name), int | float)]
        finite = [value for value in values if math.isfinite(value)]
        if values and name not in ("step", "images", "epoch"):
            extremes = (min(finite), max(finite)) if finite else (math.nan, math.nan)
            last, lowest, highest = (f"{value:.5g}" for value in (values[-1], *extremes))
            yield {"name": name.replace("_", " "), "last": last, "lowest": lowest, "highest": highest}


def _sections(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The nested config as sections of fields; fields outside any section come first, under "run"."""
    loose = {name: value for name, value in config.items() if not isinstance(value, Mapping)}
    sections = {name: dict(value) for name, value in config.items() if isinstance(value, Mapping)}
    return {"run": loose, **sections} if loose else sections


def _embed(path: Path) -> dict[str, str]:
    kind = path.suffix.removeprefix(".")
    data = base64.b64encode(path.read_bytes()).decode()
    return {"title": path.stem.replace("_", " "), "uri": f"data:image/{kind};base64,{data}"}
