"""The tables of what flags copies: every way of spoiling them is seen, and fresh digits are left in peace."""

import numpy as np
import pytest

from jaxgan.benchmark.copies import SPOILT, draw, false_alarms, planted
from jaxgan.data.demo import digits


@pytest.mark.nightly
def test_every_spoilt_copy_is_flagged_and_fresh_digits_are_not():
    _, _, *rows = [line.strip("| ").split(" | ") for line in planted(digits(), count=60).splitlines()]
    assert [row[0] for row in rows] == [*SPOILT, "none of them: fresh"]
    for name, nearest, privacy, membership in rows:
        assert privacy.startswith("passed" if "fresh" in name else "**flagged**"), name
        assert nearest.startswith("**flagged**" if name in ("as they are", "with 2% noise") else "passed"), name
        assert "fresh" in name or float(membership.split()[0]) > 0.9, name


def test_draws_have_no_image_in_common():
    sets = draw(digits(), 100, seed=3)
    images = [image.tobytes() for part in (sets.train, sets.heldout, sets.fresh) for image in part]
    assert len(set(images)) == len(images) == 250
    with pytest.raises(ValueError, match="too few"):
        draw(digits(), 2500, seed=0)


@pytest.mark.nightly
def test_fresh_digits_raise_no_more_than_5_false_alarms_in_100():
    found = false_alarms(digits(), count=150)
    assert np.mean(found["privacy_copies"]) <= 0.05 and np.mean(found["nearest"]) <= 0.05
    assert len(found["membership_auroc"]) == 20
    # Each of 150 images of either kind: a deviation of 0.033.
    np.testing.assert_allclose(found["membership_auroc"], 0.5, atol=0.13)
    assert np.mean(found["membership_auroc"]) == pytest.approx(0.5, abs=0.03)
