"""`evaluate`: protocols, cache, classes, warnings, volumes, devices; and the evaluator that training calls."""

import json

import jax
import numpy as np
import pytest
import tifffile
from PIL import Image

from jaxgan.data.dataset import from_arrays
from jaxgan.data.scaling import Scaling
from jaxgan.errors import InputError
from jaxgan.evaluation import Evaluator, default_metrics, evaluate, gather, higher_is_better, parse_metrics
from jaxgan.evaluation.gather import summarise
from jaxgan.evaluation.moments import moments_of
from jaxgan.evaluation.networks.extractor import SLICES, Extractor, choose_extractor, planes_of
from jaxgan.evaluation.networks.vgg import Conv3x3
from jaxgan.evaluation.registry import reported_names
from jaxgan.evaluation.report import table
from jaxgan.evaluation.sources import dataset_source, files_source, generator_source
from jaxgan.evaluation.summary import Summary

WIDTH = 6
SHAPE = (16, 16, 1)
PRDC = ("precision", "recall", "density", "coverage")


def toy(name="toy"):
    """An extractor that is quick: random projections of the plane's coarse blocks."""
    matrix = np.random.default_rng(0).standard_normal((4 * 4 * 3, WIDTH)).astype(np.float32)

    def apply(variables, planes):
        coarse = jax.image.resize(planes, (len(planes), 4, 4, 3), "linear").reshape(len(planes), -1)
        features = coarse @ variables
        return features, (3 * features if name == "inception" else None)

    return Extractor(name, WIDTH, matrix, apply, "0" * 64, "none", "none")


TOY, TOY_INCEPTION = toy(), toy("inception")


def blobs(count, shape=SHAPE, level=0.0):
    rng = np.random.default_rng()
    coarse = rng.uniform(-0.7, 0.7, (count, *[4] * (len(shape) - 1), shape[-1]))
    return (np.asarray(jax.image.resize(coarse, (count, *shape), "linear")) + level).clip(-1, 1).astype(np.float32)


@pytest.fixture(scope="module")
def real():
    return blobs(300)


def test_every_number_has_its_protocol(real):
    scaling = Scaling("float32", 10.0, 30.0, "kPa")
    result = evaluate([real], [blobs(200)], (*default_metrics(), "nearest"), extractor=TOY_INCEPTION, scaling=scaling)
    names = {"fid", "kid", "inception_score", *PRDC, "swd", "msssim", "spectrum"}
    assert set(result.metrics) == names | {"histogram", "memorisation_pixels", "memorisation_inception"}
    assert set(result.metrics) == set(reported_names(parse_metrics((*default_metrics(), "nearest")), TOY_INCEPTION))
    assert {name for name in result.metrics if higher_is_better(name)} == {"inception_score", *PRDC}
    for measurement in result.metrics.values():
        assert {"n_real": 300, "n_generated": 200, "split": "train"}.items() <= measurement.protocol.items()
        assert np.isfinite(measurement.value)
    for name in ("fid", "kid", "precision"):
        assert {"extractor", "weights_sha256", "resizer", "gray_policy", "dtype"} <= result.metrics[
            name
        ].protocol.keys()
    assert result.metrics["histogram"].protocol["units"] == "kPa"
    assert result.metrics["histogram"].details["real_mean"] == pytest.approx(20 + 10 * real.mean(), abs=1e-2)
    assert not result.warnings
    json.dumps(result.values())


def test_what_looks_at_training_images_says_so_in_its_protocol(real):
    result = evaluate([real[:8]], [real[50:62]], ("swd", "nearest"), split="holdout", training_batches=[real[8:28]])
    found = {name: (m.protocol["n_real"], m.protocol["split"]) for name, m in result.metrics.items()}
    assert found == {"swd": (8, "holdout"), "memorisation_pixels": (20, "train")}
    shown = table(result).splitlines()
    assert "protocol of memorisation_pixels: 12 generated against 20 real (train)" in shown
    assert any(line.startswith("protocol: 12 generated against 8 real (holdout), shape 16x16x1") for line in shown)


def test_other_extractors_never_speak_of_fid(real):
    result = evaluate([real], [real], ("fid", "kid", "is", "prdc"), extractor=TOY)
    assert "fd_toy" in result.metrics
    assert "kd_toy" in result.metrics
    assert not {"fid", "kid", "inception_score", "precision"} & set(result.metrics)
    assert "is" in result.skipped
    assert set(result.metrics) == set(reported_names(("fid", "kid", "is", "prdc"), TOY))
    assert result.metrics["fd_toy"].value == pytest.approx(0, abs=1e-5)
    assert set(evaluate([real], [real], ("fid", "swd")).metrics) == {"swd"}


