"""Everything that can be known to be wrong before hours are spent."""

from __future__ import annotations

import warnings

import numpy as np

from jaxgan import parallel
from jaxgan.config import Config
from jaxgan.config.presets import load_config, title
from jaxgan.config.timetable import Timetable
from jaxgan.data.dataset import Dataset
from jaxgan.errors import InputError, way_out
from jaxgan.evaluation import Evaluator, higher_is_better
from jaxgan.gan.step import METRICS
from jaxgan.training.frozen import perceptual_features
from jaxgan.training.schedule import length_of

# Real images shown to the critic in a whole run, below which samples hardly look like anything.
FEW_IMAGES = 20_000
# Or less than this share of what the preset would show.
FEW_OF_PRESET = 0.5
# A set is dark if all but a hundredth of its pixels lie in so little of its range, and three quarters in so much less.
_DARK, _DARKER = 0.4, 0.1
# How many samples tell that, and how many values of each.
_LOOKED_AT, _VALUES = 32, 100_000


def check_fit(config: Config, dataset: Dataset, preset: str = "") -> Evaluator | None:
    """Everything that can be known to be wrong before hours are spent; returns the evaluator, if one is wanted.

    Args:
      config: what to train.
      dataset: the reals.
      preset: what `config` was before settings were changed, by name or file: says how long a run is meant to be.
    """
    settings = config.train
    for _, batch_size in Timetable.of(config).layouts:
        parallel.check_batch_size(batch_size, settings.accumulate, group=config.critic.minibatch_std)
    if tuple(dataset.shape) != config.data.shape:
        raise InputError(
            f"the data of {dataset.name} have shape {list(dataset.shape)} but the config asks for"
            f" {list(config.data.shape)}: set config.data.size, channels and spatial_rank, or prepare the data anew"
        )
    if not dataset.trainable:
        raise InputError(f"{dataset.name} holds samples that were held out from training: open its split 'train'")
    if config.data.labelled and not dataset.num_classes:
        raise InputError(f"config.data.labelled=True but {dataset.name} has no labels: give labelled data")
    perceptual_features(config)  # Its weights are there, or this says how to get them.
    evaluator = None
    if config.evaluate.metrics:
        wanted, weights = config.evaluate, config.evaluate.inception_weights or None
        # Copies are copies of training data; every other metric is fairer on what was not trained on.
        evaluator = Evaluator(
            dataset.held_out or dataset,
            wanted.metrics,
            wanted.num_samples,
            inception_weights=weights,
            seed=config.seed,
            training=None if dataset.held_out is None else dataset,
            conditional=config.critic.conditioning != "none",
        )
    evaluated = evaluator.names if evaluator else ()
    logged = (*METRICS, *_of_this_game(config), *evaluated)
    if settings.best_metric and settings.best_metric not in logged:
        raise InputError(
            f"config.train.best_metric={settings.best_metric!r} is not logged: {way_out(settings.best_metric, logged)}"
        )
    direction = "max" if settings.best_metric in evaluated and higher_is_better(settings.best_metric) else "min"
    if settings.best_metric in evaluated and settings.best_direction != direction:
        raise InputError(
            f"config.train.best_direction={settings.best_direction!r}: of {settings.best_metric} the"
            f" {'highest' if direction == 'max' else 'lowest'} is best: set it to {direction}"
        )
    for warning in (*config.warnings(), *_doubts(config, dataset, preset)):
        warnings.warn(warning, stacklevel=3)
    return evaluator


def _of_this_game(config: Config) -> list[str]:
    """What is logged beside `METRICS`."""
    objective, adaptive = config.objective.resolved(), config.diffaugment.adaptive
    logged = {
        "accuracy": config.critic.conditioning == "auxiliary",
        "r1_penalty": objective.r1_weight > 0,
        "perceptual_loss": objective.perceptual_weight > 0,
        "score_sign": adaptive,
        "augment_p": adaptive,
    }
    return [name for name, whether in logged.items() if whether]


def _of_the_best(config: Config, dataset: Dataset) -> list[str]:
    """What the best model and the end of the run are judged by."""
    patience, metric, every = (
        config.train.early_stopping_patience,
        config.train.best_metric,
        config.evaluate.every_images,
    )
    if metric in METRICS:
        return [
            f"config.train.best_metric={metric}: no training metric measures quality, and the lowest loss is often that"
            " of the first epochs, whose model 'best' then is: sample with --step latest, or choose a metric of"
            " config.evaluate.metrics"
        ]
    if metric and 0 < patience * dataset.size < 2 * every:
        return [
            f"config.train.early_stopping_patience={patience} epochs are {patience * dataset.size:,} images, and one"
            f" evaluation comes every {every:,}: the first that is not better ends the run; give"
            f" {-(-5 * every // dataset.size)} or more"
        ]
    return []


