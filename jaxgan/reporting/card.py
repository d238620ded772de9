"""The model card: what a generator was made from, what its samples are worth, and what they give away.

Made from the record of an evaluation, so that every number on it has its protocol and its interval (after Mitchell et
al. 2019, Model Cards for Model Reporting).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxgan.config import Config
from jaxgan.config.timetable import Timetable
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.runs.folder import CARD

ASPECTS = {
    "fidelity": "Fidelity: are samples like the real images?",
    "diversity": "Diversity: are all kinds of real images among them?",
    "utility": "Utility: does training on them help on real images?",
    "privacy": "Privacy: do they give training images away?",
}
# Of a measurement's protocol, what stands below the tables once, for the first number and all that do not differ; what
# every number shares or nobody reads a card for.
_SETS = ("split", "n_real", "n_generated")
_COMMON = ("shape", "jaxgan", "jax", "device", "dtype", "interval_by")
_DETAILS_OF_EXTRACTOR = ("features", "resizer", "gray_policy", "quantisation", "slices")
_COLUMNS = ("number", "value", "95% interval", "better", "judged", "protocol")


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, lines of text, and a table with a header row; either may be empty."""

    title: str
    lines: tuple[str, ...] = ()
    table: tuple[tuple[str, ...], ...] = ()


def judge(measurement: Mapping[str, Any]) -> str:
    """A traffic-light word, where a stated threshold decides: amber when the interval reaches across it; else "".

    Args:
      measurement: of an evaluation's record, with `value`, `interval`, `better` and `details`.
    """
    details, value = measurement["details"], measurement["value"]
    threshold = details.get("threshold")
    if threshold is None or value is None:
        return ""
    ends = measurement["interval"] or (value, value)
    good = [end >= threshold if measurement["better"] == "higher" else end <= threshold for end in ends]
    word = "green" if all(good) else "amber" if any(good) else "red"
    side = "at least" if measurement["better"] == "higher" else "at most"
    return f"{word} (green: {side} {threshold:.3g}, {details['threshold_is']})"


