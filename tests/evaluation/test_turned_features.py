"""Features in every symmetry are those of the turned images themselves; copies are found among them."""

import jax
import numpy as np
import pytest

from jaxgan.evaluation import evaluate
from jaxgan.evaluation.networks.extractor import Extractor
from jaxgan.evaluation.symmetric_search import symmetries
from jaxgan.evaluation.turned_features import nearest_turned, passes, turned_features

RANDOM = np.random.default_rng(2)


def toy(side):
    """Random projections of the plane's coarse blocks: what is turned has other features."""
    matrix = RANDOM.standard_normal((side * side * 3, 12)).astype(np.float32)

    def apply(variables, planes):
        coarse = jax.image.resize(planes, (len(planes), side, side, 3), "linear").reshape(len(planes), -1)
        return coarse @ variables, None

    return Extractor("toy", 12, matrix, apply, "0" * 64, "none", "none")


# Volumes of 8 a side: all slices are taken, so that a reversed axis has the same ones.
@pytest.mark.parametrize(("shape", "most"), [((6, 6, 1), 8), ((6, 9, 3), 4), ((8, 8, 8, 1), 12)])
def test_they_are_the_features_of_the_turned_images(shape, most):
    extractor = toy(6)
    images = RANDOM.uniform(-1, 1, (3, *shape)).astype(np.float32)
    found = turned_features(extractor, images)
    turns = symmetries(shape[:-1])
    assert len(passes(shape[:-1])) <= most and found.shape[:2] == (3, len(turns))
    for number, turn in enumerate(turns):
        expected = extractor(np.ascontiguousarray(turn(images))).mean(axis=2).reshape(3, -1)
        np.testing.assert_allclose(found[:, number], expected, atol=1e-4)


def test_the_nearest_turned_one_is_brute_forces():
    turned, others = RANDOM.normal(size=(7, 5, 4)), RANDOM.normal(size=(9, 4))
    distances = np.linalg.norm(turned[:, :, None] - others[None, None], axis=-1)
    best = distances.min(axis=1)
    found = nearest_turned(turned.astype(np.float32), others.astype(np.float32))
    np.testing.assert_allclose(found.distance, np.sort(best, axis=1)[:, :2], atol=1e-5)
    np.testing.assert_array_equal(found.index, best.argmin(axis=1))
    np.testing.assert_array_equal(found.transform, distances[np.arange(7), :, found.index].argmin(axis=1))
    best[np.arange(7), np.arange(7)] = np.inf
    own = nearest_turned(turned.astype(np.float32), others.astype(np.float32), np.arange(7))
    np.testing.assert_array_equal(own.index, best.argmin(axis=1))


@pytest.mark.parametrize("heldout", [False, True])
def test_turned_copies_are_found_in_features(heldout):
    extractor = toy(12)
    train, fresh, other = (RANDOM.uniform(-1, 1, (40, 12, 12, 1)).astype(np.float32) for _ in range(3))
    turned = np.ascontiguousarray(np.rot90(train[:20], axes=(1, 2)))
    batches = [other] if heldout else None
    for images, flagged in ((turned, True), (fresh, False)):
        result = evaluate([train], [images], ("nearest", "privacy"), extractor=extractor, heldout_batches=batches)
        details = result.metrics["privacy_copies_toy"].details
        assert details["flagged"] is flagged, details
        assert details["against"] == ("held-out real images" if heldout else "training images against the others")
        assert not result.metrics["memorisation_toy"].details["flagged"]
        if flagged:
            pairs = result.copies["symmetries_toy"].pairs
            assert len(pairs) == 20 and all(pair["sample"] == pair["training"] for pair in pairs)
