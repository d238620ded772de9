"""A trained generator from its checkpoint, and samples from it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan.config import Config
from jaxgan.data.scaling import Scaling
from jaxgan.errors import ArgumentError, InputError, way_out
from jaxgan.gan.build import build_gan
from jaxgan.gan.game import GAN
from jaxgan.gan.growth import Growth
from jaxgan.gan.state import ApplyFn, GANState
from jaxgan.gan.stretch import STRETCHES, Stretch
from jaxgan.inference.exported import fill, is_export, read_export
from jaxgan.inference.locations import locate
from jaxgan.inference.sampling import batch_size_for, generate, interpolate, latents
from jaxgan.runs.checkpoint import Checkpoints, DamagedCheckpoint, into_state
from jaxgan.runs.checkpoint_folder import find


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A generator ready to sample: the moving average of its weights.

    Attributes:
      config: of the run.
      scaling: how [-1, 1] maps to the original units.
      class_names: one a class; empty when the generator takes no labels.
      step: iterations it was trained for.
      name: of the run.
      run_dir: the run's folder, or that of an exported generator.
      data_fingerprint: of the data it was trained on.
      affine: 4x4 matrix from array indices to RAS+ world coordinates of volumes, or None.
      spacing: mm along each spatial axis, or None where it is not known.
      generator: the network as a pure function.
      params: its averaged parameters.
      stats: its averaged running statistics.
      critic: the critic that it was trained against, with its parameters and running statistics; None of an exported
        generator, which has none.
    """

    config: Config
    scaling: Scaling
    class_names: tuple[str, ...]
    step: int
    name: str
    run_dir: Path
    data_fingerprint: str
    affine: np.ndarray | None
    spacing: tuple[float, ...] | None
    generator: ApplyFn
    params: Any
    stats: Any
    critic: tuple[ApplyFn, Any, Any] | None

    @property
    def stretch(self) -> Stretch | None:
        """What was done to the values that the networks were trained on; undone in samples."""
        return STRETCHES.get(self.config.data.stretch)


def load_trained_model(path: str | os.PathLike, step: str | int = "best") -> TrainedModel:
    """The generator of a checkpoint, or an exported one.

    Args:
      path: a run's folder, its `checkpoints` folder, or one step's folder in it; a folder that `jaxgan export` wrote,
        `demo:NAME` or `hf://ORGANISATION/NAME[@REVISION]`.
      step: "best" (by the run's `best_metric`; the latest while no epoch has ended), "latest", or a step number.

    Raises:
      InputError: no such run, model or step, or no readable checkpoint.

    Example:
      >>> model = load_trained_model("runs/digits", step="latest")
      >>> model.step, model.scaling.low, model.scaling.high
      (1, 0.0, 255.0)
    """
    folder = locate(path)
    if is_export(folder):
        return _load_export(folder, step)
    run_dir, number, best = find(folder, step)
    with Checkpoints(run_dir) as checkpoints:
        if number is None:
            number, arrays, record = checkpoints.read_newest()
            wanted = record["progress"]["best_step"]
            if best and wanted in checkpoints.steps() and wanted != number:
                number, arrays, record = checkpoints.read_newest(at_most=wanted)
        else:
            try:
                arrays, record = checkpoints.read(number)
            except DamagedCheckpoint as error:
                raise InputError(
                    f"{checkpoints.directory / str(number)} is damaged: {error}; choose another --step"
                ) from None
    config = Config.from_record(record["config"])
    class_names = tuple(record["data"]["class_names"])
    gan, shapes = networks(config, len(class_names))
    critic = gan.critic
    if gan.growth is not None and gan.of_stage is not None:
        critic = gan.of_stage(gan.growth.stage(max(0, number - 1)))["critic"]
    state = into_state(arrays, shapes)
    affine, spacing = record["data"]["affine"], record["data"].get("spacing")
    return TrainedModel(
        config=config,
        scaling=Scaling.from_dict(record["data"]["scaling"]),
        class_names=class_names if config.critic.conditioning != "none" else (),
        step=number,
        name=run_dir.resolve().name,  # That of "." is empty.
        run_dir=run_dir,
        data_fingerprint=record["data"]["fingerprint"],
        affine=None if affine is None else np.asarray(affine),
        spacing=None if spacing is None else tuple(spacing),
        generator=gan.generator,
        params=state.ema_params,
        stats=state.ema_stats,
        critic=(critic, state.critic.params, state.critic.stats),
    )