def _doubts(config: Config, dataset: Dataset, preset: str) -> list[str]:
    """What runs, but seldom to anybody's joy."""
    found = []
    steps = len(config.generator.widths)
    if config.data.size >> steps == 1:
        found.append(
            f"config.generator.widths: {steps} widths start {config.data.size} pixels from a map of one; generators"
            f" like this often make the same sample from every latent: give {steps - 1}"
        )
    if config.data.labelled and dataset.labels is not None:
        empty = np.flatnonzero(np.bincount(dataset.labels, minlength=dataset.num_classes) == 0)
        if len(empty):
            found.append(
                f"{len(empty)} of the {dataset.num_classes} classes of {dataset.name} have no image (the first:"
                f" {dataset.class_names[empty[0]]!r}), yet the generator will be asked for them: renumber the labels"
            )
    schedule, total = length_of(config, dataset.size)
    timetable, shown = Timetable.of(config), schedule.images(total)
    grown = timetable.begins[-1] + timetable.fades[-1]
    if total <= grown:
        found.append(
            f"the run ends in stage {timetable.part(total - 1) + 1} of {len(timetable.layouts)}, after {shown:,}"
            f" images; its networks have the full side after {timetable.images(grown):,}: raise config.train.epochs, or"
            " lower config.growing.hold_images and fade_images"
        )
    if config.evaluate.metrics and shown < config.evaluate.every_images:
        found.append(
            f"config.evaluate.every_images={config.evaluate.every_images}: the whole run shows {shown:,} images, so"
            " nothing will be evaluated: lower it"
        )
    found += [*_of_the_best(config, dataset), *_of_the_values(config, dataset)]
    meant = _shown(load_config(preset), dataset) if preset else 0
    few = ""
    if shown < FEW_OF_PRESET * meant:
        few = f"{100 * shown / meant:.2g}% of the {meant:,} that {title(preset)} is made for"
    elif shown < FEW_IMAGES:  # Also where the preset counts epochs, and the data are few.
        few = f"few for a GAN (below {FEW_IMAGES:,})"
    if few:
        found.append(
            f"the whole run shows the critic {shown:,} images, {few}: raise config.train.epochs or"
            " config.train.iterations"
        )
    return found


def _of_the_values(config: Config, dataset: Dataset) -> list[str]:
    """Whether they use the range that the networks see."""
    if config.data.stretch != "none":
        return []
    values = []
    for number in np.unique(np.linspace(0, dataset.size - 1, _LOOKED_AT).astype(np.int64)):
        pixels = dataset.read(number[None]).reshape(-1, config.data.channels)
        values.append(pixels[:: -(-pixels.size // _VALUES)])
    shares = (dataset.scaling.decode(np.concatenate(values)) + 1.0) / 2.0
    many, most, highest = (float(share) for share in np.percentile(shares, (75, 99, 100)))
    # They are NaN where a value is; all are 0 of masks whose foreground was not looked at.
    if 0 < highest <= _DARK and dataset.scaling.policy != "fixed":
        # A single hot pixel elsewhere may be the set's largest value.
        other = "percentile" if dataset.scaling.policy == "minmax" else "minmax or percentile"
        return [
            f"the values of {len(values)} samples of {dataset.name} reach {100 * highest:.2g}% of the range that"
            f" networks see: give --config.data.scaling={other}, or prepare with it"
        ]
    if not (0 < most <= _DARK and many <= _DARKER):
        return []
    found = (
        f"99% of the pixels of {dataset.name} lie in the darkest {100 * most:.2g}% of its range, where a"
        " generator hardly tells them apart: --config.data.stretch=sqrt shows networks their roots (docs/quality.md)"
    )
    if most <= _DARKER:
        found += ", and scaling=percentile leaves out the few bright pixels if they mean nothing"
    return [found]


def _shown(config: Config, dataset: Dataset) -> int:
    """Real images that the critic is shown in a whole run."""
    schedule, total = length_of(config, dataset.size)
    return schedule.images(total)
