"""Utility and the two-sample test: as good as reals when they are reals, at chance when they are noise."""

import numpy as np
import pytest
import scipy.stats

from jaxgan.data.demo import digits
from jaxgan.evaluation import evaluate
from jaxgan.evaluation.metrics import c2st, utility


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(utility, "SEEDS", 1)
    monkeypatch.setattr(utility, "UPDATES", 60)
    monkeypatch.setattr(c2st, "UPDATES", 60)


@pytest.fixture(scope="module")
def parts():
    """Three sets of real digits of five classes, with their classes."""
    data = digits()
    order = np.random.default_rng(0).permutation(np.flatnonzero(data.labels < 5))
    thirds = np.array_split(order[:1800], 3)
    # Half the size is enough to tell the classes apart, and quicker.
    coarse = [data.scaling.decode(data.read(p)).reshape(-1, 14, 2, 14, 2, 1).mean(axis=(2, 4)) for p in thirds]
    return [(images, data.labels[places]) for images, places in zip(coarse, thirds, strict=True)]


def test_samples_are_as_useful_as_they_are_real(parts):
    real, fake, heldout = parts

    def measured(images, labels):
        found = evaluate([real], [(images, labels)], ("utility",), heldout_batches=[heldout], resamples=40)
        return found.metrics

    same = measured(*fake)
    assert same["utility_trtr"].value > 0.8 and same["utility_trtr"].details["auroc"] > 0.95
    low, high = same["utility_tstr"].interval
    assert low - 0.03 < same["utility_trtr"].value < high + 0.03
    few = np.resize(np.flatnonzero(fake[1] < 3), len(fake[1]))
    without = measured(fake[0][few], fake[1][few])["utility_tstr"]
    assert without.value < 0.65
    # It falls on the classes that are missing, and on these alone.
    assert without.details["per_class"].keys() == {"0", "1", "2", "3", "4"} and without.details["hardest"] in "34"
    for label, accuracy in without.details["per_class"].items():
        assert accuracy == 0.0 if label in "34" else accuracy > 0.8, (label, accuracy)
    assert min(same["utility_tstr"].details["per_class"].values()) > 0.6
    noise = np.random.default_rng(0).uniform(-1, 1, fake[0].shape).astype(np.float32)
    assert measured(noise, fake[1])["utility_tstr"].value == pytest.approx(0.2, abs=0.12)


def test_learning_curves_show_what_samples_add_to_few_reals(parts, tmp_path):
    from jaxgan.evaluation.figures import learning_figure

    real, fake, heldout = parts
    few = [part[:200] for part in real]
    result = evaluate([tuple(few)], [fake], ("learning_curve",), heldout_batches=[heldout], resamples=20)
    values = result.values()
    assert values["learning_10_both"] > values["learning_10_real"] + 0.05, "20 reals are few: 200 samples must help"
    assert values["learning_100_real"] > values["learning_10_real"]
    counts = [result.metrics[f"learning_{share}_real"].protocol["trained_on"] for share in (10, 30, 100)]
    assert counts[0] == pytest.approx(20, abs=5) and counts[1] == pytest.approx(60, abs=5) and counts[2] == 200
    assert result.metrics["learning_30_both"].protocol["trained_on"] == counts[1] + 200
    lines = learning_figure(result).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [
        [values[f"learning_{share}_{kind}"] for share in (10, 30, 100)] for kind in ("real", "both")
    ]


def test_a_classifier_tells_noise_from_digits_but_not_digits_from_digits(parts):
    (real, _), (fake, _), _ = parts
    same = evaluate([real], [fake], ("c2st",)).metrics["c2st"]
    assert same.value == pytest.approx(0.5, abs=0.1) and same.details["p_value"] > 0.001
    blurred = (fake + np.roll(fake, 1, axis=1)) / 2
    spoilt = evaluate([real], [blurred], ("c2st",)).metrics["c2st"]
    assert spoilt.value > 0.7 and spoilt.details["p_value"] < 1e-6


def test_accuracy_and_auroc_of_the_two_sample_test_are_scikit_learns(monkeypatch):
    metrics = pytest.importorskip("sklearn.metrics")
    random, asked = np.random.default_rng(0), []

    def train_classifier(images, labels, classes, updates):
        def scores(test):
            # Brighter images are samples; rounded, so that scores are equal now and then.
            share = np.round((test.mean(axis=(1, 2, 3)) + 1) / 2, 2)
            asked.append((test, share))
            return np.stack([1 - share, share], axis=1)

        return scores

    monkeypatch.setattr(c2st, "train_classifier", train_classifier)
    real, fake = (random.uniform(-1, top, (101, 4, 4, 1)).astype(np.float32) for top in (1.0, 1.3))
    found = evaluate([real], [fake.clip(-1, 1)], ("c2st",)).metrics["c2st"]
    ((test, share),) = asked
    known = {image.tobytes() for image in real}
    answers = np.array([image.tobytes() not in known for image in test])
    assert len(test) == 102 and answers.sum() == 51
    assert found.value == pytest.approx(metrics.accuracy_score(answers, share > 0.5), abs=1e-9)
    assert found.details["auroc"] == pytest.approx(metrics.roc_auc_score(answers, share), abs=1e-9)
    hits = int((answers == (share > 0.5)).sum())
    expected = scipy.stats.binomtest(hits, 102, 0.5, alternative="greater").pvalue
    assert found.details["p_value"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("hits", "count"), [(0, 7), (5, 7), (300, 500), (90, 100)])
def test_the_p_value_is_scipys_exact_one(hits, count):
    expected = scipy.stats.binomtest(hits, count, 0.5, alternative="greater").pvalue
    assert c2st.chance(hits, count) == pytest.approx(expected, rel=1e-9, abs=1e-12)