def networks(config: Config, num_classes: int, platform: str | None = None) -> tuple[GAN, GANState]:
    """The game that a config asks for and the shapes of its state; arguments as of `build_gan`, nothing is computed."""
    gan: GAN  # set by build

    def build() -> GANState:
        nonlocal gan
        gan, state = build_gan(config, num_classes, platform=platform)
        return state

    shapes = jax.eval_shape(build)
    return gan, shapes


def _load_export(folder: Path, step: str | int) -> TrainedModel:
    exported = read_export(folder)
    if str(step) not in ("best", "latest", str(exported.step)):
        raise ArgumentError("step", step, f": {folder} is an exported generator of step {exported.step} alone")
    gan, shapes = networks(exported.config, len(exported.class_names))
    weights = fill({"params": shapes.ema_params, "stats": shapes.ema_stats}, exported)
    return TrainedModel(
        config=exported.config,
        scaling=exported.scaling,
        class_names=exported.class_names,
        step=exported.step,
        name=exported.name,
        run_dir=folder,
        data_fingerprint=exported.data_fingerprint,
        affine=exported.affine,
        spacing=exported.spacing,
        generator=gan.generator,
        params=weights["params"],
        stats=weights["stats"],
        critic=None,
    )


def generate_samples(
    model: TrainedModel,
    n: int,
    labels: Sequence[int | str] | None = None,
    seed: int = 0,
    truncation: float | None = None,
    progress: bool = False,
) -> np.ndarray:
    """New samples, float32 `[n, *S, C]` in [-1, 1]; `model.scaling.restore` gives them in the original units.

    The same model, seed and n give the same bytes on the same device, and sample i does not depend on n.

    Args:
      model: from `load_trained_model`.
      n: how many, at least 1.
      labels: classes to make, by number or name, repeated in order up to n; None: all classes in turn. Conditional
        models only.
      seed: of the latents.
      truncation: cut latents off at +-truncation; None: not cut.
      progress: shows progress on stderr.

    Raises:
      InputError: n below 1, labels that the model does not have, a truncation of 0 or less.

    Example:
      >>> samples = generate_samples(load_trained_model("runs/digits"), 3, seed=1)
      >>> samples.shape, samples.dtype
      ((3, 28, 28, 1), dtype('float32'))
    """
    if n < 1:
        raise ArgumentError("n", n, " is not valid: ask for at least 1", flag="--num_samples")
    _check_seed(seed)
    if truncation is not None and not truncation > 0:
        raise ArgumentError("truncation", truncation, " is not valid: give a value above 0")
    z = latents(seed, n, model.config.generator.latent_dim, truncation)
    return _samples(model, z, sample_labels(model, n, labels), progress)


