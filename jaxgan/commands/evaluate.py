"""From the flags of `scripts/evaluate.py` to a report: a checkpoint against its data, or one folder against another."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import files
from jaxgan.errors import InputError
from jaxgan.evaluation.evaluate import Evaluation, evaluate
from jaxgan.evaluation.evaluator import MOST_REALS
from jaxgan.evaluation.networks.extractor import choose_extractor
from jaxgan.evaluation.registry import needs_extractor, parse_metrics
from jaxgan.evaluation.report import table, write_report
from jaxgan.evaluation.sources import Source, dataset_source, files_source, generator_source
from jaxgan.reporting.report import write_report as write_run_report
from jaxgan.reporting.run_figures import make_figures
from jaxgan.runs.metrics_log import FILE_NAME


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is compared with what."""

    real: Source
    generated: Source
    split: str
    facts: dict[str, Any]
    output: Path


def redraw(checkpoint: str | None) -> list[Path]:
    """Draws a run's figures and its report anew from its log and samples.

    Args:
      checkpoint: the run's folder.

    Returns:
      the files written.

    Raises:
      InputError: there is no run.
    """
    run_dir = Path(checkpoint or "")
    if checkpoint is None or not (run_dir / FILE_NAME).is_file():
        raise InputError(
            f"--figures_only: {checkpoint} is not a run's folder: give --checkpoint RUN with a {FILE_NAME}"
        )
    return [*make_figures(run_dir), write_run_report(run_dir)]


def evaluate_command(args: Namespace) -> tuple[Evaluation, list[Path]]:
    """Evaluates what the flags name, writes JSON and figures, prints the table.

    Args:
      args: checkpoint, step, data_dir, num_samples, seed, truncation, real, generated, value_range,
        generated_range, metrics, inception_weights, output, overwrite.

    Returns:
      The evaluation, and the files written.

    Raises:
      InputError: anything given does not fit; nothing is written then.
    """
    metrics = parse_metrics(args.metrics)
    output = None if args.output is None else Path(args.output)
    if output is not None and output.exists() and not args.overwrite:
        raise InputError(f"--output {output} exists: give another file, or --overwrite")
    wanted = needs_extractor(metrics) or ("nearest" in metrics and args.inception_weights is not None)
    extractor = choose_extractor(args.inception_weights) if wanted else None
    task = _folders(args, output) if args.checkpoint is None else _checkpoint(args, output)
    start = time.time()
    evaluation = evaluate(
        task.real.batches(),
        task.generated.batches(),
        metrics,
        extractor=extractor,
        scaling=task.real.scaling,
        class_names=task.real.class_names,
        split=task.split,
        real_fingerprint=task.real.fingerprint,
    )
    facts = task.facts | {
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": round(time.time() - start, 1),
        "device": jax.devices()[0].device_kind,
        "cache": str(files.cache_folder()),
    }
    written = write_report(evaluation, task.output, facts, task.real, task.generated, args.overwrite)
    print(table(evaluation))
    print("written: " + ", ".join(map(str, written)))
    return evaluation, written


def _folders(args: Namespace, output: Path | None) -> _Task:
    if args.real is None or args.generated is None:
        raise InputError("give --checkpoint RUN, or both --real DIR and --generated DIR")
    value_range = _value_range("--value_range", args.value_range)
    real = files_source("--real", args.real, value_range)
    generated_range = _value_range("--generated_range", args.generated_range) or value_range
    generated = files_source("--generated", args.generated, generated_range)
    if generated.class_names != real.class_names:
        # Class 0 of one folder is not class 0 of the other: no comparison by class.
        generated = generated.without_labels()
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    facts = {"real": str(args.real), "generated": str(args.generated)}
    return _Task(real, generated, "all", facts, output or Path(f"evaluation-{now}.json"))


def _value_range(flag: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{flag} {text}: give two numbers, e.g. {flag}=-1,1") from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"{flag} {text}: the first number must be below the second, both finite")
    return low, high


def _checkpoint(args: Namespace, output: Path | None) -> _Task:
    if args.real is not None or args.generated is not None:
        raise InputError("--checkpoint excludes --real and --generated: give one or the other")
    import jaxgan

    model = jaxgan.load_trained_model(args.checkpoint, args.step)
    dataset = jaxgan.open_data(model.config, _data_dir(args, model.run_dir), model.run_dir)
    if dataset.fingerprint != model.data_fingerprint:
        raise InputError(
            f"--data_dir: the data of {dataset.name} are not those that {model.run_dir} was trained on (fingerprint"
            f" {dataset.fingerprint or 'none'}, expected {model.data_fingerprint or 'none'}): give these"
        )
    count = int(np.clip(dataset.size, 1000, 10_000)) if args.num_samples is None else args.num_samples
    if count < 2:
        raise InputError(f"--num_samples {count} is not valid: ask for at least 2")
    labels = None
    if model.class_names:
        # The classes as often as the data have them: a difference in the mix would count as a difference in quality.
        labels = np.random.default_rng(args.seed).choice(dataset.labels, count).astype(np.int32)

    def generate(n: int, seed: int, chosen: np.ndarray | None) -> np.ndarray:
        return jaxgan.generate_samples(model, n, chosen, seed, args.truncation)

    generated = generator_source(generate, count, dataset.shape, args.seed, labels)
    facts = {
        "checkpoint": str(model.run_dir),
        "step": model.step,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "seed": args.seed,
        "truncation": args.truncation,
    }
    default = model.run_dir / "evaluation" / f"step_{model.step}-{datetime.datetime.now():%Y%m%d-%H%M%S}.json"
    return _Task(dataset_source(dataset, MOST_REALS), generated, "train", facts, output or default)


def _data_dir(args: Namespace, run_dir: Path) -> str:
    """Where the run's data lie: what the flag says, else what the run noted in `data.json`."""
    if args.data_dir is not None:
        return args.data_dir
    try:
        return json.loads((run_dir / "data.json").read_text())["data_dir"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{run_dir} does not say where its data lie: give --data_dir DIR") from None
