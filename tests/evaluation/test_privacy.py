"""Copies are found however they are turned and shifted, fresh images are not; the search is brute force's."""

import itertools

import jax
import numpy as np
import pytest

from jaxgan.data.demo import digits
from jaxgan.evaluation import evaluate, gather, search_bounds, symmetric_search
from jaxgan.evaluation.evaluator import MOST_REALS
from jaxgan.evaluation.metrics.privacy import copied
from jaxgan.evaluation.symmetric_search import describe, nearest_transformed, shift_of, symmetries


def reference(x, y, shift):
    """Every symmetry, every window, float64, one pair at a time."""
    spatial = x.shape[1:-1]
    middle = (slice(None), *(slice(shift, side - shift) for side in spatial))
    best = np.full((len(x), len(y)), np.inf)
    for turn in symmetries(spatial):
        turned = np.asarray(turn(x), np.float64)
        for offset in itertools.product(range(2 * shift + 1), repeat=len(spatial)):
            cut = (slice(None), *(slice(o, o + side - 2 * shift) for o, side in zip(offset, spatial, strict=True)))
            difference = turned[cut][:, None] - y[middle][None]
            best = np.minimum(best, np.sqrt((difference**2).mean(axis=tuple(range(2, difference.ndim)))))
    return best


@pytest.mark.parametrize("windows", [2**24, 0])
@pytest.mark.parametrize(("shape", "shift", "count"), [((9, 9, 2), 2, 8), ((7, 10, 1), 1, 4), ((5, 5, 5, 1), 1, 48)])
def test_the_search_is_brute_force_in_float64(monkeypatch, shape, shift, count, windows):
    monkeypatch.setattr(symmetric_search, "_BLOCK", 4)
    # Without room for its windows, an image counts as large: bounds are then made of the means of blocks.
    monkeypatch.setattr(symmetric_search, "_WINDOWS", windows)
    monkeypatch.setattr(symmetric_search, "_FIRST", 2)
    monkeypatch.setattr(search_bounds, "_BLOCKS", 2)
    random = np.random.default_rng(0)
    x, y = (random.uniform(-1, 1, (n, *shape)).astype(np.float32) for n in (6, 9))
    assert len(symmetries(shape[:-1])) == count == len({str(s) for s in symmetries(shape[:-1])})
    expected = reference(x, y, shift)
    found = nearest_transformed(x, y, shift=shift)
    np.testing.assert_allclose(found.distance, np.sort(expected, axis=1)[:, :2], atol=1e-5)
    np.testing.assert_array_equal(found.index, expected.argmin(axis=1))
    own = nearest_transformed(y[:3], y, shift=shift, own=np.arange(3))
    without = reference(y[:3], y, shift)
    without[np.arange(3), np.arange(3)] = np.inf
    np.testing.assert_allclose(own.distance, np.sort(without, axis=1)[:, :2], atol=1e-5)


@pytest.mark.parametrize("kind", [search_bounds.Directions, search_bounds.Means])
def test_bounds_lie_below_the_distances_and_the_closer_the_smoother_the_images_are(monkeypatch, kind):
    monkeypatch.setattr(search_bounds, "_BLOCKS", 4)
    random, turns = np.random.default_rng(0), symmetries((10, 10, 10))
    shares = []
    for grain in (10, 3):
        coarse = random.uniform(-1, 1, (30, grain, grain, grain, 1)).astype(np.float32)
        y = np.asarray(jax.image.resize(coarse, (30, 10, 10, 10, 1), "linear"))
        x = y[:4, ::-1] + 0.1 * random.standard_normal(y[:4].shape).astype(np.float32)
        bounds = kind(y[:, 1:-1, 1:-1, 1:-1], 1)(x, turns)
        assert bounds.shape == (1 if kind is search_bounds.Directions else 48, 4, 30)
        squared = reference(x, y, 1) ** 2 * 8**3
        assert (bounds.min(axis=0) <= squared).all()
        shares.append((bounds.min(axis=0) / squared).mean())
    assert 0 < shares[0] < shares[1], shares
    assert kind is search_bounds.Directions or shares[1] > 0.5, "three directions are few, 64 blocks are not"


def test_the_transform_that_was_found_is_told():
    image = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 1)).astype(np.float32)
    assert describe(nearest_transformed(image, image).transform[0], (16, 16), shift_of((16, 16))) == (
        "axes +0,+1, shift 0,0"
    )
    mirrored = nearest_transformed(image[:, :, ::-1], image)
    assert describe(mirrored.transform[1], (16, 16), 2) == "axes +0,-1, shift 0,0"
    moved = nearest_transformed(np.roll(image, 2, axis=1), image)
    assert describe(moved.transform[2], (16, 16), 2) == "axes +0,+1, shift 2,0"


@pytest.fixture(scope="module")
def real_digits():
    data = digits()
    order = np.random.default_rng(0).permutation(data.size)
    return data.scaling.decode(data.read(order[:1000]))


SPOILT = {
    "flipped": lambda x: x[:, :, ::-1],
    "turned": lambda x: np.rot90(x, axes=(1, 2)),
    "shifted": lambda x: np.roll(x, (3, -3), axis=(1, 2)),
    "noisy": lambda x: (x + np.random.default_rng(1).normal(0, 0.04, x.shape)).clip(-1, 1).astype(np.float32),
}


