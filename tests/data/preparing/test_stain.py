"""Macenko's method on images whose stains are known."""

import numpy as np
import pytest

from jaxgan.data.preparing.stain import estimate, normalise_stain
from jaxgan.errors import InputError

RNG = np.random.default_rng()


def unit(rows):
    rows = np.array(rows, float)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def stained(stains, strength=1.0, side=96):
    """Pixels of mostly one stain or the other, with some glass."""
    amount = RNG.gamma(2.0, 0.4, (side, side, 2)) * strength
    pure = RNG.integers(0, 3, (side, side))
    amount[pure == 0, 0] = 0
    amount[pure == 1, 1] = 0
    amount[: side // 8] = 0
    return (240 * np.exp(-amount @ stains)).clip(0, 255).round().astype(np.uint8)


STAINS = unit([[0.65, 0.70, 0.29], [0.27, 0.92, 0.28]])


def test_known_stains_are_found():
    found = estimate(stained(STAINS))
    cosine = (found.stains * STAINS).sum(1) / np.linalg.norm(found.stains, axis=1)
    assert (cosine > 0.99).all()


def test_two_scanners_agree_after_normalisation():
    state = RNG.bit_generator.state
    first = stained(STAINS)
    RNG.bit_generator.state = state
    second = stained(unit([[0.55, 0.76, 0.35], [0.20, 0.85, 0.49]]), strength=0.8)
    before = np.abs(first.astype(float) - second).mean()
    after = np.abs(normalise_stain(first).astype(float) - normalise_stain(second)).mean()
    assert after < before / 3


def test_normalising_twice_changes_little_and_background_stays():
    image = stained(STAINS)
    once = normalise_stain(image)
    assert once.dtype == np.uint8 and once.shape == image.shape
    assert np.abs(once.astype(float) - normalise_stain(once)).mean() < 6
    glass = np.full((32, 32, 3), 238, np.uint8)
    assert estimate(glass) is None
    np.testing.assert_array_equal(normalise_stain(glass), glass)


def test_only_8_bit_colour():
    for image in (np.zeros((4, 4, 1), np.uint8), np.zeros((4, 4, 3), np.float32)):
        with pytest.raises(InputError, match="8-bit RGB"):
            normalise_stain(image)
