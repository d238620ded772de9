"""What `evaluate` compares with what: two folders, or a checkpoint and its data."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import clouds
from jaxgan.config import Config
from jaxgan.data.dataset import Dataset
from jaxgan.errors import InputError
from jaxgan.evaluation.evaluator import MOST_REALS
from jaxgan.evaluation.sources import Source, dataset_source, files_source, generator_source


@dataclasses.dataclass(frozen=True)
class Task:
    """What is compared with what.

    Attributes:
      real: what is compared with.
      generated: the samples.
      split: of the reals, for the protocol.
      facts: what was evaluated, for the record.
      output: the JSON file.
      heldout: images that were not trained on, where `real` is what was; None where there are none.
      training: images that were trained on, where `real` was held out.
      training_size: how many were trained on, of which sources may be a part.
      run_dir: the run's folder; None for folders of samples, exported generators and runs elsewhere.
      critic: the run's, see `evaluate`; None where there is none.
      conditional: whether classes were asked for.
      card: what a card says beside the numbers.
    """

    real: Source
    generated: Source
    split: str
    facts: dict[str, Any]
    output: Path
    heldout: Source | None = None
    training: Source | None = None
    training_size: int | None = None
    run_dir: Path | None = None
    critic: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    conditional: bool = True
    card: dict[str, Any] = dataclasses.field(default_factory=dict)


def of_folders(args: Namespace, output: Path | None) -> Task:
    """Any model's samples against any images; raises `InputError` for flags that do not fit."""
    if args.real is None or args.generated is None:
        raise InputError("give --checkpoint RUN, or both --real DIR and --generated DIR")
    _refuse(args, ("step", "data_dir", "split", "num_samples", "seed", "truncation"), "--checkpoint")
    value_range = _value_range("--value_range", args.value_range)
    real = files_source("--real", args.real, value_range)
    generated_range = _value_range("--generated_range", args.generated_range) or value_range
    generated = files_source("--generated", args.generated, generated_range, range_flag="--generated_range")
    generated = generated.with_classes(real.class_names)
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    facts = {
        "real": str(args.real),
        "generated": str(args.generated),
        "value_range": _ends(real),
        "generated_range": _ends(generated),
        "heldout": args.heldout and str(args.heldout),
    }
    heldout = None
    if args.heldout is not None:
        heldout = files_source("--heldout", args.heldout, value_range).with_classes(real.class_names)
    return Task(
        real,
        generated,
        "all",
        facts,
        output or Path(f"evaluation-{now}.json"),
        heldout,
        conditional=bool(generated.class_names),
        card={"data": {"name": str(args.real), "classes": list(real.class_names)}},
    )


def _refuse(args: Namespace, names: tuple[str, ...], other: str) -> None:
    """Raises `InputError` for flags that say something where `other` is given, and nothing here."""
    for name in names:
        if getattr(args, name) is not None:
            raise InputError(f"--{name} goes with {other} alone: leave it out")


def _ends(source: Source) -> tuple[float, float] | None:
    return None if source.scaling is None else (source.scaling.low, source.scaling.high)


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


def of_checkpoint(args: Namespace, output: Path | None) -> Task:
    """A run's generator against its data; raises `InputError` for flags, a run or data that do not fit."""
    if args.real is not None or args.generated is not None:
        raise InputError("--checkpoint excludes --real and --generated: give one or the other")
    _refuse(args, ("value_range", "generated_range"), "--real and --generated")
    import jaxgan

    seed = args.seed or 0
    model = jaxgan.load_trained_model(args.checkpoint, args.step or "best")
    # An exported model may lie in a package, and of what lies in a cloud we have a copy: nothing is written there.
    elsewhere = model.critic is None or clouds.is_remote(args.checkpoint)
    beside = None if elsewhere else model.run_dir
    data_dir = _data_dir(args, model.run_dir)
    dataset = jaxgan.open_data(model.config, data_dir, beside)
    if dataset.fingerprint != model.data_fingerprint:
        raise InputError(
            f"--data_dir: the data of {dataset.name} are not those that {model.run_dir} was trained on (fingerprint"
            f" {dataset.fingerprint or 'none'}, expected {model.data_fingerprint or 'none'}): give these"
        )
    split = args.split or ("train" if dataset.held_out is None else "holdout")
    reals = _split(model.config, data_dir, dataset, split, beside)
    count = int(np.clip(dataset.size, 1000, 10_000)) if args.num_samples is None else args.num_samples
    labels = None
    if model.class_names:
        labels = dataset.drawn_labels(count, seed)

    def generate(n: int, seed: int, chosen: np.ndarray | None) -> np.ndarray:
        return jaxgan.generate_samples(model, n, chosen, seed, args.truncation)

    generated = generator_source(generate, count, dataset.shape, seed, labels)

    def critic(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        from jaxgan.inference.trained_model import critic_scores

        return critic_scores(model, images, classes if model.class_names else None)

    facts = {
        "checkpoint": args.checkpoint if elsewhere else str(model.run_dir),
        "step": model.step,
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "seed": seed,
        "truncation": args.truncation,
        "heldout": args.heldout and str(args.heldout),
    }
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    if elsewhere:
        default = Path(f"evaluation-{now}.json")
    else:
        default = model.run_dir / "evaluation" / f"step_{model.step}-{now}.json"
    if args.heldout is not None:
        own_range = dataset.scaling.low, dataset.scaling.high
        heldout = files_source("--heldout", args.heldout, own_range, len(dataset.shape) - 1, range_flag=None)
        heldout = heldout.with_classes(dataset.class_names)
    else:
        heldout = None if dataset.held_out is None or split != "train" else dataset_source(dataset.held_out, MOST_REALS)
    return Task(
        dataset_source(reals, MOST_REALS),
        generated,
        split,
        facts,
        output or default,
        heldout,
        training=dataset_source(dataset, MOST_REALS) if split != "train" else None,
        training_size=dataset.size,
        run_dir=None if elsewhere else model.run_dir,
        critic=None if model.critic is None else critic,
        conditional=bool(model.class_names),
        card=_card_facts(model, dataset),
    )


def _split(config: Config, data_dir: str, dataset: Dataset, split: str, beside: Path | None) -> Dataset:
    """The reals of `--split`: "train" is what the run was trained on, whatever the data call it, others are apart."""
    if split == "train":
        return dataset
    if split == "holdout" and dataset.held_out is not None:
        return dataset.held_out
    if data_dir == "demo" or split == "holdout":
        raise InputError(
            f"--split {split}: {dataset.name} has nothing held out; prepare it with --holdout, name another of its"
            " splits, or leave out"
        )
    seen = config.data.split.split("+")
    if "all" in (*seen, split) or set(seen) & set(split.split("+")):
        raise InputError(
            f"--split {split}: the run was trained on it, or on a part of it; give train, or another split"
        )
    import jaxgan

    return jaxgan.open_data(config, data_dir, beside, split=split)


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
            "critic_parameters": None if model.critic is None else _size(model.critic[1]),
            "config": model.config.to_dict(),
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