def test_too_few_samples_are_warned_of(real):
    warnings = evaluate([real[:5]], [real], ("fid",), extractor=TOY).warnings
    assert len(warnings) == 1
    assert "5 real samples for 6 features" in warnings[0]
    assert "not defined" in evaluate([real[:1]], [real], ("msssim", "kid"), extractor=TOY).warnings[0]


def test_classes_are_compared_with_classes(real):
    labels = np.arange(300) % 3
    moved = real + 0.3 * (labels == 1)[:, None, None, None]
    batches = [(real[i : i + 50], labels[i : i + 50]) for i in range(0, 300, 50)]
    result = evaluate(
        batches, [(moved.clip(-1, 1), labels)], ("fid", "kid"), extractor=TOY, class_names=("a", "b", "c")
    )
    assert set(result.per_class) == {"a", "b", "c"}
    assert result.per_class["b"]["fd_toy"] > 10 * max(result.per_class[c]["fd_toy"] for c in "ac") + 0.1
    assert result.per_class["a"]["n_real"] == 100


def test_the_real_summary_is_made_once(real, tmp_path):
    fake = blobs(50)
    arguments = {"extractor": TOY, "real_fingerprint": "abc", "cache_folder": tmp_path}

    def unread():
        raise AssertionError("the cache was not used")
        yield

    first = evaluate([real], [fake], **arguments)
    again = evaluate(unread(), [fake], **arguments)
    assert first.values() == again.values()
    with pytest.raises(AssertionError):
        evaluate(unread(), [fake], **(arguments | {"real_fingerprint": "abd"}))
    (file,) = (tmp_path / "real").iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    assert evaluate([real], [fake], **arguments).values() == first.values()
    assert Summary.load(file).count == 300


