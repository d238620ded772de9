"""Accuracy, AUROC and intervals against scikit-learn; the classifier in 2D and 3D; class agreement."""

import numpy as np
import pytest
import scipy.stats

from jaxgan.evaluation import classification as ours
from jaxgan.evaluation import evaluate
from jaxgan.evaluation.bootstrap import bootstrap, centred_interval, half
from jaxgan.evaluation.metrics import class_agreement
from jaxgan.evaluation.networks.classifier import Classifier, fit_side, train_classifier

sklearn_metrics = pytest.importorskip("sklearn.metrics")
RANDOM = np.random.default_rng(3)
LABELS = RANDOM.integers(0, 3, 200)
# Rounded, so that scores are equal now and then.
SCORES = np.round(RANDOM.uniform(size=(200, 3)) + 0.3 * np.eye(3)[LABELS], 1)


def test_auroc_accuracy_and_sensitivity_are_scikit_learns():
    positive, scores = LABELS == 1, SCORES[:, 1]
    assert ours.auroc(positive, scores) == pytest.approx(sklearn_metrics.roc_auc_score(positive, scores), abs=1e-9)
    assert np.isnan(ours.auroc(np.ones(3, bool), scores[:3]))
    shares = SCORES / SCORES.sum(axis=1, keepdims=True)
    expected = sklearn_metrics.roc_auc_score(LABELS, shares, multi_class="ovr", average="macro")
    assert ours.multiclass_auroc(LABELS, shares) == pytest.approx(expected, abs=1e-9)
    predicted = SCORES.argmax(axis=1)
    expected = sklearn_metrics.balanced_accuracy_score(LABELS, predicted)
    assert ours.balanced_accuracy(LABELS, predicted) == pytest.approx(expected, abs=1e-9)
    false, true, _ = sklearn_metrics.roc_curve(positive, scores, drop_intermediate=False)
    for alarms in (0.01, 0.1, 0.5):
        assert ours.hits_at(positive, scores, alarms) == pytest.approx(true[false <= alarms].max(), abs=1e-9)


def test_the_bootstrap_is_that_of_scikit_learns_draws():
    resample = pytest.importorskip("sklearn.utils").resample
    positive, scores, random = LABELS == 1, SCORES[:, 1], np.random.RandomState(0)
    values = []
    for _ in range(100):
        rows = resample(np.arange(200), random_state=random)
        values.append(sklearn_metrics.roc_auc_score(positive[rows], scores[rows]))
    found = bootstrap(lambda rows: ours.auroc(positive[rows], scores[rows]), (200,), 100)
    np.testing.assert_allclose(found, np.percentile(values, [2.5, 97.5]), atol=1e-9)


def test_halves_have_the_spread_of_the_whole():
    values = np.random.default_rng(0).standard_normal(400)
    means = [values[rows].mean() for rows in (half(400, seed) for seed in range(2000))]
    assert np.std(means) == pytest.approx(values.std() / 20, rel=0.1)
    low, high = centred_interval(5.0, means)
    assert (low, high) == pytest.approx(5.0 + np.array([-1.96, 1.96]) * values.std() / 20, abs=0.01)
    assert len(set(half(400, 0))) == 200


def test_a_stratified_split_takes_its_share_of_every_class():
    labels = np.repeat([0, 1, 4], [50, 10, 2])
    train, test = ours.stratified_split(labels, 0.2)
    assert sorted([*train, *test]) == list(range(62))
    assert np.bincount(labels[test]).tolist() == [10, 2, 0, 0, 1]


