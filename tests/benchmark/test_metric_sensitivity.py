"""Each metric moves where it should when real digits are blurred, made noisy, thinned out, dimmed or copied."""

import pytest

from jaxgan.benchmark.metric_sensitivity import markdown, seen, sensitivity
from jaxgan.data.demo import digits
from jaxgan.evaluation import choose_extractor
from jaxgan.evaluation.metrics import swd

# Features of VGG16 of eight times 256 images.
pytestmark = pytest.mark.nightly

METRICS = ("fid", "kid", "prdc", "swd", "spectrum", "histogram", "nearest")
# What at least doubles, and what falls by at least 5 points.
GROWS = {
    "blur": ("fd_vgg16", "swd", "spectrum", "histogram"),
    "noise": ("fd_vgg16", "spectrum", "histogram"),
    "modes dropped": ("fd_vgg16",),
    "values shifted": ("swd", "spectrum", "histogram"),
}
FALLS = {
    "blur": ("precision_vgg16", "density_vgg16"),
    "noise": ("precision_vgg16", "density_vgg16"),
    "modes dropped": ("recall_vgg16", "coverage_vgg16"),
}


@pytest.fixture(scope="module")
def values():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(swd, "DESCRIPTORS", 8192)  # A quarter of the sorting is precise enough here.
        return sensitivity(digits(), choose_extractor(None), count=256, metrics=METRICS)


@pytest.mark.parametrize("column", GROWS)
def test_metrics_move_where_they_should(values, column):
    clean, spoilt = values["clean"], values[column]
    for metric in GROWS[column]:
        assert spoilt[metric] > 2 * clean[metric], (metric, clean[metric], spoilt[metric])
    for metric in FALLS.get(column, ()):
        assert spoilt[metric] < clean[metric] - 0.05, (metric, clean[metric], spoilt[metric])
    # The kernel distance is 0 within noise for clean images, so it has no factor to grow by.
    assert spoilt["kd_vgg16"] > max(clean["kd_vgg16"], 0) + 1e-4


def test_clean_images_are_at_distance_0_within_noise(values):
    for column in ("clean", "clean 2"):
        assert abs(values[column]["kd_vgg16"]) < 1e-3
        assert values[column]["precision_vgg16"] > 0.85
        assert values[column]["memorisation_pixels"] < 0.05


def test_a_copied_training_set_is_flagged_and_dropped_modes_leave_precision(values):
    assert values["training set copied"]["memorisation_pixels"] > 0.9
    assert values["modes dropped"]["precision_vgg16"] > values["clean"]["precision_vgg16"] - 0.05
    assert values["modes dropped"]["memorisation_pixels"] < 0.05


def test_the_table_marks_what_is_seen(values):
    lines = markdown(values).splitlines()
    assert lines[0].startswith("| metric | clean | clean 2 | blur |")
    assert len(lines) == 2 + len(values["clean"])
    assert seen(values, "spectrum", "blur")
    assert not seen(values, "memorisation_pixels", "blur")
    assert "**" in next(line for line in lines if line.startswith("| spectrum"))
