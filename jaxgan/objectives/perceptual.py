"""A perceptual loss without pairs: moments of frozen features, of generated against real batches.

Generated samples have no partner among the reals, so what is compared is the mean and the variance of every feature
over a batch and its pixels (Santos et al. 2019, "Learning implicit generative models by matching perceptual features",
arXiv:1904.02762; there with moving averages over batches, here with the batch itself). The features are those of VGG16
up to its third stage; gray images are replicated to three channels, a volume is seen through its three middle slices.
The judge `fd_vgg16` looks through the same network: with this loss on, trust another metric beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.ops.conv import conv

Array = jax.Array
Features = Callable[[Array], list[Array]]
# (real [B, *S, C], fake [B, *S, C], mapped axis or None) -> scalar.
Perceptual = Callable[[Array, Array, str | None], Array]

# Convolutions of each stage that is used, and the normalisation of RGB in [-1, 1] that the weights expect.
STAGES = (2, 2, 3)
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


def as_pictures(samples: Array) -> Array:
    """`[N, *S, C]` as RGB pictures: `[N, H, W, 3]` of images, `[3 N, S, S, 3]` of cubes (their middle slices)."""
    if samples.ndim == 5:
        middle = [lax.index_in_dim(samples, samples.shape[axis] // 2, axis, keepdims=False) for axis in (1, 2, 3)]
        samples = jnp.concatenate(middle)
    if samples.shape[-1] != 3:
        samples = jnp.repeat(samples.mean(axis=-1, keepdims=True), 3, axis=-1)
    return samples


def vgg16_features(params: Mapping[str, Mapping[str, Any]], pictures: Array) -> list[Array]:
    """Activations at the end of each stage of `STAGES`, after ReLU.

    Args:
      params: `Conv_0` ... `Conv_6`, each with `kernel` `[3, 3, in, out]` and `bias` `[out]`.
      pictures: float32 `[N, H, W, 3]` in [-1, 1].
    """
    x = (pictures - jnp.asarray([[[_SHIFT]]])) / jnp.asarray([[[_SCALE]]])
    index, found = 0, []
    for stage, depth in enumerate(STAGES):
        if stage:
            x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
        for _ in range(depth):
            layer = params[f"Conv_{index}"]
            kernel, bias = (jnp.asarray(layer[part]) for part in ("kernel", "bias"))
            x = jax.nn.relu(conv(x, kernel, stride=1, padding="SAME") + bias.reshape(1, 1, 1, -1))
            index += 1
        found.append(x)
    return found


def moment_matching(features: Features, real: Array, fake: Array, axis_name: str | None = None) -> Array:
    """How far the moments of the fakes' features are from the reals', in units of the reals' variance; a scalar.

    For each layer the mean over its channels of `((mean - mean')^2 + (std - std')^2) / var`, summed over layers. Under
    a mapped axis the moments are those of the global batch, so that the number of devices changes nothing.

    Args:
      features: pictures `[N, H, W, 3]` in [-1, 1] to activations `[N, h, w, c]` of some layers.
      real: float32 `[B, *S, C]` in [-1, 1]; no gradient goes to them.
      fake: the same of the generator.
      axis_name: the mapped axis over devices, or None.
    """

    def moments(samples: Array) -> list[tuple[Array, Array]]:
        found = []
        for layer in features(as_pictures(samples)):
            first, second = layer.mean(axis=(0, 1, 2)), (layer**2).mean(axis=(0, 1, 2))
            if axis_name is not None:
                first, second = lax.pmean((first, second), axis_name)
            found.append((first, jnp.maximum(second - first**2, 0.0)))
        return found

    total = jnp.zeros(())
    for (mean, var), (fake_mean, fake_var) in zip(lax.stop_gradient(moments(real)), moments(fake), strict=True):
        # A feature that is silent on the reals has no unit of its own: the layer's gives it one.
        scale = var + 1e-2 * var.mean() + 1e-6
        spread = jnp.sqrt(fake_var + 1e-6) - jnp.sqrt(var + 1e-6)
        total += jnp.mean(((fake_mean - mean) ** 2 + spread**2) / scale)
    return total
