"""Crops of the quality table: glass is left out, whole files and a slide's edge are held out."""

import numpy as np
import pytest
from PIL import Image

from jaxgan.benchmark import quality_crops
from jaxgan.errors import InputError


def tissue(seed, height, width):
    noise = np.random.default_rng(seed).integers(0, 120, (height, width, 3), np.uint8)
    return noise + np.uint8([120, 20, 100])


def test_files_are_held_out_whole_and_glass_is_left_out(tmp_path):
    source, output = tmp_path / "source", tmp_path / "out.npz"
    source.mkdir()
    for i in range(5):
        image = tissue(i, 16, 24)
        image[:, 16:] = 245  # Glass.
        Image.fromarray(image).save(source / f"{i}.png")
    quality_crops.main(["--source", str(source), "--side", "8", "--output", str(output)])
    with np.load(output) as archive:
        train, test = archive["train_images"], archive["test_images"]
    assert train.shape == (16, 8, 8, 3) and test.shape == (4, 8, 8, 3)
    np.testing.assert_array_equal(test[0], tissue(4, 16, 24)[:8, :8])
    with pytest.raises(InputError, match="exists"):
        quality_crops.main(["--source", str(source), "--side", "8", "--output", str(output)])


def test_a_slide_gives_its_right_edge_to_the_test_split(tmp_path):
    wide = tissue(0, 8, 1040)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    splits = quality_crops.split_crops([tmp_path / "wide.png"], 8)
    assert len(splits["train"]) + len(splits["test"]) == 130
    np.testing.assert_array_equal(np.concatenate([*splits["train"], *splits["test"]], axis=1), wide)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no slides or images"):
        quality_crops.main(["--source", str(tmp_path), "--output", str(tmp_path / "out.npz")])
