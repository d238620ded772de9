"""The Inception-v3 of FID: the network of 2015-12-05, with the habits of its TensorFlow graph, in Flax."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict

from jaxgan import files
from jaxgan.errors import InputError
from jaxgan.evaluation.networks.resize import resize_tf1
from jaxgan.evaluation.networks.weights import read_tensors, sha256

SIDE = 299
CLASSES = 1008


class Conv(nn.Module):
    """Convolution and ReLU; the batch normalisation of the published network is folded into the kernel and bias."""

    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    same: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, H, W, C]` to `[N, H', W', width]`."""
        padding = [(k // 2, k // 2) if self.same else (0, 0) for k in self.kernel]
        highest = jax.lax.Precision.HIGHEST
        x = nn.Conv(self.width, self.kernel, self.stride, padding, precision=highest, name="conv")(x)
        return nn.relu(x)


def _average(x: jax.Array) -> jax.Array:
    """3x3 mean that leaves the padding out of the count, as TensorFlow's does."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _reduce(x: jax.Array) -> jax.Array:
    return nn.max_pool(x, (3, 3), (2, 2), "VALID")


class BlockA(nn.Module):
    """35x35 block."""

    pool_width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, 35, 35, C]` to `[N, 35, 35, 224 + pool_width]`."""
        a = Conv(64, name="branch1x1")(x)
        b = Conv(48, name="branch5x5_1")(x)
        b = Conv(64, (5, 5), name="branch5x5_2")(b)
        c = Conv(64, name="branch3x3dbl_1")(x)
        c = Conv(96, (3, 3), name="branch3x3dbl_2")(c)
        c = Conv(96, (3, 3), name="branch3x3dbl_3")(c)
        d = Conv(self.pool_width, name="branch_pool")(_average(x))
        return jnp.concatenate([a, b, c, d], axis=-1)


class BlockB(nn.Module):
    """35x35 to 17x17."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, 35, 35, C]` to `[N, 17, 17, C + 480]`."""
        a = Conv(384, (3, 3), 2, same=False, name="branch3x3")(x)
        b = Conv(64, name="branch3x3dbl_1")(x)
        b = Conv(96, (3, 3), name="branch3x3dbl_2")(b)
        b = Conv(96, (3, 3), 2, same=False, name="branch3x3dbl_3")(b)
        return jnp.concatenate([a, b, _reduce(x)], axis=-1)


class BlockC(nn.Module):
    """17x17 block of factorised 7x7 convolutions."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, 17, 17, 768]` to the same shape."""
        a = Conv(192, name="branch1x1")(x)
        b = Conv(self.width, name="branch7x7_1")(x)
        b = Conv(self.width, (1, 7), name="branch7x7_2")(b)
        b = Conv(192, (7, 1), name="branch7x7_3")(b)
        c = Conv(self.width, name="branch7x7dbl_1")(x)
        c = Conv(self.width, (7, 1), name="branch7x7dbl_2")(c)
        c = Conv(self.width, (1, 7), name="branch7x7dbl_3")(c)
        c = Conv(self.width, (7, 1), name="branch7x7dbl_4")(c)
        c = Conv(192, (1, 7), name="branch7x7dbl_5")(c)
        d = Conv(192, name="branch_pool")(_average(x))
        return jnp.concatenate([a, b, c, d], axis=-1)


class BlockD(nn.Module):
    """17x17 to 8x8."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, 17, 17, 768]` to `[N, 8, 8, 1280]`."""
        a = Conv(192, name="branch3x3_1")(x)
        a = Conv(320, (3, 3), 2, same=False, name="branch3x3_2")(a)
        b = Conv(192, name="branch7x7x3_1")(x)
        b = Conv(192, (1, 7), name="branch7x7x3_2")(b)
        b = Conv(192, (7, 1), name="branch7x7x3_3")(b)
        b = Conv(192, (3, 3), 2, same=False, name="branch7x7x3_4")(b)
        return jnp.concatenate([a, b, _reduce(x)], axis=-1)


class BlockE(nn.Module):
    """8x8 block; the published graph pools by mean in the first and by MAXIMUM in the second."""

    maximum: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps `[N, 8, 8, C]` to `[N, 8, 8, 2048]`."""
        a = Conv(320, name="branch1x1")(x)
        b = Conv(384, name="branch3x3_1")(x)
        b = [Conv(384, (1, 3), name="branch3x3_2a")(b), Conv(384, (3, 1), name="branch3x3_2b")(b)]
        c = Conv(448, name="branch3x3dbl_1")(x)
        c = Conv(384, (3, 3), name="branch3x3dbl_2")(c)
        c = [Conv(384, (1, 3), name="branch3x3dbl_3a")(c), Conv(384, (3, 1), name="branch3x3dbl_3b")(c)]
        pooled = nn.max_pool(x, (3, 3), (1, 1), "SAME") if self.maximum else _average(x)
        d = Conv(192, name="branch_pool")(pooled)
        return jnp.concatenate([a, *b, *c, d], axis=-1)


class InceptionV3(nn.Module):
    """Maps uint8 images, as float `[N, H, W, 3]` in 0..255, to the five outputs that evaluations use."""

    @nn.compact
    def __call__(self, x: jax.Array) -> dict[str, jax.Array]:
        """Returns `64`, `192`, `768`, `2048`: `[N, that]` spatial means, and `logits_unbiased` `[N, 1008]`."""
        outputs = {}
        x = (resize_tf1(x, SIDE) - 128.0) / 128.0
        x = Conv(32, (3, 3), 2, same=False, name="Conv2d_1a_3x3")(x)
        x = Conv(32, (3, 3), same=False, name="Conv2d_2a_3x3")(x)
        x = _reduce(Conv(64, (3, 3), name="Conv2d_2b_3x3")(x))
        outputs["64"] = x.mean(axis=(1, 2))
        x = Conv(80, name="Conv2d_3b_1x1")(x)
        x = _reduce(Conv(192, (3, 3), same=False, name="Conv2d_4a_3x3")(x))
        outputs["192"] = x.mean(axis=(1, 2))
        for name, pool_width in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
            x = BlockA(pool_width, name=name)(x)
        x = BlockB(name="Mixed_6a")(x)
        for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
            x = BlockC(width, name=name)(x)
        outputs["768"] = x.mean(axis=(1, 2))
        x = BlockD(name="Mixed_7a")(x)
        x = BlockE(False, name="Mixed_7b")(x)
        x = BlockE(True, name="Mixed_7c")(x)
        outputs["2048"] = x = x.mean(axis=(1, 2))
        # FID's own graph never adds the bias; the Inception Score is defined on these logits.
        dense = nn.Dense(CLASSES, use_bias=False, precision=jax.lax.Precision.HIGHEST, name="fc")
        outputs["logits_unbiased"] = dense(x)
        return outputs


def _expected_shapes() -> dict[str, tuple[int, ...]]:
    """Shape of every parameter by dotted name, e.g. `Mixed_5b.branch1x1.conv.kernel`."""
    network = jax.eval_shape(InceptionV3().init, jax.random.key(0), jax.ShapeDtypeStruct((1, 8, 8, 3), jnp.float32))
    leaves = jax.tree_util.tree_flatten_with_path(network["params"])[0]
    return {".".join(key.key for key in path): leaf.shape for path, leaf in leaves}


def _fold(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's tensors to this network's: batch normalisation folded (epsilon 0.001), kernels `[h, w, in, out]`."""
    folded = {}
    for name in (key.removesuffix(".conv.weight") for key in tensors if key.endswith(".conv.weight")):
        weight, gamma, beta, mean, var = (
            tensors[f"{name}.{part}"].astype(np.float64)
            for part in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        scale = gamma / np.sqrt(var + 0.001)
        folded[f"{name}.conv.kernel"] = (weight * scale[:, None, None, None]).transpose(2, 3, 1, 0)
        folded[f"{name}.conv.bias"] = beta - mean * scale
    folded["fc.kernel"] = tensors["fc.weight"].T
    return {name: np.ascontiguousarray(value, np.float32) for name, value in folded.items()}


def _check(path: Path, tensors: dict[str, np.ndarray]) -> None:
    expected = _expected_shapes()
    found = {name: value.shape for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"{path} does not hold the Inception-v3 of FID ({name}: expected shape {expected.get(name, 'none')}, "
                f"found {found.get(name, 'none')}): give the weights known as inception-2015-12-05-6726825d.pth"
            )
    if not all(np.isfinite(value).all() for value in tensors.values()):
        raise InputError(f"{path} holds values that are not finite: fetch the weights again")


def load_inception(path: str | Path, cache_folder: Path | None = None) -> tuple[dict[str, Any], str]:
    """Variables of `InceptionV3` from a user's file, converted once to safetensors in the cache.

    Args:
      path: the published `.pth`, or safetensors in its layout or in ours.
      cache_folder: defaults to `files.cache_folder()`.

    Returns:
      The variables, and the SHA-256 of the user's file.

    Raises:
      InputError: the file is missing, damaged, carries code, or holds another network.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"--inception_weights {path} does not exist: give the path of a .pth or .safetensors file")
    digest = sha256(path)
    folder = files.cache_folder() if cache_folder is None else Path(cache_folder)
    converted = folder / "weights" / f"inception-{digest}.safetensors"
    if converted.is_file():
        # A damaged copy is made again below.
        with contextlib.suppress(InputError):
            tensors = read_tensors(converted)
            _check(converted, tensors)
            return {"params": unflatten_dict(tensors, sep=".")}, digest
    tensors = read_tensors(path)
    if "fc.weight" in tensors:
        try:
            tensors = _fold(tensors)
        except (KeyError, ValueError) as error:
            raise InputError(
                f"{path} does not hold the Inception-v3 of FID (at {error}): give the weights known as "
                "inception-2015-12-05-6726825d.pth"
            ) from None
    _check(path, tensors)
    from safetensors.numpy import save_file

    files.write_cache(converted, lambda temporary: save_file(tensors, temporary))
    return {"params": unflatten_dict(tensors, sep=".")}, digest
