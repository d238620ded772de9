"""Crops of the quality table: glass is left out, whole files and a slide's edge are held out."""

import numpy as np
import pytest
from PIL import Image

from jaxgan.benchmark import quality_crops
from jaxgan.errors import InputError


def tissue(seed, height, width):
    noise = np.random.default_rng(seed).integers(0, 120, (height, width, 3), np.uint8)
    return noise + np.uint8([120, 20, 100])


def test_every_fifth_column_is_held_out_and_glass_is_left_out(tmp_path):
    source, output = tmp_path / "source", tmp_path / "out.npz"
    source.mkdir()
    images = [tissue(i, 16, 32) for i in range(5)]
    for i, image in enumerate(images):
        image[:, 24:] = 245  # Glass: a column that counts, with nothing in it.
        Image.fromarray(image).save(source / f"{i}.png")
    quality_crops.main(["--source", str(source), "--side", "8", "--output", str(output)])
    with np.load(output) as archive:
        train, test = archive["train_images"], archive["test_images"]
    # Of 20 columns the 5th, 10th, 15th and 20th: columns 0, 1 and 2 of images 1, 2 and 3, and glass of image 4.
    expected = [images[i][top : top + 8, 8 * c : 8 * c + 8] for i, c in ((1, 0), (2, 1), (3, 2)) for top in (0, 8)]
    np.testing.assert_array_equal(test, np.stack(expected))
    assert train.shape == (24, 8, 8, 3)
    assert not any((crop == kept).all() for crop in test for kept in train)
    with pytest.raises(InputError, match="exists"):
        quality_crops.main(["--source", str(source), "--side", "8", "--output", str(output)])


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no slides or images"):
        quality_crops.main(["--source", str(tmp_path), "--output", str(tmp_path / "out.npz")])
