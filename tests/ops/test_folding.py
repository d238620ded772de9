"""Folded columns: the same three maps, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.ops import folding, lowering_native
from jaxgan.ops.conv import conv
from jaxgan.ops.geometry import Geometry

# size, kernel, stride, padding, channels, features, and how many columns fold
CASES = [
    ((8, 16), (4, 4), 2, "SAME", 1, 5, 8),
    ((6, 16), (4, 4), 2, "SAME", 3, 5, 8),
    ((5, 24), (3, 3), 1, "SAME", 1, 5, 8),
    ((5, 16), (3, 3), 1, "SAME", 31, 3, 4),
    ((4, 16), (5, 7), (1, 4), "SAME", 2, 50, 8),
    ((4, 16), (3, 12), (2, 2), ((1, 1), (9, 1)), 32, 5, 4),
    ((4, 5, 8), (4, 4, 4), 2, "SAME", 1, 5, 8),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_folded_maps_are_the_maps(case, monkeypatch):
    monkeypatch.setattr(folding, "LEAST_PIXELS", 1)
    size, kernel, stride, padding, channels, features, columns = case
    with jax.enable_x64(True):
        geometry = Geometry.resolve(size, kernel, stride, padding)
        assert folding.fold(geometry, channels, features) == columns
        rng = np.random.default_rng(0)
        x, w, g = (
            jnp.asarray(rng.normal(size=shape))
            for shape in ((2, *size, channels), (*kernel, channels, features), (2, *geometry.output, features))
        )
        for name, operands in {"C": (x, w), "Cx": (g, w), "Cw": (x, g)}.items():
            expected = lowering_native.MAPS[name](geometry, *operands)
            got = folding.compute_folded(lowering_native.MAPS, name, geometry, columns, *operands)
            assert got.shape == expected.shape and got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * float(jnp.abs(expected).max()))


def test_columns_fill_the_lanes_of_large_images_that_divide():
    def columns(size, channels, features, stride=2, kernel=4, padding="SAME"):
        geometry = Geometry.resolve(size, (kernel,) * len(size), stride, padding)
        return folding.fold(geometry, channels, features)

    assert columns((256, 256), 1, 32) == columns((256, 256), 3, 32) == columns((64, 64, 64), 1, 32) == 8
    assert columns((128, 128), 32, 64) == 4 and columns((64, 64), 64, 128) == columns((64, 64), 128, 256) == 1
    assert columns((64, 64), 3, 32) == 1 and columns((32, 32, 32), 1, 16) == 8
    assert columns((256, 256), 16, 16, 1, 3) == columns((256, 256), 16, 3, 1, 3) == 8
    assert columns((28, 28), 1, 32) == columns((100, 100), 1, 32) == columns((256, 256), 1, 32, padding="VALID") == 1


@pytest.mark.parametrize(("channels", "features", "folded"), [(1, 8, True), (8, 3, True), (130, 8, False)])
def test_a_tpu_is_given_folded_layers_and_only_it(channels, features, folded):
    """Of few channels in or out; and what adds weights up is not rounded to bfloat16, as a TPU does unasked."""
    x, w = jnp.zeros((2, 128, 128, channels)), jnp.zeros((4, 4, channels, features))
    traced = jax.jit(jax.grad(lambda w, x: (conv(x, w, stride=2) ** 2).sum(), (0, 1))).trace(w, x)
    of_tpu, of_gpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("tpu", "cuda"))
    image = f"tensor<2x128x16x{8 * channels}x"
    assert (image in of_tpu) == folded
    assert image not in of_gpu
    sums = [line for line in of_tpu.splitlines() if "dot_general" in line]
    assert bool(sums) == folded and all("precision = [HIGHEST, HIGHEST]" in line for line in sums)
