"""A perceptual loss without pairs: moments of frozen features, of generated against real batches.

Generated samples have no partner among the reals, so what is compared is the mean and the covariance of the features
over a batch and its pixels (Santos et al. 2019, "Learning implicit generative models by matching perceptual features",
arXiv:1904.02762; there means and variances, in moving averages over batches). The features are those of VGG16
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
    """How far mean and covariance of the fakes' features are from the reals', a scalar without a unit.

    The covariance is compared by its parts, standard deviations and correlations, for correlations are bounded: early
    fakes, whose variance may be a hundred times too large, do not drown the game. For each layer the mean over its
    channels i of `((mean_i - mean_i')^2 + (std_i - std_i')^2) / var_i + sum_j (corr_ij - corr_ij')^2`, summed over
    layers. Under a mapped axis the moments are those of the global batch: the number of devices changes nothing.
    A correlation over `n` pixels is known to `1 / sqrt(n)`, so even of the same distribution the last term is about
    `2 c / n`: it is worth something where a batch has many more pixels in a layer than the layer has channels.

    Args:
      features: pictures `[N, H, W, 3]` in [-1, 1] to activations `[N, h, w, c]` of some layers.
      real: float32 `[B, *S, C]` in [-1, 1]; no gradient goes to them.
      fake: the same of the generator.
      axis_name: the mapped axis over devices, or None.
    """
    total = jnp.zeros(())
    real_layers = [_moments(layer, axis_name) for layer in features(as_pictures(lax.stop_gradient(real)))]
    fake_layers = [_moments(layer, axis_name) for layer in features(as_pictures(fake))]
    for (mean, cov), (fake_mean, fake_cov) in zip(real_layers, fake_layers, strict=True):
        var, fake_var = jnp.diagonal(cov), jnp.diagonal(fake_cov)
        # A feature that is silent has no unit of its own: the layer's gives it one.
        floor = 1e-2 * var.mean() + 1e-6
        spread = jnp.sqrt(fake_var + 1e-6) - jnp.sqrt(var + 1e-6)
        total += jnp.mean(((fake_mean - mean) ** 2 + spread**2) / (var + floor))
        apart = _correlations(fake_cov, floor) - _correlations(cov, floor)
        total += jnp.mean(jnp.sum(apart**2, axis=1) - jnp.diagonal(apart) ** 2)
    return total


def _moments(layer: Array, axis_name: str | None) -> tuple[Array, Array]:
    """Mean `[c]` and covariance `[c, c]` of activations `[N, h, w, c]` over the batch of all devices and its pixels."""
    rows = layer.reshape(-1, layer.shape[-1])
    mean = rows.mean(axis=0)
    if axis_name is not None:
        mean = lax.pmean(mean, axis_name)
    # Centred before the product: the difference of two large moments would be mostly rounding.
    centred = rows - mean[None]
    cov = jnp.matmul(centred.T, centred, precision=lax.Precision.HIGHEST) / rows.shape[0]
    return mean, cov if axis_name is None else lax.pmean(cov, axis_name)


def _correlations(cov: Array, floor: Array) -> Array:
    """`[c, c]`, in units of standard deviations that are not below the root of `floor`."""
    scale = lax.rsqrt(jnp.diagonal(cov) + floor)
    return cov * scale[:, None] * scale[None, :]
