"""Measures generated images or volumes against real ones: a checkpoint against its data, or any folder against another.

    jaxgan evaluate --checkpoint runs/digits --metrics fid,kid,prdc,swd,msssim,spectrum,histogram,nearest
    jaxgan evaluate --real data/cells --generated out/cells --output cells.json

Writes a JSON file, with the protocol beside every number, and figures beside it; prints a table. Feature metrics use
VGG16 (reported as fd_vgg16, kd_vgg16, ...), or FID's Inception-v3 once its weights are given. Exit status: 0 success,
2 wrong input (one line on stderr, nothing written), 1 anything else.
"""

from __future__ import annotations

import datetime
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from jaxgan import files
from jaxgan.commands import flags
from jaxgan.commands.compilation_cache import use_compilation_cache
from jaxgan.commands.evaluation_task import Task, of_checkpoint, of_folders
from jaxgan.commands.report import redraw
from jaxgan.config.presets import load_config
from jaxgan.errors import InputError, one_line
from jaxgan.evaluation.evaluate import Evaluation, evaluate
from jaxgan.evaluation.networks.extractor import choose_extractor
from jaxgan.evaluation.registry import METRICS, default_metrics, help_text, needs_extractor, parse_metrics
from jaxgan.evaluation.report import check_folder, check_output, table, write_report
from jaxgan.reporting import report
from jaxgan.reporting.card import write_card
from jaxgan.runs.folder import CARD

# Fewer draws say nothing of the ends of a 95% interval.
FEWEST_DRAWS = 20
# On a card no number stands without its interval.
CARD_DRAWS = 50
# Trains 18 classifiers, and needs to be asked for.
NOT_ON_CARD = ("learning_curve",)


def parser() -> flags.ArgumentParser:
    """The flags."""
    own = flags.ArgumentParser(prog=flags.program("evaluate"), description=__doc__)
    add = own.add_argument
    add(
        "--checkpoint", type=flags.source, metavar="RUN", help="a run, one of its checkpoints, or an exported generator"
    )
    add("--step", type=flags.step, metavar="latest|best|N", help="which checkpoint (default: best)")
    add(
        "--config",
        type=flags.path,
        metavar="PRESET",
        help="your preset file, where it adds networks, losses or metrics",
    )
    add("--data_dir", type=flags.source, metavar="DIR", help="the run's data (default: where it found them)")
    add(
        "--split",
        metavar="NAME",
        help="train, holdout or another split of reals (default: what was held out, if anything)",
    )
    add(
        "--num_samples",
        type=flags.whole(2, flags.MOST_SAMPLES),
        metavar="N",
        help="default: as many as the data, 1000 to 10000",
    )
    add("--seed", type=flags.whole(*flags.SEEDS), help="of the latents (default: 0)")
    add("--truncation", type=flags.finite, metavar="T", help="cut latents off at +-T")
    add("--real", type=flags.path, metavar="DIR", help="folder (or npz, npy) of real images, instead of a checkpoint")
    add("--generated", type=flags.path, metavar="DIR", help="folder (or npz, npy) of any model's images")
    add("--value_range", metavar="LOW,HIGH", help="of the stored values (default: of the integer type)")
    add("--generated_range", metavar="LOW,HIGH", help="of the generated ones, when it is another")
    add("--heldout", type=flags.path, metavar="DIR", help="reals that were never trained on (default: the data's own)")
    add(
        "--metrics",
        metavar="A,B,...",
        help=help_text() + "; with --card all that fit these samples, but learning_curve",
    )
    add(
        "--bootstrap",
        type=_draws,
        metavar="N",
        help=f"95%% intervals by N draws (default: 0, none; --card: {CARD_DRAWS})",
    )
    add("--inception_weights", type=flags.path, metavar="FILE", help="FID's Inception-v3: .pth or safetensors")
    add("--output", type=flags.path, metavar="FILE.json", help="default: in RUN/evaluation, or the current folder")
    add("--card", action="store_true", help=f"write {CARD} into RUN, or beside the JSON file")
    add("--intended_use", default="", metavar="TEXT", help="for the card: what the samples are meant for")
    add("--figures_only", action="store_true", help="as `jaxgan report RUN`: draw the run's figures and report anew")
    add("--overwrite", action="store_true", help="replace files that exist")
    return own


