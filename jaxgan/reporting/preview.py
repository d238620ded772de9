"""A picture of what an augmentation does to real samples, to look at before training with it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np

from jaxgan.augment.diffaugment import augment_both
from jaxgan.augment.reals import OPERATIONS, augment
from jaxgan.config.augmentation import Augmentation, DiffAugmentation
from jaxgan.errors import InputError
from jaxgan.files import atomic_files
from jaxgan.pictures import image_grid
from jaxgan.reporting.metric_curves import new_figure
from jaxgan.reporting.sample_figures import show

_ROWS = 6


def preview(
    path: str | os.PathLike,
    images: np.ndarray,
    config: Augmentation,
    both: DiffAugmentation | None = None,
    seed: int = 0,
) -> Path:
    """Draws a few samples, each operation alone on them, and twice all together as the critic sees reals.

    An operation stands alone with probability 1, so that its strength shows; "all" has the probabilities of training,
    an adaptive one at its highest.

    Args:
      path: PNG file, replaced if it exists.
      images: float32 in [-1, 1], `[N, H, W, C]` or `[N, D, H, W, C]`; the first 6 are shown.
      config: the augmentation of the reals.
      both: that of reals and fakes, if any.
      seed: seed of the key.

    Returns:
      the path.

    Raises:
      InputError: no operation is on, or one does not fit the images.
    """
    import jax
    import jax.numpy as jnp

    both = both or DiffAugmentation()
    if not config.active and not both.policy:
        raise InputError(
            f"no augmentation is on: set config.augment.{next(iter(OPERATIONS))} or another above 0,"
            " or config.diffaugment.policy=color"
        )
    images = np.asarray(images[:_ROWS], np.float32)
    columns = {"real": images}
    pixels = jnp.asarray(images)
    key = jax.random.key(seed)
    off = dict.fromkeys(OPERATIONS, 0.0)
    for name in config.active:
        alone = dataclasses.replace(config, **{**off, name: 1.0})
        columns[name] = np.asarray(augment(key, pixels, alone))
    keys = jax.random.split(key, len(images))
    for name in both.policy:
        columns[f"both: {name}"] = np.asarray(augment_both((name,), 1.0, keys, pixels))
    probability = both.highest if both.adaptive else both.probability
    for name in ("all", "all, again"):
        key, used = jax.random.split(key)
        keys = jax.random.split(used, len(images))
        columns[name] = np.asarray(augment_both(both.policy, probability, keys, augment(used, pixels, config)))
    height, width, _ = image_grid(images, columns=1).shape
    figure = new_figure(1.5 * len(columns), 0.3 + 1.5 * height / width)
    panels = figure.subplots(1, len(columns), squeeze=False).ravel()
    for axes, (name, samples) in zip(panels, columns.items(), strict=True):
        axes.set_axis_off()
        show(axes, image_grid(samples, columns=1))
        axes.set_title(name, fontsize="medium")
    with atomic_files([path], overwrite=True) as (temporary,):
        figure.savefig(temporary, format="png")
    return Path(path)
