"""What is said before hours are spent."""

import dataclasses
import warnings

import numpy as np
import pytest

from jaxgan.config import Config
from jaxgan.config.presets import load_config
from jaxgan.data.dataset import from_arrays
from jaxgan.data.open import open_data
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.training import preflight
from jaxgan.training.preflight import check_fit
from tests.training.test_loop import make_config

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 1)).astype(np.uint8)
UNLABELLED = Config.from_dict({"data": {"size": 8}, "generator": {"widths": [4]}, "critic": {"widths": [4]}})


def warned(config, dataset, recwarn):
    check_fit(config, dataset)
    return [str(warning.message) for warning in recwarn]


def test_classes_without_an_image_are_named(recwarn):
    labels = np.array([0, 1, 3] * 4)
    dataset = from_arrays("noise", IMAGES, labels, class_names=("a", "b", "c", "d", "e"))
    found = [line for line in warned(make_config(), dataset, recwarn) if "have no image" in line]
    assert len(found) == 1 and "2 of the 5 classes of noise" in found[0] and "'c'" in found[0]


def test_dark_images_are_offered_their_square_roots(recwarn):
    """As fluorescence is; what has a hundredth of bright pixels or more is not dark, nor is what is stretched."""
    bright = np.zeros((40, 16, 16, 1), np.uint8)
    bright[:, 3, :6] = 250  # 2.3%
    config = Config.from_dict({"data": {"size": 16}, "generator": {"widths": [4]}, "critic": {"widths": [4]}})
    assert not [line for line in warned(config, from_arrays("cells", bright), recwarn) if "darkest" in line]
    dark = np.where(bright > 0, 80, 0).astype(np.uint8)
    dark[:, 0, 0] = 250  # 0.4%
    (said,) = [line for line in warned(config, from_arrays("cells", dark), recwarn) if "darkest" in line]
    assert "99% of the pixels of cells lie in the darkest 31% of its range" in said and "data.stretch=sqrt" in said
    recwarn.clear()
    masks = np.where(dark > 100, 255, 0).astype(np.uint8)
    assert not [line for line in warned(config, from_arrays("masks", masks), recwarn) if "darkest" in line]
    assert "percentile leaves out the few bright" not in said
    hot = np.where(dark > 100, 255, dark // 16).astype(np.uint8)
    (said,) = [line for line in warned(config, from_arrays("cells", hot), recwarn) if "darkest" in line]
    assert "darkest 2% of its range" in said and "percentile leaves out the few bright" in said
    recwarn.clear()
    # Half air and half tissue, a quarter up: a root spreads the air.
    tissue = np.where(np.arange(16)[:, None, None] < 8, 0, 66).astype(np.uint8) + np.where(dark > 100, 180, 0)
    tissue = from_arrays("chests", tissue.astype(np.uint8))
    assert not [line for line in warned(config, tissue, recwarn) if "chests" in line]
    stretched = dataclasses.replace(config, data=dataclasses.replace(config.data, stretch="sqrt"))
    assert not [line for line in warned(stretched, from_arrays("cells", dark), recwarn) if "darkest" in line]


@pytest.mark.parametrize(
    ("lowest", "highest", "reach"), [(70, 100, "39%"), (0, 1, "0.39%"), (0, 2, "0.78%")], ids=["gray", "mask", "labels"]
)
def test_a_range_that_is_not_used_is_named(lowest, highest, reach, recwarn):
    images = np.random.default_rng(0).integers(lowest, highest + 1, (12, 8, 8, 1)).astype(np.uint8)
    (said,) = [line for line in warned(UNLABELLED, from_arrays("set", images), recwarn) if "range" in line]
    assert f"the values of 12 samples of set reach {reach} of the range" in said and "scaling=minmax" in said


def test_a_hot_pixel_of_one_image_is_not_answered_by_minmax(recwarn):
    images = np.random.default_rng(0).integers(0, 1000, (100, 8, 8, 1)).astype(np.uint16)
    images[50, 0, 0] = 60_000  # No 32nd of them is looked at.
    dataset = from_arrays("set", images, scaling=Scaling("uint16", 0.0, 60_000.0, policy="minmax"))
    (said,) = [line for line in warned(UNLABELLED, dataset, recwarn) if "range" in line]
    assert "the values of 32 samples of set reach 1.7% of the range" in said and "scaling=percentile," in said


def test_all_channels_are_looked_at(recwarn, monkeypatch):
    """A stride that the channels divide would see the dark one alone."""
    monkeypatch.setattr(preflight, "_VALUES", 64)
    images = np.zeros((12, 8, 8, 3), np.uint8)
    images[..., 1:] = 200
    colour = dataclasses.replace(UNLABELLED, data=dataclasses.replace(UNLABELLED.data, channels=3))
    images[..., 0] = np.random.default_rng(0).integers(1, 9, (12, 8, 8))
    assert not [line for line in warned(colour, from_arrays("set", images), recwarn) if "range" in line]


def test_what_is_looked_at_is_bounded(recwarn, monkeypatch):
    """Sample by sample, and so many values of each; volumes of some hundred voxels a side would fill the memory."""
    monkeypatch.setattr(preflight, "_VALUES", 7)
    images, asked = np.full((400, 8, 8, 1), 5, np.uint8), []
    images[:, 0, 0] = 250  # The first pixel is among those looked at.
    dataset = from_arrays("set", images)
    decode = lambda self, stored: asked.append(stored.size) or (stored / 127.5 - 1)  # noqa: E731
    monkeypatch.setattr(type(dataset.scaling), "decode", decode)
    read = dataset.read
    dataset = dataclasses.replace(dataset, read=lambda numbers: asked.append(-len(numbers)) or read(numbers))
    assert not [line for line in warned(UNLABELLED, dataset, recwarn) if "darkest" in line]
    assert asked == [-1] * 32 + [32 * 7]


def test_full_classes_are_no_matter(recwarn):
    assert not [line for line in warned(make_config(), from_arrays("noise", IMAGES, np.arange(12) % 3), recwarn)
                if "have no image" in line]  # fmt: skip


@pytest.mark.parametrize(("size", "steps"), [(8, 3), (64, 6)])
def test_a_start_map_of_one_pixel_and_a_short_run_are_doubted(size, steps):
    one = Config.from_dict({"data": {"size": size}, "generator": {"widths": [4] * steps}, "critic": {"widths": [4]},
                            "train": {"batch_size": 8, "iterations": 2}})  # fmt: skip
    images = np.random.default_rng(0).integers(0, 256, (12, size, size, 1)).astype(np.uint8)
    with pytest.warns(UserWarning) as caught:
        check_fit(one, from_arrays("noise", images))
    said = " ".join(str(warning.message) for warning in caught)
    assert f"{steps} widths start {size} pixels from a map of one" in said and f"give {steps - 1}" in said
    assert "few for a GAN" in said


@pytest.mark.parametrize(
    ("settings", "size", "words"),
    [
        ({"iterations": 400}, 5000, "51,200 images, 5.1% of the 1,000,064 that mnist:source is made for"),
        (
            {"batch_size": 32, "iterations": 7813},
            5000,
            "250,016 images, 25% of the 1,000,064 that mnist:source is made for",
        ),
        ({"epochs": 120.0}, 5000, None),
        ({}, 12, "2,432 images, few for a GAN (below 20,000)"),
        ({}, 5000, None),
    ],
)
def test_a_run_much_shorter_than_its_preset_is_doubted(settings, size, words, recwarn):
    config = load_config("mnist:source")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, **settings))
    check_fit(config, from_arrays("noise", np.zeros((size, 28, 28, 1), np.uint8)), "mnist:source")
    said = [str(warning.message) for warning in recwarn if "the whole run shows the critic" in str(warning.message)]
    assert len(said) == (words is not None) and all(words in line for line in said), said


