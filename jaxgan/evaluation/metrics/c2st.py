"""Classifier two-sample test: can a classifier tell samples from real images? (Lopez-Paz and Oquab 2017)"""

from __future__ import annotations

import math

import numpy as np

from jaxgan.evaluation.classification import auroc
from jaxgan.evaluation.metric import CannotMeasure, Metric, Report, Value
from jaxgan.evaluation.networks.classifier import UPDATES, train_classifier

FEWEST = 10


def chance(hits: int, count: int) -> float:
    """Probability of `hits` right answers or more out of `count` by tossing a coin: the exact binomial test."""
    terms = (
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) - count * math.log(2)
        for k in range(hits, count + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


def _measure(report: Report) -> None:
    sets = [s.arrays["samples"] for s in (report.real, report.generated)]
    size = min(map(len, sets))
    if size < FEWEST:
        raise CannotMeasure(f"the two-sample test needs {FEWEST} images of each kind or more")
    # Equal counts, each set in an order of its own, so that the halves of one say nothing of the other's.
    orders = [np.random.default_rng(side).permutation(len(images))[:size] for side, images in enumerate(sets)]
    half = size // 2
    train = np.concatenate([images[order[:half]] for images, order in zip(sets, orders, strict=True)])
    test = np.concatenate([images[order[half:]] for images, order in zip(sets, orders, strict=True)])
    trained = train_classifier(train, np.repeat([0, 1], half), 2, updates=UPDATES)
    scores, answers = trained(test)[:, 1], np.repeat([0, 1], size - half)
    right = (scores > 0.5) == answers
    details = {"p_value": chance(int(right.sum()), len(right)), "auroc": auroc(answers == 1, scores)}
    interval = report.bootstrap(lambda rows: right[rows].mean(), len(right))
    report.add("c2st", right.mean(), details, interval, trained_on=len(train), tested=len(test), updates=UPDATES)


C2ST = Metric(
    "c2st",
    "classifier two-sample test: accuracy of a small classifier that tells samples from real images, on images it was"
    " not trained on, with the exact p-value against guessing (Lopez-Paz and Oquab 2017)",
    (Value("c2st", "lower", "0.5 is best; p = {p_value:.2g}", bounds=(0.0, 1.0)),),
    needs=("samples",),
    measure=_measure,
    default=False,
)