def _first_protocol(record: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(iter(record["metrics"].values()))["protocol"]


def _row(name: str, measurement: Mapping[str, Any], first: Mapping[str, Any]) -> tuple[str, ...]:
    value, interval, protocol = measurement["value"], measurement["interval"], measurement["protocol"]
    facts = [
        f"{key} {entry}"
        for key, entry in protocol.items()
        if key not in (*_COMMON, *_DETAILS_OF_EXTRACTOR, "weights_sha256")
        and not (key in _SETS and entry == first.get(key))
    ]
    if "weights_sha256" in protocol:
        facts.append(f"weights {protocol['weights_sha256'][:12]}")
    for key in ("baseline", "p_value", "auroc"):
        if isinstance(measurement["details"].get(key), float):
            facts.insert(0, f"{key} {measurement['details'][key]:.3g}")
    if interval:
        facts.append(f"interval by {protocol['interval_by'].removeprefix('95%, ')}")
    return (
        name,
        "not defined" if value is None else f"{value:.4g}",
        f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else "none",
        {"real": "as the reals'"}.get(measurement["better"], measurement["better"]),
        judge(measurement),
        "; ".join(facts),
    )


def _data(record: Mapping[str, Any]) -> Section:
    data = record["card"].get("data", {})
    lines = [f"Name: {data.get('name', 'not known')}"]
    if "trained_on" in data:
        lines.append(f"Trained on {data['trained_on']:,} samples; {data['held_out']:,} held out, never trained on")
        lines.append(f"Shape: {' x '.join(map(str, data['shape']))}")
    if data.get("spacing_mm"):
        lines.append(f"Spacing: {' x '.join(f'{side:.4g}' for side in data['spacing_mm'])} mm")
    if "scaling" in data:
        scaling = data["scaling"]
        units = f" {scaling['units']}" if scaling.get("units") else ""
        lines.append(f"Values: {scaling['low']:g} to {scaling['high']:g}{units}, stored as {scaling['dtype']}")
    if data.get("classes"):
        counts = data.get("class_counts") or []
        named = [
            f"{name} ({counts[place]:,})" if place < len(counts) else name for place, name in enumerate(data["classes"])
        ]
        lines.append(f"Classes: {', '.join(named)}")
    if data.get("fingerprint"):
        lines.append(f"Fingerprint: {data['fingerprint']}")
    return Section("Data", tuple(lines))


def _model(record: Mapping[str, Any], run_dir: Path) -> Section:
    model, lines = record["card"].get("model"), []
    if model is None:
        return Section("Model", (f"Not known: the samples of {record.get('generated', 'a folder')} were judged",))
    lines.append(f"Checkpoint: {record['checkpoint']}, step {model['step']:,}")
    critic = "" if model["critic_parameters"] is None else f", critic {model['critic_parameters']:,}"
    lines.append(f"Parameters: generator {model['generator_parameters']:,}{critic}")
    lines.append("Conditional: a sample's class is asked for" if model["conditional"] else "Unconditional")
    config = _config(Config.from_record(model["config"]))
    for section, fields in (
        ("generator", ("network", "widths", "norm", "latent_dim")),
        ("critic", ("network", "widths", "norm", "conditioning")),
        ("objective", ("loss", "penalty", "n_critic")),
        ("optimizer", ("name", "lr", "critic_lr")),
        ("train", ("batch_size", "precision", "ema_halflife_images")),
    ):
        known = {name: config[section][name] for name in fields}
        if not known.get("critic_lr"):  # 0: that of the generator
            known.pop("critic_lr", None)
        lines.append(f"{section.capitalize()}: " + ", ".join(f"{name} {value}" for name, value in known.items()))
    lines += _length(run_dir, model["step"])
    return Section("Model", tuple(lines))


def _config(config: Config) -> dict[str, Any]:
    """The fields by section, automatic values as what they mean, and what stages of growth differ in stage by stage."""
    fields = config.to_dict()
    updates, batches = Timetable.of(config).in_words
    fields["objective"] |= {"penalty": config.objective.resolved().penalty, "n_critic": updates}
    fields["train"] |= {"batch_size": batches}
    return fields


def _length(run_dir: Path, step: int) -> list[str]:
    """How long the run was until a step, as far as its log says."""
    from jaxgan.runs.metrics_log import read_metrics

    records = [record for record in read_metrics(run_dir) if record.get("step", 0) <= step]
    rates = [record["images_per_second"] for record in records if record.get("images_per_second")]
    if not rates or "images" not in records[-1]:
        return []
    images, rate = records[-1]["images"], sorted(rates)[len(rates) // 2]
    return [f"Training: {images:,} images at {rate:,.0f} images/s (median), about {images / rate:,.0f} s"]


def _measured(record: Mapping[str, Any]) -> Iterator[Section]:
    for aspect, title in ASPECTS.items():
        first = _first_protocol(record)
        rows = [_row(name, m, first) for name, m in record["metrics"].items() if m.get("aspect") == aspect]
        if rows:
            yield Section(title, (), (_COLUMNS, *rows))
        else:
            yield Section(title, ("Not measured.",))


def _limits(record: Mapping[str, Any]) -> Section:
    protocol = _first_protocol(record)
    lines = [
        f"Unless its row says otherwise, a number is of {protocol['n_generated']:,} samples against"
        f" {protocol['n_real']:,} real images ({protocol['split']}); all are made on {protocol['device']} with jaxgan"
        f" {protocol['jaxgan']} and hold for these alone: numbers with other protocols must not be compared with them."
    ]
    if record.get("truncation") is not None:
        lines.append(
            f"The samples' latents were cut off at {record['truncation']:g} standard deviations: the generator without"
            " that has other numbers."
        )
    if not any(measurement["interval"] for measurement in record["metrics"].values()):
        lines.append("No intervals were drawn: with few samples, differences of these numbers may be chance.")
    lines += [f"Warning: {warning}" for warning in record["warnings"]]
    lines += [f"Not measured: {name}, since {reason}" for name, reason in record["skipped"].items()]
    lines.append(
        "No number proves privacy: the searches find copies, and what a distance or the critic can tell; nothing else."
    )
    return Section("Limits", tuple(lines))


def sections(record: Mapping[str, Any], run_dir: Path) -> list[Section]:
    """The card of an evaluation's record.

    Args:
      record: what `evaluate --card` wrote.
      run_dir: the run's folder, for the length of its training.
    """
    use = record["card"].get("intended_use") or (
        "Not stated by its author (--intended_use). Samples are no observations: nothing may be concluded from them"
        " about a person or a specimen, and no diagnosis made."
    )
    return [
        _data(record),
        _model(record, run_dir),
        *_measured(record),
        _limits(record),
        Section("Intended use", (use,)),
    ]


def markdown(parts: list[Section], created: str) -> str:
    """The card as a Markdown file."""
    lines = ["# Model card", "", f"Made by `jaxgan evaluate --card` on {created}."]
    for part in parts:
        lines += ["", f"## {part.title}", ""]
        lines += [f"- {_one_line(line)}" for line in part.lines]
        if part.table:
            head, *rows = part.table
            lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
            lines += ["| " + " | ".join(_one_line(cell).replace("|", "/") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def write_card(record_path: Path, run_dir: Path) -> Path:
    """Writes `model_card.md` into a run's folder, in place of an older one; the run's report shows it.

    Args:
      record_path: the JSON file that `evaluate --card` wrote.
      run_dir: the run's folder; for samples of no run, where the card is to lie.

    Raises:
      InputError: the record was not made with `--card`, or the folder cannot be written.
    """
    record = _read(record_path)
    if "card" not in record:
        raise InputError(f"{record_path}: was not made for a card: evaluate again with --card")
    path = run_dir / CARD
    with atomic_files([path], overwrite=True) as (temporary,):
        temporary.write_text(markdown(sections(record, run_dir), record["created"]), encoding="utf-8")
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