def test_what_is_logged_may_choose_the_best():
    dataset = from_arrays("noise", IMAGES)
    for name, section in (
        ("r1_penalty", {"objective": {"loss": "hinge", "r1_weight": 1.0}}),
        ("augment_p", {"objective": {"loss": "hinge"}, "diffaugment": {"policy": ["color"], "adaptive": True}}),
    ):
        values = {
            "data": {"size": 8},
            "generator": {"widths": [4, 4]},
            "critic": {"widths": [4]},
            "train": {"batch_size": 8, "best_metric": name},
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check_fit(Config.from_dict(values | section), dataset)
        with pytest.raises(InputError, match=f"'{name}' is not logged"):
            check_fit(Config.from_dict(values | {"objective": {"loss": "hinge"}}), dataset)


@pytest.mark.parametrize(("epochs", "ends"), [(100, 2), (290, 3), (310, None)])
def test_a_run_that_ends_before_it_has_grown_is_doubted(epochs, ends, recwarn):
    """Of 12 images; sides 2, 4 and 8, each held for 1,000 images, the later two faded in over 800: 3,600 until then."""
    widths = {"network": "growing", "widths": [4, 4, 4]}
    values = {
        "data": {"size": 8},
        "generator": widths,
        "critic": widths,
        "growing": {"start_side": 2, "hold_images": 1000, "fade_images": 800},
        "train": {"batch_size": 8, "epochs": epochs},
    }
    said = warned(Config.from_dict(values), from_arrays("noise", IMAGES), recwarn)
    found = [line for line in said if "before its networks" in line or "networks have the full side" in line]
    assert len(found) == (ends is not None) and all(f"ends in stage {ends} of 3" in line for line in found), said


def test_metrics_that_a_run_never_reaches_are_doubted(recwarn):
    values = {
        "data": {"size": 8},
        "generator": {"widths": [4, 4]},
        "critic": {"widths": [4]},
        "train": {"batch_size": 8, "iterations": 10},
        "evaluate": {"metrics": ["histogram"], "every_images": 401},
    }
    for every, doubted in ((401, True), (400, False)):
        config = Config.from_dict({**values, "evaluate": {"metrics": ["histogram"], "every_images": every}})
        recwarn.clear()
        said = warned(config, from_arrays("noise", IMAGES), recwarn)
        assert any("nothing will be evaluated" in line for line in said) == doubted, said


def test_instance_norm_on_a_map_of_one_pixel_is_refused():
    with pytest.raises(InputError, match="6 widths bring 64 down to one pixel, which instance norm sets to 0"):
        Config.from_dict({"data": {"size": 64}, "generator": {"widths": [4] * 6, "norm": "instance"}})


def test_an_archive_that_holds_a_test_split_alone_is_offered(tmp_path):
    np.savez(tmp_path / "only.npz", test_images=IMAGES[..., 0])
    config = {"data": {"size": 8}, "generator": {"widths": [4, 4]}, "critic": {"widths": [4]}}
    with pytest.raises(
        InputError, match=r"no 'train', only test: give one of these \(to train on it, config.data.split=test\)"
    ):
        open_data(config, tmp_path / "only.npz")
    found = open_data({**config, "data": {"size": 8, "split": "test"}}, tmp_path / "only.npz")
    np.testing.assert_array_equal(found.load(), IMAGES)


def test_class_numbers_of_billions_are_refused_in_idx_files_too(tmp_path):
    from jaxgan.data.listing.archives import list_idx

    def write(name, array, code):
        header = bytes([0, 0, code, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (tmp_path / name).write_bytes(header + array.tobytes())

    write("train-images-idx3-ubyte", IMAGES[..., 0], 8)
    write("train-labels-idx1-int", np.array([0] * 11 + [2**31 - 1], ">i4"), 12)
    with pytest.raises(InputError, match="2147483647.* are no numbers of classes"):
        list_idx(tmp_path)
