"""Measures generated images or volumes against real ones: a checkpoint against its data, or any folder against another.

    jaxgan evaluate --checkpoint runs/digits --metrics fid,kid,prdc,swd,msssim,spectrum,histogram,nearest
    jaxgan evaluate --real data/cells --generated out/cells --output cells.json

Writes a JSON file, with the protocol beside every number, and figures beside it; prints a table. Feature metrics use
VGG16 (reported as fd_vgg16, kd_vgg16, ...), or FID's Inception-v3 once its weights are given. Exit status: 0 success,
2 wrong input (one line on stderr, nothing written), 1 anything else.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import files
from jaxgan.commands import cli
from jaxgan.commands.compilation_cache import use_compilation_cache
from jaxgan.commands.report import redraw
from jaxgan.config.presets import load_config
from jaxgan.errors import InputError
from jaxgan.evaluation.evaluate import Evaluation, evaluate
from jaxgan.evaluation.evaluator import MOST_REALS
from jaxgan.evaluation.networks.extractor import choose_extractor
from jaxgan.evaluation.registry import METRICS, default_metrics, help_text, needs_extractor, parse_metrics
from jaxgan.evaluation.report import table, write_report
from jaxgan.evaluation.sources import Source, dataset_source, files_source, generator_source
from jaxgan.reporting import report
from jaxgan.reporting.card import write_card

# Fewer draws say nothing of the ends of a 95% interval.
FEWEST_DRAWS = 20


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is compared with what."""

    real: Source
    generated: Source
    split: str
    facts: dict[str, Any]
    output: Path
    heldout: Source | None = None
    training: Source | None = None
    run_dir: Path | None = None
    critic: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    conditional: bool = True
    card: dict[str, Any] = dataclasses.field(default_factory=dict)


def parser() -> cli.ArgumentParser:
    """The flags."""
    own = cli.ArgumentParser(prog=cli.program("evaluate"), description=__doc__)
    add = own.add_argument
    add("--checkpoint", type=cli.path, metavar="RUN", help="a run's folder, or one of its checkpoints")
    add("--step", type=cli.step, default="best", metavar="latest|best|N", help="which checkpoint (default: best)")
    add("--config", type=cli.path, metavar="PRESET", help="your preset file, where it adds networks, losses or metrics")
    add("--data_dir", type=cli.path, metavar="DIR", help="the run's data (default: where it found them)")
    add("--split", choices=("train", "holdout"), help="reals to compare with (default: what was held out, if anything)")
    add(
        "--num_samples",
        type=cli.whole(2, cli.MOST_SAMPLES),
        metavar="N",
        help="default: as many as the data, 1000 to 10000",
    )
    add("--seed", type=cli.whole(*cli.SEEDS), default=0, help="of the latents (default: 0)")
    add("--truncation", type=cli.finite, metavar="T", help="cut latents off at +-T")
    add("--real", type=cli.path, metavar="DIR", help="folder (or npz, npy) of real images, instead of a checkpoint")
    add("--generated", type=cli.path, metavar="DIR", help="folder (or npz, npy) of any model's images")
    add("--value_range", metavar="LOW,HIGH", help="of the stored values (default: of the integer type)")
    add("--generated_range", metavar="LOW,HIGH", help="of the generated ones, when it is another")
    add("--heldout", type=cli.path, metavar="DIR", help="reals that were never trained on (default: the data's own)")
    add("--metrics", default=",".join(default_metrics()), metavar="A,B,...", help=help_text())
    add("--bootstrap", type=_draws, default=0, metavar="N", help="95%% intervals by N draws (default: 0, none)")
    add("--inception_weights", type=cli.path, metavar="FILE", help="FID's Inception-v3: .pth or safetensors")
    add("--output", type=cli.path, metavar="FILE.json", help="default: in RUN/evaluation, or the current folder")
    add("--card", action="store_true", help="write model_card.md into RUN, or beside the JSON file")
    add("--intended_use", default="", metavar="TEXT", help="for the card: what the samples are meant for")
    add("--figures_only", action="store_true", help="as `jaxgan report RUN`: draw the run's figures and report anew")
    add("--overwrite", action="store_true", help="replace files that exist")
    return own


