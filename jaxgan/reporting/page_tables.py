"""The tables of a report page: headline figures, logged and evaluated numbers, configuration, environment, files."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.reporting.contents import RunContents, flat, origin
from jaxgan.reporting.page_curves import title_of

FILE_NAME = "report.html"


def summary(run: RunContents) -> str:
    """Where the run stands, in a sentence."""
    at = run.position
    parts = [f"{at['step']:,} iterations"] if "step" in at else []
    if "epoch" in at:
        parts.append(f"{at['epoch']:.4g} epochs")
    if "images" in at:
        parts.append(f"{round(at['images']):,} images")
    return ", ".join(parts) + "." if parts else "Nothing has been trained yet."


def headline(run: RunContents) -> list[tuple[str, str]]:
    """The figures that one asks for first."""
    at, rows = run.position, []
    if "step" in at:
        rows.append(("iterations", f"{at['step']:,}"))
    if "epoch" in at:
        rows.append(("epochs", f"{at['epoch']:.4g}"))
    if "images" in at:
        rows.append(("images shown", f"{round(at['images']):,}"))
    if math.isfinite(run.throughput):
        rows.append(("images a second (median)", f"{run.throughput:,.4g}"))
    rows += list(evaluated(run).items())[:4]
    if run.environment.get("devices"):
        rows.append(("devices", str(run.environment["devices"])))
    if run.environment.get("preset"):
        rows.append(("preset", str(run.environment["preset"])))
    return rows


def window_note(run: RunContents) -> str:
    """What black and white mean in the pictures, in the data's units."""
    low, high = run.window
    if run.scaling:
        low, high = run.scaling.restore(np.array(run.window)).tolist()
    unit = f" {run.scaling.units}" if run.scaling and run.scaling.units else ""
    return f"Black to white is {low:.4g} to {high:.4g}{unit}; the files keep all values."


def metric_rows(records: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Name, last value and extremes of every number that was logged; a last value of NaN is shown as such."""
    for name in dict.fromkeys(name for record in records for name in record):
        values = [record[name] for record in records if isinstance(record.get(name), int | float)]
        finite = [value for value in values if math.isfinite(value)]
        if values and name not in ("step", "images", "epoch"):
            extremes = (min(finite), max(finite)) if finite else (math.nan, math.nan)
            last, lowest, highest = (f"{value:.5g}" for value in (values[-1], *extremes))
            yield {"name": title_of(name), "last": last, "lowest": lowest, "highest": highest}


def evaluated(run: RunContents) -> dict[str, str]:
    """The values of the newest evaluation by name, which says where latents were cut off: others do not compare."""
    cut = _cut(run.evaluation)
    return {row["name"] + cut: row["value"] for row in evaluation_tables(run).get("rows", [])}


def _cut(record: Mapping[str, Any]) -> str:
    cut = record.get("truncation")
    return f", latents cut off at {cut:g} standard deviations" if isinstance(cut, int | float) else ""


def evaluation_tables(run: RunContents) -> dict[str, Any]:
    """The newest evaluation as tables; empty where there is none."""
    record = run.evaluation
    if not record:
        return {}
    rows = []
    for name, found in record["metrics"].items():
        value, interval = found["value"], found.get("interval") or (None,)
        rows.append(
            {
                "name": name,
                "value": f"{value:.5g}" if isinstance(value, int | float) else "not finite",
                "interval": "" if None in interval else "{:.4g} to {:.4g}".format(*interval),
                "reading": found.get("reading", ""),
            }
        )
    compared: dict[str, list[str]] = {}
    for name, found in record["metrics"].items():
        compared.setdefault(_sets(found["protocol"]), []).append(name)
    (about, _), *others = compared.items()
    about += f", checkpoint of iteration {record['step']:,}" if isinstance(record.get("step"), int) else ""
    about += f", on {str(record.get('created', ''))[:16].replace('T', ' ')}" if record.get("created") else ""
    about += _cut(record)
    classes = record.get("per_class") or {}
    columns = list(dict.fromkeys(name for values in classes.values() for name in values))
    return {
        "about": about + ".",
        "rows": rows,
        "class_columns": columns,
        "classes": [(name, [_number(values.get(column)) for column in columns]) for name, values in classes.items()],
        "notes": [f"{', '.join(names)}: {sets}." for sets, names in others]
        + [f"Not measured: {name}: {why}" for name, why in (record.get("skipped") or {}).items()]
        + [f"Beware: {text}" for text in record.get("warnings") or []],
        "protocol": json.dumps({n: found.get("protocol") for n, found in record["metrics"].items()}, indent=1),
    }


def _sets(protocol: Mapping[str, Any]) -> str:
    generated, real, split = (protocol.get(name, "?") for name in ("n_generated", "n_real", "split"))
    return f"{generated} generated against {real} real samples ({split})"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def config_table(run: RunContents) -> dict[str, list[dict[str, Any]]]:
    """The fields by section, those outside any under "run"; what differs from the preset is marked."""
    _, before = origin(run)
    table: dict[str, list[dict[str, Any]]] = {}
    for name, value in flat(run.config).items():
        section, _, field = name.rpartition(".")
        was = before.get(name, value)
        row = {"name": field, "value": value, "changed": was != value, "was": was}
        table.setdefault(section or "run", []).append(row)
    return table


def environment_rows(run: RunContents) -> list[tuple[str, str]]:
    """What the run was made with and on."""
    known = run.environment
    rows = [(name.replace("_", " "), str(known[name])) for name in ("preset", "started", "last_start") if name in known]
    rows += [(name, str(known[name])) for name in ("devices", "python", "system") if name in known]
    return rows + [(name, str(version)) for name, version in (known.get("versions") or {}).items()]


def files_of(folder: Path) -> list[str]:
    """What lies beside the page and can be opened from it."""
    names = [
        path.name for path in sorted(folder.glob("*")) if path.is_file() and path.name not in (FILE_NAME, "lock.json")
    ]
    names = [name for name in names if not name.startswith(".")]
    figures = [f"figures/{path.name}" for path in sorted((folder / "figures").glob("*.*"))]
    folders = [f"{name}/" for name in ("samples", "checkpoints", "evaluation", "generated") if (folder / name).is_dir()]
    return names + figures + folders


def side_by_side(columns: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Mappings as rows of one table, a column each; what one of them lacks is empty."""
    names = dict.fromkeys(name for column in columns for name in column)
    return [(name, [str(column.get(name, "")) for column in columns]) for name in names]


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with numbers where the same one comes twice."""
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]