def test_planted_copies_are_found_and_fresh_digits_are_not(real_digits):
    train, fresh = real_digits[:300], real_digits[300:]
    for name, spoil in SPOILT.items():
        found = nearest_transformed(spoil(train[:30]), train)
        assert copied(found).mean() > 0.9, name
        assert (found.index == np.arange(30)).mean() > 0.9, name
    # Twenty draws of fresh digits; none may reach the five points above the baseline that raise the alarm.
    shares = copied(nearest_transformed(fresh[:600], train)).reshape(20, 30).mean(axis=1)
    assert (shares > 0.05).mean() <= 0.05, shares


def test_membership_is_told_of_a_memorised_set(real_digits):
    train, heldout = real_digits[:50], real_digits[50:100]
    memorised = np.tile(train, (2, 1, 1, 1))[:, :, ::-1]
    result = evaluate([train], [memorised], ("privacy",), heldout_batches=[heldout], resamples=100)
    assert result.values()["membership_auroc"] > 0.9
    assert result.values()["membership_tpr"] > 0.9
    assert result.metrics["privacy_copies"].details["flagged"]
    assert result.metrics["privacy_copies"].details["closest"][0]["training"] < 50
    assert any("privacy_copies" in warning for warning in result.warnings)


@pytest.mark.slow
def test_membership_is_a_guess_where_nothing_is_memorised(real_digits):
    train, heldout, fresh = real_digits[:400], real_digits[400:800], real_digits[800:]
    result = evaluate([train], [fresh], ("privacy",), heldout_batches=[heldout], resamples=100)
    low, high = result.metrics["membership_auroc"].interval
    assert low < 0.5 < high
    assert result.metrics["membership_auroc"].details["baseline"] == pytest.approx(0.5, abs=0.1)
    assert result.values()["membership_auroc"] == pytest.approx(0.5, abs=0.05)
    assert not result.metrics["privacy_copies"].details["flagged"]


@pytest.mark.parametrize("name", ["flipped", "turned", "shifted"])
def test_the_plain_search_passes_what_is_turned(real_digits, name):
    train = real_digits[:120]
    result = evaluate([train], [np.ascontiguousarray(SPOILT[name](train[:40]))], ("nearest", "privacy"))
    assert not result.metrics["memorisation_pixels"].details["flagged"]
    assert result.metrics["privacy_copies"].details["flagged"]


def test_copies_are_looked_for_among_training_images_while_held_out_ones_are_compared_with(real_digits):
    train, heldout = real_digits[:100], real_digits[100:160]
    turned = np.ascontiguousarray(np.rot90(train[:60], axes=(1, 2)))
    result = evaluate([heldout], [turned], ("histogram", "nearest", "privacy"), training_batches=[train])
    assert result.metrics["histogram"].protocol["n_real"] == 60
    assert result.metrics["memorisation_pixels"].protocol["searched"] == 100
    copies = result.metrics["privacy_copies"]
    assert copies.value == 1.0 and copies.details["flagged"] and copies.details["against"] == "held-out real images"
    assert {pair["training"] for pair in result.copies["symmetries"].pairs} == set(range(60))
    assert result.values()["membership_auroc"] > 0.65, "some 36 of the 60 members that are looked up were copied"


def test_training_images_that_were_not_searched_are_said(real_digits, monkeypatch):
    train, samples = real_digits[:100], real_digits[100:120]
    whole = evaluate([train], [samples], ("nearest", "privacy"))
    assert not any("were searched" in warning for warning in whole.warnings)
    some = evaluate([train], [samples], ("nearest",), training_size=300)
    assert [w.split(",")[0] for w in some.warnings] == ["memorisation_pixels: 100 of 300 training images were searched"]
    monkeypatch.setattr(gather, "BYTES_SEARCHED", 60 * 4 * 28 * 28)
    some = evaluate([train], [samples], ("nearest", "privacy"))
    assert sum("60 of 100 training images were searched" in warning for warning in some.warnings) == 2


def test_the_training_sets_of_the_presets_are_searched_whole():
    for count, shape in ((60_000, (28, 28, 1)), (89_996, (28, 28, 3))):
        pixels, inception = 4 * np.prod(shape), 4 * 2048
        assert count <= MOST_REALS and count * (pixels + inception) <= gather.BYTES_SEARCHED


@pytest.mark.parametrize(("learnt", "low", "high"), [(True, 0.99, 1.0), (False, 0.3, 0.7)])
def test_a_critic_that_learnt_by_heart_is_told(real_digits, learnt, low, high):
    train, heldout = real_digits[:80], real_digits[80:160]
    known = {image.tobytes() for image in train} if learnt else set()

    def critic(images, labels):
        assert (labels == -1).all()
        # Both kinds come mixed: a critic may compare the samples of a batch.
        return np.array([image.mean() + 10 * (image.tobytes() in known) for image in images])

    arguments = {"training_batches": [train], "critic": critic, "resamples": 100}
    result = evaluate([heldout], [train[:10]], ("critic_membership",), **arguments)
    measured = result.metrics["critic_auroc"]
    assert low <= measured.value <= high
    assert measured.interval[0] <= measured.value <= measured.interval[1]
    assert 0.2 < measured.details["baseline"] < 0.8
    assert (result.values()["critic_tpr"] > 0.9) is learnt
    without = evaluate([heldout], [train[:10]], ("critic_membership", "histogram"))
    assert "--checkpoint" in without.skipped["critic_membership"]