def test_what_was_summarised_without_labels_is_not_taken_for_labelled(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    made = []
    for labels in (None, np.arange(40) % 2, np.arange(40) % 4):
        source = dataset_source(from_arrays("toy", stored, labels, fingerprint="toy"), 50)
        made.append(source.fingerprint)
        real = {"real_fingerprint": source.fingerprint, "cache_folder": tmp_path}
        result = evaluate(source.batches(), [source.at(np.arange(40))], ("intensity",), scaling=source.scaling, **real)
        assert len(np.unique(result.real.arrays["sample_labels"])) == (1 if labels is None else labels.max() + 1)
    assert len(set(made)) == 3 and source.without_labels().fingerprint is None


def test_other_seeds_are_other_samples():
    def generate(count, seed, labels):
        return np.random.default_rng(seed).uniform(-1, 1, (count, 2, 2, 1)).astype(np.float32)

    sets = [{image.tobytes() for part in generator_source(generate, 700, (2, 2, 1), seed).batches() for image in part}
            for seed in (0, 1, 2, 2**31 - 1)]  # fmt: skip
    assert len(set().union(*sets)) == 4 * 700


def test_numbers_of_features_say_of_how_many_samples_they_are(monkeypatch):
    monkeypatch.setattr(gather, "MOST_FEATURES", 30)
    result = evaluate([blobs(50)], [blobs(40)], ("prdc", "kid", "fid"), extractor=TOY)
    counts = {name: (each.protocol["n_real"], each.protocol["n_generated"]) for name, each in result.metrics.items()}
    assert counts["fd_toy"] == (50, 40) and {counts[name] for name in counts if name != "fd_toy"} == {(30, 30)}


def test_copies_of_less_than_three_images_cannot_be_told():
    result = evaluate([blobs(50)[:1]], [blobs(40)], ("nearest", "histogram"))
    assert "three" in result.skipped["nearest"] and "histogram" in result.metrics


def test_classes_of_folders_are_matched_by_name(tmp_path):
    for name, level in (("7", 70), ("3", 30)):
        (tmp_path / name).mkdir()
        for file in ("a.png", "b.png"):
            Image.fromarray(np.full((8, 8), level, np.uint8)).save(tmp_path / name / file)
    source = files_source("--heldout", tmp_path, None)
    digits = source.with_classes(tuple("0123456789"))
    assert digits.class_names == tuple("0123456789")
    for images, labels in digits.batches():
        levels = (np.asarray(images)[:, 0, 0, 0] + 1) * 127.5
        np.testing.assert_allclose(levels, 10 * labels, atol=1e-3)
    assert source.with_classes(("3", "7")) is source
    (without,) = source.with_classes(("three", "seven")).batches()
    assert without.shape == (4, 8, 8, 1)


@pytest.mark.parametrize("suffix", ["tif", "npy"])
def test_folders_of_volumes_are_read_as_such(tmp_path, suffix):
    for number in range(2):
        volume = np.random.default_rng(number).integers(0, 256, (9, 8, 7)).astype(np.uint8)
        tifffile.imwrite(tmp_path / f"{number}.tif", volume) if suffix == "tif" else np.save(
            tmp_path / f"{number}", volume
        )
    for rank in (None, 3):
        (images,) = files_source("--real", tmp_path, None, rank).batches()
        assert images.shape == (2, 9, 8, 7, 1)
    with pytest.raises(InputError):
        files_source("--real", tmp_path, None, 2)


def test_a_stream_over_all_devices_equals_one_array(real):
    assert jax.local_device_count() > 1
    batches = [real[i : i + 16] for i in range(0, 300, 16)]
    summary = summarise("real", batches, ("moments", "features", "statistics"), TOY)
    features = np.concatenate([TOY(real[i : i + 100]) for i in range(0, 300, 100)])
    np.testing.assert_allclose(summary.arrays["features"], features, rtol=1e-5, atol=1e-5)
    expected = moments_of(features[:, 0, 0])
    np.testing.assert_allclose(summary.moments[0].mean, expected.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(summary.moments[0].cov, expected.cov, rtol=1e-4, atol=1e-5)
    assert summary.arrays["histogram"].sum() == real.size
    one = summarise("real", [real], ("statistics",), None)
    np.testing.assert_allclose(summary.arrays["power"], one.arrays["power"], rtol=1e-4)


def test_volumes_are_seen_along_their_three_axes():
    volumes, other = blobs(40, (12, 12, 12, 1)), blobs(40, (12, 12, 12, 1), 0.2)
    result = evaluate([volumes], [other], (*default_metrics(), "nearest"), extractor=TOY)
    assert len(result.metrics["fd_toy"].details["per_axis"]) == 3
    assert "slices" in result.metrics["fd_toy"].protocol
    assert result.metrics["fd_toy"].value > evaluate([volumes], [volumes], ("fid",), extractor=TOY).values()["fd_toy"]
    assert "memorisation_toy" in result.metrics
    # Along the first axis the planes are [H, W], and slice i is a slice of the volume.
    axes = planes_of(blobs(2, (9, 10, 11, 1)))
    assert [a.shape for a in axes] == [(2, SLICES, 10, 11, 3), (2, SLICES, 9, 11, 3), (2, SLICES, 9, 10, 3)]


def test_odd_channel_counts_are_gray_images_each():
    images = blobs(3, (8, 8, 2))
    (planes,) = planes_of(images)
    assert planes.shape == (3, 2, 8, 8, 3)
    np.testing.assert_array_equal(planes[1, 1, :, :, 2], images[1, :, :, 1])
    (rgb,) = planes_of(blobs(3, (8, 8, 3)))
    assert rgb.shape == (3, 1, 8, 8, 3)


def test_wrong_input_is_one_line(real):
    for arguments in (
        ([], [real]),
        ([real], []),
        ([real], [real[:, :8]]),
        ([real], [real * 3]),
        ([real], [real], "psnr"),
    ):
        with pytest.raises(InputError) as error:
            evaluate(*arguments)
        assert "\n" not in str(error.value)
    assert parse_metrics("fid, kid,fid") == ("fid", "kid")
    with pytest.raises(InputError, match="choose one of"):
        parse_metrics("")


def test_the_evaluator_ranks_generators(tmp_path):
    stored = np.random.default_rng().integers(0, 120, (200, 8, 8, 1)).astype(np.uint8)
    labels = np.arange(200) % 2
    dataset = from_arrays("toy", stored, labels, fingerprint="toy")
    evaluator = Evaluator(dataset, "histogram,spectrum", 100, tmp_path)
    decode = dataset.scaling.decode

    def sampler(top):
        return lambda n, seed, *labels: decode(np.random.default_rng(seed).integers(0, top, (n, 8, 8, 1)))

    good, bad = evaluator(sampler(120)), evaluator(sampler(250))
    assert set(good) == {"histogram", "spectrum"} == set(evaluator.names)
    assert good["histogram"] < 5 < 50 < bad["histogram"]
    assert good == evaluator(sampler(120))
    asked = []

    def conditional(n, seed, chosen):
        asked.append(chosen)
        return sampler(120)(n, seed)

    evaluator(conditional, labels[:100])
    np.testing.assert_array_equal(np.concatenate(asked), labels[:100])
    with pytest.raises(InputError, match="choose one of"):
        Evaluator(dataset, "psnr", 10, tmp_path)


def test_the_evaluator_refuses_at_the_start_what_it_could_only_skip(tmp_path):
    stored = np.zeros((20, 8, 8, 1), np.uint8)
    with_classes = from_arrays("toy", stored, np.arange(20) % 2)
    cases = [
        (from_arrays("toy", stored), "class_agreement", True, "labelled data"),
        (with_classes, "class_agreement", False, "config.critic.conditioning"),
        (with_classes, "utility", False, "conditional generator"),
        (with_classes, "slices", True, "volumes"),
        (with_classes, "critic_membership", True, "after the training"),
    ]
    for dataset, name, conditional, words in cases:
        with pytest.raises(InputError, match=words) as error:
            Evaluator(dataset, f"histogram,{name}", 10, tmp_path, conditional=conditional)
        assert name in str(error.value) and "\n" not in str(error.value)
    assert "class_chi2" in Evaluator(with_classes, "class_balance", 10, tmp_path, conditional=False).names


def test_the_evaluator_looks_for_copies_of_what_is_trained_on(tmp_path):
    random = np.random.default_rng(0)
    train, heldout = (from_arrays("toy", random.integers(0, 256, (30, 8, 8, 1)).astype(np.uint8)) for _ in range(2))
    evaluator = Evaluator(heldout, "histogram,nearest", 30, tmp_path, training=train)
    copies = train.scaling.decode(train.load())
    for _ in range(2):  # The second call has the summaries of the first.
        values = evaluator(lambda n, seed: copies[:n])
        assert set(values) == set(evaluator.names) == {"histogram", "memorisation_pixels"}
        assert values["memorisation_pixels"] == 1.0 and values["histogram"] > 0


def test_it_says_what_it_does(real):
    lines = []
    evaluate([real], [real], ("histogram", "slices"), progress=lines.append)
    assert [line.split(":")[0] for line in lines] == [
        "gathering the real images", "gathering the generated images", "histogram", "slices",
    ]  # fmt: skip
    assert lines[2].endswith(" s") and lines[3].endswith("skipped")


def test_vgg16_is_the_default_and_sees_texture():
    extractor = choose_extractor(None)
    images = np.repeat(blobs(8), 3, axis=-1)
    features = extractor(images)
    assert features.shape == (8, 1, 1, 512)
    assert features.min() >= 0
    # Gray is replicated: the same picture in gray and in RGB has the same features.
    np.testing.assert_allclose(extractor(images[..., :1]), features, rtol=1e-4, atol=1e-4)
    assert np.abs(extractor(images[:, ::-1]) - features).max() > 0.1
    assert len(extractor.weights_sha256) == 64
    tiny = Conv3x3(5)
    planes = blobs(3, (2, 4, 6))
    variables = tiny.init(jax.random.key(0), planes)
    # A 2-row plane takes the gathered columns, a taller one the convolution; rows far apart do not meet.
    tall = np.concatenate([planes, np.zeros((3, 3, 4, 6), np.float32)], axis=1)
    np.testing.assert_allclose(
        tiny.apply(variables, planes)[:, 0], tiny.apply(variables, tall)[:, 0], rtol=1e-4, atol=1e-5
    )
    assert extractor.batch_size((28, 28, 1)) > extractor.batch_size((256, 256, 3)) > 0


def test_intervals_are_as_wide_as_other_draws_stray():
    names = ("histogram", "spectrum", "msssim", "prdc", "fid", "kid")

    def draw(seed, level):
        coarse = np.random.default_rng(seed).uniform(-0.7, 0.3, (80, 4, 4, 1)) + level
        return np.asarray(jax.image.resize(coarse, (80, *SHAPE), "linear")).clip(-1, 1).astype(np.float32)

    first = evaluate([draw(0, 0.0)], [draw(1, 0.1)], names, extractor=TOY, resamples=200)
    others = [evaluate([draw(s, 0.0)], [draw(s + 50, 0.1)], names, extractor=TOY) for s in range(2, 32)]
    assert all(m.interval is None for m in others[0].metrics.values())
    for name, measurement in first.metrics.items():
        low, high = measurement.interval
        values = [other.values()[name] for other in others]
        # Thirty draws tell their spread, a quarter of the interval, to an eighth; that of pairs is on the safe side.
        assert 0.5 < 4 * np.std(values) / (high - low) < 1.6, (name, low, high, np.std(values))
        assert low < np.mean(values) < high, (name, low, high, np.mean(values))


@pytest.mark.parametrize("counts", [(1, 30), (30, 3), (4, 4)])
def test_a_few_images_give_no_interval(real, counts):
    sets = real[: counts[0]], real[100 : 100 + counts[1]]
    result = evaluate([sets[0]], [sets[1]], ("histogram", "intensity", "swd"), resamples=20)
    for name, measurement in result.metrics.items():
        assert (measurement.interval is not None) == (min(counts) >= 4), name
        assert ("interval_by" in measurement.protocol) == (min(counts) >= 4), name
