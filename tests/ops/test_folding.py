"""Folded columns: the same three maps, exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.ops import folding, lowering_native
from jaxgan.ops.geometry import Geometry

# size, kernel, stride, padding, channels
CASES = [
    ((8, 16), (4, 4), 2, "SAME", 1),
    ((6, 16), (4, 4), 2, "SAME", 3),
    ((5, 24), (3, 3), 1, "SAME", 1),
    ((4, 16), (5, 7), (1, 4), "SAME", 2),
    ((4, 16), (3, 12), (2, 2), ((1, 1), (9, 1)), 1),
    ((4, 5, 8), (4, 4, 4), 2, "SAME", 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_folded_maps_are_the_maps(case, monkeypatch):
    monkeypatch.setattr(folding, "LEAST_PIXELS", 1)
    size, kernel, stride, padding, channels = case
    with jax.enable_x64(True):
        geometry = Geometry.resolve(size, kernel, stride, padding)
        assert folding.folds(geometry, channels)
        rng = np.random.default_rng(0)
        x, w, g = (
            jnp.asarray(rng.normal(size=shape))
            for shape in ((2, *size, channels), (*kernel, channels, 5), (2, *geometry.output, 5))
        )
        for name, operands in {"C": (x, w), "Cx": (g, w), "Cw": (x, g)}.items():
            expected = lowering_native.MAPS[name](geometry, *operands)
            got = folding.compute_folded(lowering_native.MAPS, name, geometry, *operands)
            assert got.shape == expected.shape and got.dtype == expected.dtype
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * float(jnp.abs(expected).max()))


def test_only_large_images_of_few_channels_that_divide_are_folded():
    def folds(size, channels, stride=2, kernel=4):
        return folding.folds(Geometry.resolve(size, (kernel,) * len(size), stride, "SAME"), channels)

    assert folds((256, 256), 1) and folds((256, 256), 3) and folds((64, 64, 64), 1)
    assert not folds((256, 256), 32) and not folds((28, 28), 1) and not folds((100, 100), 1)
    assert not folding.folds(Geometry.resolve((256, 256), (4, 4), 2, "VALID"), 1)


@pytest.mark.parametrize(("size", "channels", "folded"), [((64, 64), 1, True), ((64, 64), 8, False)])
def test_a_tpu_is_given_folded_layers_and_only_it(size, channels, folded):
    from jaxgan.ops.conv import conv

    x, w = jnp.zeros((2, *size, channels)), jnp.zeros((4, 4, channels, 8))
    traced = jax.jit(lambda x, w: conv(x, w, stride=2)).trace(x, w)
    of_tpu, of_gpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("tpu", "cuda"))
    assert ("tensor<2x64x8x8x" in of_tpu) == folded
    assert "tensor<2x64x8x8x" not in of_gpu