def patterns(count, shape, seed=0):
    """Noise with a bright half, which tells the class: low or high along the first axis."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, count)
    images = random.normal(-0.5, 0.2, (count, *shape))
    half = shape[0] // 2
    for image, label in zip(images, labels, strict=True):
        image[half * label : half * (label + 1)] += 0.8
    return images.clip(-1, 1).astype(np.float32), labels


@pytest.mark.parametrize("shape", [(11, 14, 3), (8, 9, 10, 1)])
def test_the_classifier_learns_images_and_volumes(shape):
    images, labels = patterns(60, shape)
    fresh, theirs = patterns(60, shape, seed=1)
    trained = train_classifier(images, labels, 2, updates=40)
    probabilities = trained(fresh)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities.argmax(axis=1) == theirs).mean() > 0.95
    again = train_classifier(images, labels, 2, updates=40)(fresh)
    np.testing.assert_array_equal(probabilities, again)


def test_a_layer_of_the_classifier_is_a_strided_convolution():
    import jax

    from jaxgan.evaluation.networks import classifier

    x = RANDOM.standard_normal((2, 8, 9, 3)).astype(np.float32)
    kernel = RANDOM.standard_normal((4, 4, 3, 5)).astype(np.float32)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 2), (0, 0)))
    found = classifier._windows(x) @ kernel.reshape(-1, 5)
    expected = jax.lax.conv_general_dilated(padded, kernel, (2, 2), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert fit_side(np.zeros((2, 130, 20, 1), np.float32)).shape == (2, 64, 20, 1)
    assert Classifier(2).init(jax.random.key(0), np.zeros((1, 4, 4, 1))), "an image that needs no convolution"


def test_class_agreement_is_the_share_of_right_classes(monkeypatch):
    monkeypatch.setattr(class_agreement, "UPDATES", 40)
    real, fake = patterns(100, (8, 8, 1)), patterns(100, (8, 8, 1), seed=1)
    right = evaluate([real], [fake], ("class_agreement",), resamples=200)
    assert right.values()["class_agreement"] > 0.95 < right.metrics["class_agreement"].details["real"]
    labels = fake[1].copy()
    labels[:40] = 1 - labels[:40]
    wrong = evaluate(right.real, [(fake[0], labels)], ("class_agreement",), resamples=500)
    measured = wrong.metrics["class_agreement"]
    assert measured.value == pytest.approx(0.6, abs=0.05)
    exact = scipy.stats.binom(100, measured.value).ppf([0.025, 0.975]) / 100
    np.testing.assert_allclose(measured.interval, exact, atol=0.03)


def test_class_balance_is_the_chi_square_of_what_the_judge_sees(monkeypatch):
    monkeypatch.setattr(class_agreement, "UPDATES", 40)
    real, fake = patterns(100, (8, 8, 1)), patterns(100, (8, 8, 1), seed=1)
    same = evaluate([real], [fake[0]], ("class_balance",), resamples=200)
    assert same.metrics["class_chi2"].details["p_value"] > 0.05
    # One class alone, of 50: all the reals' halves against none and all.
    one = evaluate(same.real, [fake[0][fake[1] == 0]], ("class_balance",), resamples=200).metrics["class_chi2"]
    table = np.array([one.details["counts"], one.details["real_counts"]])
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / table.sum()
    assert one.value == pytest.approx(((table - expected) ** 2 / expected).sum()) and one.details["p_value"] < 1e-6
    assert sorted(one.details["counts"])[0] <= 2


def test_class_balance_counts_reals_that_the_judge_has_not_seen(monkeypatch):
    """What it knows by heart it counts right, and what is new to it wrong: fresh reals would have other shares."""

    def by_heart(images, labels, classes, **options):
        known = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}

        def classify(images):
            return np.eye(classes)[[known.get(np.asarray(image).tobytes(), 0) for image in images]]

        return classify

    monkeypatch.setattr(class_agreement, "train_classifier", by_heart)
    real, fresh = patterns(100, (8, 8, 1)), patterns(100, (8, 8, 1), seed=1)
    found = evaluate([real], [fresh[0]], ("class_balance", "histogram"))
    assert "one class alone" in found.skipped["class_balance"], "it knows none of either"


def test_without_classes_it_says_so():
    real, fake = patterns(20, (8, 8, 1)), patterns(20, (8, 8, 1), seed=1)
    result = evaluate([real], [fake[0]], ("class_agreement", "histogram"))
    assert "classes" in result.skipped["class_agreement"]
    assert set(result.values()) == {"histogram"}
    result = evaluate([real[0]], [fake], ("class_agreement", "histogram"))
    assert "two classes" in result.skipped["class_agreement"]