def critic_scores(model: TrainedModel, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
    """The critic's scores of images, float32 `[N]`, higher for what it takes for real.

    Args:
      model: from `load_trained_model`.
      images: `[N, *S, C]` in [-1, 1].
      labels: classes `[N]`; conditional models only.

    Raises:
      InputError: the critic of a growing network is not yet at the full side, or the model is an exported one.
    """
    if model.critic is None:
        raise InputError(f"{model.run_dir}: is an exported generator, without its critic: give the run")
    apply, params, stats = model.critic
    growth = Growth.of(model.config)
    if growth is not None and growth.stage(max(0, model.step - 1)) < growth.stages - 1:
        raise InputError(f"{model.run_dir}: its critic has not yet grown to the full side at step {model.step}")
    labels = None if labels is None or not model.class_names else np.asarray(labels, np.int32)
    size, parts = min(64, len(images)), []
    for start in range(0, len(images), size):
        # The last batch is filled up with the first images: a critic may compare the samples of a batch.
        rows = np.arange(start, start + size) % len(images)
        chosen = None if labels is None else labels[rows]
        parts.append(np.asarray(_score(apply, model.stretch, params, stats, images[rows], chosen)))
    return np.concatenate(parts)[: len(images)]


@partial(jax.jit, static_argnums=(0, 1))
def _score(
    critic: ApplyFn, stretch: Stretch | None, params: Any, stats: Any, images: jax.Array, labels: jax.Array | None
) -> jax.Array:
    images = images if stretch is None else stretch.forward(images)
    (scores, _), _ = critic(params, stats, images, labels, train=False)
    return scores


def generate_interpolation(
    model: TrainedModel, num_steps: int, label: int | str | None = None, seed: int = 0, spherical: bool = True
) -> np.ndarray:
    """Samples along the way between two latents, float32 `[num_steps, *S, C]` in [-1, 1].

    Args:
      model: from `load_trained_model`.
      num_steps: at least 2, both ends included.
      label: the class of all of them; None: the first class. Conditional models only.
      seed: of the two latents.
      spherical: along the great circle, else along the straight line.

    Raises:
      InputError: fewer than 2 steps, or a label that the model does not have.

    Example:
      >>> generate_interpolation(load_trained_model("runs/digits"), num_steps=5).shape
      (5, 28, 28, 1)
    """
    _check_seed(seed)
    ends = latents(seed, 2, model.config.generator.latent_dim)
    default = 0 if model.class_names else None
    label = default if label is None else label
    labels = sample_labels(model, num_steps, None if label is None else [label])
    return _samples(model, interpolate(ends[0], ends[1], num_steps, spherical), labels)


def label_numbers(labels: Sequence[int | str], class_names: Sequence[str]) -> list[int]:
    """Classes by number, or by name or number as text, as numbers; where names are numbers themselves, text is a name.

    Raises:
      InputError: there are no classes, or not this one; with the nearest name.
    """
    if not class_names:
        raise ArgumentError("labels", "", ": this model was trained without classes; leave them out")
    known = {name: i for i, name in enumerate(class_names)}
    if not any(re.fullmatch(r"-?\d+", name) for name in class_names):
        known |= {str(i): i for i in range(len(class_names))}
    numbers = []
    for label in labels:
        text = str(label).strip()
        if isinstance(label, str) and text not in known:
            raise ArgumentError("labels", repr(text), f" is not valid: {way_out(text, class_names)}")
        numbers.append(known[text] if isinstance(label, str) else int(label))
    return numbers


def sample_labels(model: TrainedModel, n: int, labels: Sequence[int | str] | None = None) -> np.ndarray | None:
    """The class of each of n samples, int32 `[n]`, or None for an unconditional model.

    Raises:
      InputError: labels for a model without classes, or outside them.
    """
    if labels is None and not model.class_names:
        return None
    classes = len(model.class_names)
    chosen = list(range(classes)) if labels is None else label_numbers(labels, model.class_names)
    wrong = [label for label in chosen if not 0 <= label < classes]
    if wrong or not chosen:
        names = ", ".join(f"{i}={name}" for i, name in enumerate(model.class_names))
        given = ",".join(map(str, wrong)) or "empty"
        raise ArgumentError("labels", given, f" is not valid: the classes are {names}")
    return np.resize(np.asarray(chosen, np.int32), n)


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**31:
        raise ArgumentError("seed", seed, " is not valid: give 0 to 2**31 - 1")


def _samples(model: TrainedModel, z: jax.Array, labels: np.ndarray | None, progress: bool = False) -> np.ndarray:
    batch_size = batch_size_for(model.config.data.shape)
    parts = model.generator, model.params, model.stats
    return generate(*parts, z, labels, batch_size, progress, model.stretch)