def _draws(text: str) -> int:
    return 0 if text == "0" else cli.whole(FEWEST_DRAWS, 100_000)(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates and prints the table, or draws a run's figures anew."""
    args = parser().parse_args(arguments)
    if args.figures_only:
        if args.checkpoint is None:
            raise InputError("--figures_only needs a run: give --checkpoint RUN")
        for path in redraw(args.checkpoint):
            print(path)
    else:
        use_compilation_cache()
        if args.config:
            load_config(args.config)  # For what it adds to the registries: the config is the run's own.
        evaluate_command(args)
    return 0


def evaluate_command(args: Namespace) -> tuple[Evaluation, list[Path]]:
    """Evaluates what the flags name, writes JSON and figures, prints the table.

    Args:
      args: checkpoint, step, data_dir, num_samples, seed, truncation, real, generated, value_range,
        generated_range, heldout, metrics, bootstrap, inception_weights, output, overwrite, card, intended_use.

    Returns:
      The evaluation, and the files written.

    Raises:
      InputError: anything given does not fit; nothing is written then.
    """
    metrics = parse_metrics(args.metrics)
    output = None if args.output is None else Path(args.output)
    if output is not None and output.exists() and not args.overwrite:
        raise InputError(f"--output {output} exists: give another file, or --overwrite")
    wanted = needs_extractor(metrics) or ({"nearest", "privacy"} & set(metrics) and args.inception_weights is not None)
    extractor = choose_extractor(args.inception_weights) if wanted else None
    task = _folders(args, output) if args.checkpoint is None else _checkpoint(args, output)
    _check_fit(metrics, task)
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
        resamples=args.bootstrap,
        heldout_batches=None if task.heldout is None else task.heldout.batches(),
        training_batches=None if task.training is None else task.training.batches(),
        training_fingerprint=None if task.training is None else task.training.fingerprint,
        critic=task.critic,
        spacing=task.real.spacing,
        progress=lambda line: print(f"{time.time() - start:6.1f} s  {line}", file=sys.stderr, flush=True),
    )
    facts = task.facts | {
        "created": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seconds": round(time.time() - start, 1),
        "device": jax.devices()[0].device_kind,
        "cache": str(files.cache_folder()),
    }
    if args.card:
        facts["card"] = task.card | {"intended_use": args.intended_use}
    written = write_report(
        evaluation, task.output, facts, task.real, task.generated, args.overwrite, training=task.training
    )
    if args.card:
        written.append(write_card(written[0], task.run_dir or written[0].parent))
    if task.run_dir is not None:
        written.append(report.write_report(task.run_dir))
    print(table(evaluation))
    print("written: " + ", ".join(map(str, written)))
    return evaluation, written


def _check_fit(metrics: Sequence[str], task: _Task) -> None:
    """Raises `InputError` in one line, before any work, for a metric that could only be skipped at the end."""
    for name in metrics:
        metric, reason = METRICS[name], None
        if metric.labelled and not task.real.class_names:
            reason = "needs real images with classes"
        elif metric.conditional and not task.conditional:
            reason = "needs a conditional generator, and this one takes no classes"
        elif metric.critic and task.critic is None:
            reason = "needs the critic of a run: give --checkpoint RUN"
        elif metric.critic and task.heldout is None and task.training is None:
            reason = "needs images that were not trained on: give --heldout DIR"
        if reason:
            raise InputError(f"--metrics {name}: {reason}; or leave it out")


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
    heldout = None if args.heldout is None else files_source("--heldout", args.heldout, value_range)
    if heldout is not None and heldout.class_names != real.class_names:
        heldout = heldout.without_labels()
    return _Task(
        real,
        generated,
        "all",
        facts,
        output or Path(f"evaluation-{now}.json"),
        heldout,
        conditional=bool(generated.class_names),
        card={"data": {"name": str(args.real), "classes": list(real.class_names)}},
    )


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
    split = args.split or ("train" if dataset.held_out is None else "holdout")
    reals = dataset if split == "train" else dataset.held_out
    if reals is None:
        raise InputError(
            f"--split holdout: {dataset.name} has nothing held out; prepare it with --holdout, or leave out"
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

    def critic(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        from jaxgan.inference.trained_model import critic_scores

        return critic_scores(model, images, classes if model.class_names else None)

    facts = {
        "checkpoint": str(model.run_dir),
        "step": model.step,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "seed": args.seed,
        "truncation": args.truncation,
    }
    default = model.run_dir / "evaluation" / f"step_{model.step}-{datetime.datetime.now():%Y%m%d-%H%M%S}.json"
    if args.heldout is not None:
        heldout = files_source("--heldout", args.heldout, (dataset.scaling.low, dataset.scaling.high))
    else:
        heldout = (
            None if dataset.held_out is None or split == "holdout" else dataset_source(dataset.held_out, MOST_REALS)
        )
    return _Task(
        dataset_source(reals, MOST_REALS),
        generated,
        split,
        facts,
        output or default,
        heldout,
        training=dataset_source(dataset, MOST_REALS) if split == "holdout" else None,
        run_dir=model.run_dir,
        critic=critic,
        conditional=bool(model.class_names),
        card=_card_facts(model, dataset),
    )


def _card_facts(model: Any, dataset: Any) -> dict[str, Any]:
    """What a card says of the data and the model beside the measured numbers."""
    held_out = dataset.held_out
    return {
        "data": {
            "name": dataset.name,
            "trained_on": dataset.size,
            "held_out": 0 if held_out is None else held_out.size,
            "shape": list(dataset.shape),
            "spacing_mm": dataset.spacing,
            "classes": list(dataset.class_names),
            "class_counts": [] if dataset.labels is None else np.bincount(dataset.labels).tolist(),
            "fingerprint": dataset.fingerprint,
            "scaling": dataset.scaling.to_dict(),
        },
        "model": {
            "step": model.step,
            "conditional": bool(model.class_names),
            "generator_parameters": _size(model.params),
            "critic_parameters": _size(model.critic[1]),
        },
    }


def _size(tree: Any) -> int:
    return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(tree))


def _data_dir(args: Namespace, run_dir: Path) -> str:
    """Where the run's data lie: what the flag says, else what the run noted in `data.json`."""
    if args.data_dir is not None:
        return args.data_dir
    try:
        return os.fspath(json.loads((run_dir / "data.json").read_text())["data_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{run_dir} does not say where its data lie: give --data_dir DIR") from None
