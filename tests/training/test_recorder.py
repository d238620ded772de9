"""What the recorder chooses to show."""

import numpy as np

from jaxgan.data.dataset import from_arrays
from jaxgan.training.recorder import _spread


def test_reals_are_of_the_same_classes_as_the_samples():
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    kinds = np.sort(np.arange(40) % 3)
    kinds[kinds == 1] = 0  # class 1 has no sample
    data = from_arrays("x", images, kinds, class_names=("a", "b", "c"))
    wanted = np.arange(9) % 3
    chosen = _spread(data, 9, wanted)
    np.testing.assert_array_equal(data.labels[chosen], wanted[wanted != 1])
    assert len(set(chosen.tolist())) == 6, "different samples"
    assert 0 in chosen and 39 in chosen, "from all over the set"
    np.testing.assert_array_equal(_spread(data, 3, None), [0, 19, 39])
