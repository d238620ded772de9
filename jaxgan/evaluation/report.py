"""The table on the screen and the JSON file of an evaluation."""

from __future__ import annotations

import csv
import glob
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import InputError
from jaxgan.evaluation.evaluate import Evaluation
from jaxgan.evaluation.figures import NAMES, figure_paths, make_figures
from jaxgan.evaluation.metric import Measurement
from jaxgan.evaluation.registry import value_of
from jaxgan.evaluation.sources import Source
from jaxgan.files import atomic_files, check_targets, finite


def _reading(name: str, measurement: Measurement) -> str:
    value = value_of(name)
    details = measurement.details | {"units": measurement.protocol.get("units")}
    return value.reading.format(**details) if value else ""


def table(evaluation: Evaluation) -> str:
    """One screen: a line a metric, the protocol they share, and what to beware of."""
    rows = []
    for name, measurement in evaluation.metrics.items():
        deviation = measurement.details.get("std")
        value = f"{measurement.value:.5g}"
        if measurement.interval is not None:
            value += " [{:.4g}, {:.4g}]".format(*measurement.interval)
        elif deviation is not None:
            value += f" +- {deviation:.2g}"
        rows.append((name, value, _reading(name, measurement)))
    rows = [("metric", "value", "reading"), *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    lines = [f"{name:<{widths[0]}}  {value:>{widths[1]}}  {reading}".rstrip() for name, value, reading in rows]
    for name, values in evaluation.per_class.items():
        lines.append(f"class {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in values.items()))
    protocols = [m.protocol for m in evaluation.metrics.values()]
    compared: dict[str, list[str]] = {}
    for name, protocol in zip(evaluation.metrics, protocols, strict=True):
        sets = "{n_generated} generated against {n_real} real ({split})".format(**protocol)
        compared.setdefault(sets, []).append(name)
    (shared, _), *others = compared.items()
    shape = "x".join(map(str, protocols[0]["shape"]))
    lines.append(f"protocol: {shared}, shape {shape}, jaxgan {protocols[0]['jaxgan']}")
    lines += [f"protocol of {', '.join(names)}: {sets}" for sets, names in others]
    for protocol in protocols:
        if "weights_sha256" in protocol:
            lines.append(
                f"extractor: {protocol['extractor']}, weights sha256 {protocol['weights_sha256']}; resizer:"
                f" {protocol['resizer']}; gray: {protocol['gray_policy']}"
            )
            break
    lines += [f"skipped {name}: {reason}" for name, reason in evaluation.skipped.items()]
    lines += [f"warning: {warning}" for warning in evaluation.warnings]
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """NumPy scalars and arrays as JSON's own types."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _name_files(evaluation: Evaluation, training: Source, generated: Source) -> None:
    """Says of each pair of a sample and its training image, as far as they are listed, which files these are."""
    pairs = [pair for found in evaluation.copies.values() for pair in found.pairs or ()]
    for key, source in (("sample", generated), ("training", training)):
        if source.files is not None and pairs:
            names = source.files(np.array([pair[key] for pair in pairs]))
            for pair, name in zip(pairs, names, strict=True):
                pair[f"{key}_file"] = name


def _pairs_table(evaluation: Evaluation) -> str:
    """Every sample that was looked up, with its nearest training image, as CSV; "" when none was."""
    text = io.StringIO()
    columns = ("space", "sample", "sample_file", "training", "training_file", "distance", "second", "transform", "copy")
    table = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    table.writeheader()
    spaces = {space: found.pairs for space, found in evaluation.copies.items() if found.pairs}
    table.writerows({"space": space} | pair for space, pairs in spaces.items() for pair in pairs)
    return text.getvalue() if spaces else ""


def check_output(output: Path, overwrite: bool) -> None:
    """What `write_report` would refuse, for before the work. Raises `InputError`."""
    stem = glob.escape(output.stem)
    beside = [f"{stem}_nearest.csv", *(f"{stem}_{name}.png" for name in NAMES)]
    check_targets([output, *(path for name in beside for path in sorted(output.parent.glob(name)))], overwrite)
    check_folder(output.parent, "give another --output FILE.json")


def check_folder(folder: Path, way_out: str) -> None:
    """Raises `InputError` unless files can be written to a folder, or a folder that is not there can be made."""
    there = folder.absolute()
    try:
        while not there.exists():
            there = there.parent
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); {way_out}") from None


def write_report(
    evaluation: Evaluation,
    output: Path,
    facts: dict[str, Any],
    real: Source,
    generated: Source,
    overwrite: bool,
    training: Source | None = None,
) -> list[Path]:
    """Writes the JSON file, and the figures and the table of nearest training images beside it; all or nothing.

    Args:
      evaluation: what was found.
      output: the JSON file.
      facts: what was evaluated, for the record.
      real: what was compared with.
      generated: gives the samples of the figure.
      overwrite: replace files that exist.
      training: gives the training neighbours of the figure; None: the real ones.

    Returns:
      The files written, the JSON file first.
    """
    training = training or real
    _name_files(evaluation, training, generated)
    figures = make_figures(evaluation, real, generated, training)
    paths = figure_paths(output, figures)
    found = evaluation.to_dict()
    for name, measurement in evaluation.metrics.items():
        found["metrics"][name]["reading"] = _reading(name, measurement)
    record = facts | found | {"figures": {name: path.name for name, path in paths.items()}}
    pairs = _pairs_table(evaluation)
    tables = [output.with_name(f"{output.stem}_nearest.csv")] if pairs else []
    targets = [output, *paths.values(), *tables]
    with atomic_files(targets, overwrite=overwrite) as (json_file, *others):
        json_file.write_text(json.dumps(finite(record), indent=2, default=_plain) + "\n")
        for figure, picture in zip(figures.values(), others, strict=False):
            figure.savefig(picture, format="png")
        if tables:
            others[-1].write_text(pairs, encoding="utf-8", errors="surrogateescape")
    return targets
