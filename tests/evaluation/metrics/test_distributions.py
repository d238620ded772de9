"""Objects, intensities, slices: measured as geometry and scikit-image say, compared as SciPy does, in their units."""

import itertools

import numpy as np
import pytest
import scipy.stats

from jaxgan.data.scaling import Scaling
from jaxgan.evaluation import evaluate
from jaxgan.evaluation.metrics.distances import distance

RANDOM = np.random.default_rng(5)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (7, 30), (200, 200)])
def test_the_distance_is_scipys(n, m):
    a, b = np.round(RANDOM.normal(size=n), 1), np.round(RANDOM.normal(0.5, 2, size=m), 1)
    assert distance(a, b) == pytest.approx(scipy.stats.wasserstein_distance(a, b), abs=1e-9)


def test_objects_have_the_sizes_of_their_geometry():
    pytest.importorskip("skimage")
    from jaxgan.evaluation.metrics.objects import measure_objects

    mask = np.zeros((40, 60), bool)
    mask[4:24, 5:35] = mask[30:34, 40:50] = True
    mask[24, 35] = True  # Corners do not touch.
    found = measure_objects(mask, (0.5, 0.5))
    assert found.size == pytest.approx(641 * 0.25)
    assert found.pieces.tolist() == [0.25, 10.0, 150.0]
    disc = np.hypot(*(np.indices((40, 40)) - 19.5)) <= 15
    assert measure_objects(disc, (0.5, 0.5)).outline == pytest.approx(2 * np.pi * 15 * 0.5, rel=0.03)
    grid = np.indices((40, 40, 24)) - np.array([19.5, 19.5, 11.5])[:, None, None, None]
    ball = (grid[0] / 12) ** 2 + (grid[1] / 12) ** 2 + (grid[2] * 2 / 12) ** 2 <= 1
    found = measure_objects(ball, (1.0, 1.0, 2.0))
    assert found.size == pytest.approx(4 / 3 * np.pi * 12**3, rel=0.03) and len(found.pieces) == 1
    # The stairs of a mask make its surface larger than the ball's, by an eighth or so.
    assert 1.0 < found.outline / (4 * np.pi * 12**2) < 1.15
    empty = measure_objects(np.zeros((5, 5, 5), bool), (1.0, 1.0, 1.0))
    assert (empty.size, empty.outline, len(empty.pieces)) == (0.0, 0.0, 0)


def squares(count, side, bright, background, seed):
    """Pictures with two squares of a side, and their places."""
    images = np.full((count, 32, 32, 1), background, np.float32)
    for image, (row, column) in zip(images, np.random.default_rng(seed).integers(1, 7, (count, 2)), strict=True):
        image[row : row + side, column : column + side] = bright
        image[row + 16 : row + 16 + side, column + 16 : column + 16 + side] = bright
    return images


@pytest.mark.parametrize(("bright", "background"), [(0.5, -0.5), (-0.5, 0.5)])
def test_objects_that_are_too_large_are_so_by_their_size_in_mm(bright, background):
    pytest.importorskip("skimage")
    real, fake = squares(20, 4, bright, background, 0), squares(30, 6, bright, background, 1)
    result = evaluate([real], [fake], ("objects",), spacing=(0.1, 0.1), scaling=Scaling("float32", 0.0, 10.0, "kPa"))
    assert result.values()["object_size"] == pytest.approx(2 * (36 - 16) * 0.01)
    assert result.values()["component_size"] == pytest.approx((36 - 16) * 0.01)
    assert result.values()["component_count"] == 0.0
    assert result.metrics["object_size"].protocol["units"] == "mm^2"
    assert result.metrics["component_count"].details["real_mean"] == 2.0
    assert ("above" if bright > 0 else "up to") in result.metrics["object_size"].protocol["foreground"]
    kept = result.distributions["component_size"]
    assert (len(kept.real), len(kept.generated), kept.label) == (40, 60, "area of a component [mm^2]")


def test_intensities_are_compared_within_classes_and_in_units():
    images = RANDOM.uniform(-0.5, 0.5, (200, 8, 8, 1)).astype(np.float32)
    labels = np.arange(200) % 2
    moved = images + 0.2 * (labels == 1)[:, None, None, None].astype(np.float32)
    scaling = Scaling("float32", 0.0, 100.0, "HU")
    result = evaluate([(images, labels)], [(moved, labels)], ("intensity",), scaling=scaling, resamples=40)
    measured = result.metrics["intensity_mean"]
    assert measured.details["per_class"]["0"]["distance"] == pytest.approx(0, abs=1e-3)
    assert measured.details["per_class"]["1"]["distance"] == pytest.approx(10, abs=1e-3)
    assert measured.value == pytest.approx(5, abs=0.1) and measured.protocol["units"] == "HU"
    low, high = measured.interval
    assert 3 < low < measured.value < high < 7
    assert result.values()["intensity_std"] == pytest.approx(0, abs=1e-3)


def test_slices_of_rough_volumes_are_less_alike_and_as_scikit_image_says():
    from jaxgan.evaluation.metrics.slices import neighbour_similarity

    coarse = RANDOM.uniform(-0.5, 0.5, (6, 4, 4, 4, 1))
    smooth = coarse.repeat(4, 1).repeat(4, 2).repeat(4, 3).astype(np.float32)
    rough = (smooth + RANDOM.normal(0, 0.2, smooth.shape)).astype(np.float32).clip(-1, 1)
    result = evaluate([smooth], [rough], ("slices",))
    details = result.metrics["slice_ssim"].details
    assert details["real_mean"] > details["generated_mean"] + 0.2
    assert result.values()["slice_ssim"] == pytest.approx(details["real_mean"] - details["generated_mean"], abs=1e-6)
    structural_similarity = pytest.importorskip("skimage.metrics").structural_similarity
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    scaled = (rough[0, ..., 0].astype(np.float64) + 1) / 2
    expected = []
    for axis in range(3):
        slices = np.moveaxis(scaled, axis, 0)
        maps = [structural_similarity(a, b, full=True, **options)[1] for a, b in itertools.pairwise(slices)]
        expected.append(np.mean([m[5:-5, 5:-5] for m in maps]))
    np.testing.assert_allclose(neighbour_similarity(rough[:1])[0], expected, atol=1e-4)