def _draws(text: str) -> int:
    return 0 if text == "0" else flags.whole(FEWEST_DRAWS, 100_000)(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates and prints the table, or draws a run's figures anew."""
    own = parser()
    args = own.parse_args(arguments)
    if args.figures_only:
        if args.checkpoint is None:
            raise InputError("--figures_only needs a run: give --checkpoint RUN")
        for name, value in vars(args).items():
            if name not in ("checkpoint", "figures_only") and value != own.get_default(name):
                raise InputError(f"--{name} does nothing beside --figures_only: leave it out")
        for path in redraw(args.checkpoint):
            print(path)
    else:
        use_compilation_cache()
        if args.config:
            load_config(args.config)  # For what it adds to the registries: the config is the run's own.
        evaluate_command(args)
    return 0


def evaluate_command(args: Namespace) -> tuple[Evaluation, list[Path]]:
    """Evaluates what the flags name, prints the table, writes JSON and figures.

    Args:
      args: checkpoint, step, data_dir, num_samples, seed, truncation, real, generated, value_range,
        generated_range, heldout, metrics, bootstrap, inception_weights, output, overwrite, card, intended_use.

    Returns:
      The evaluation, and the files written.

    Raises:
      InputError: anything given does not fit; nothing is written then.
    """
    metrics = None if args.metrics is None else parse_metrics(args.metrics)
    if args.intended_use and not args.card:
        raise InputError("--intended_use is for the card: give --card too, or leave it out")
    output = None if args.output is None else Path(args.output)
    if output is not None:
        check_output(output, args.overwrite)
    task = of_folders(args, output) if args.checkpoint is None else of_checkpoint(args, output)
    check_output(task.output, args.overwrite)  # Where it lies by default.
    card = (task.run_dir or task.output.parent) / CARD
    if args.card:
        # A run's own is made anew by every evaluation; any other may be somebody's.
        files.check_targets([card], args.overwrite or task.run_dir is not None)
        check_folder(card.parent, "leave --card out")
    if metrics is None:
        metrics = _for_card(task, args.inception_weights is not None) if args.card else default_metrics()
    for name in metrics:
        if reason := _obstacle(name, task):
            raise InputError(f"--metrics {name}: {reason}; or leave it out")
    wanted = needs_extractor(metrics) or ({"nearest", "privacy"} & set(metrics) and args.inception_weights is not None)
    extractor = choose_extractor(args.inception_weights) if wanted else None
    resamples = args.bootstrap if args.bootstrap is not None else CARD_DRAWS if args.card else 0
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
        resamples=resamples,
        heldout_batches=None if task.heldout is None else task.heldout.batches(),
        training_batches=None if task.training is None else task.training.batches(),
        training_fingerprint=None if task.training is None else task.training.fingerprint,
        training_size=task.training_size,
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
    print(table(evaluation), flush=True)  # First: what took hours is shown, whatever the disk says.
    written = write_report(
        evaluation, task.output, facts, task.real, task.generated, args.overwrite, training=task.training
    )
    if args.card:
        written.append(write_card(written[0], card.parent))
    if task.run_dir is not None:
        try:
            written.append(report.write_report(task.run_dir))
        except Exception as error:  # The run may be another's to write to, and its page says nothing new.
            warnings.warn(f"{task.run_dir}: its report was not drawn anew ({one_line(error)})", stacklevel=2)
    print("written: " + ", ".join(map(str, written)))
    return evaluation, written


def _for_card(task: Task, inception: bool) -> tuple[str, ...]:
    """All metrics that can be measured of these samples, but those that take long."""
    names = (name for name, metric in METRICS.items() if name not in NOT_ON_CARD and not _obstacle(name, task))
    return tuple(name for name in names if inception or "logits" not in METRICS[name].needs)


def _obstacle(name: str, task: Task) -> str | None:
    """Why a metric could only be skipped at the end, known before any work; None when it can be measured."""
    metric = METRICS[name]
    if metric.volumes and task.real.at(np.zeros(1, int)).ndim != 5:
        return "needs volumes, and these are images"
    if metric.labelled and not task.real.class_names:
        return "needs real images with classes"
    if metric.conditional and not task.conditional:
        return "needs a conditional generator, and this one takes no classes"
    if metric.critic and task.critic is None:
        return "needs the critic of a run: give --checkpoint RUN"
    if metric.critic and task.heldout is None and task.training is None:
        return "needs images that were not trained on: give --heldout DIR"
    if metric.critic and task.conditional and task.heldout is not None and not task.heldout.class_names:
        # Scored with a wrong class they would look strange to the critic, and the run overfitted.
        return "asks a critic that takes classes: give --heldout images in folders of their classes"
    return None
