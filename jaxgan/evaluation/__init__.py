"""Evaluation of generated images and volumes: every number stands beside the protocol that it was made by."""

from __future__ import annotations

from jaxgan.evaluation.evaluate import (
    ALL_METRICS,
    DEFAULT_METRICS,
    Evaluation,
    evaluate,
    needs_extractor,
    parse_metrics,
)
from jaxgan.evaluation.evaluator import Evaluator
from jaxgan.evaluation.measures import higher_is_better
from jaxgan.evaluation.networks.extractor import Extractor, choose_extractor

__all__ = [
    "ALL_METRICS",
    "DEFAULT_METRICS",
    "Evaluation",
    "Evaluator",
    "Extractor",
    "choose_extractor",
    "evaluate",
    "higher_is_better",
    "needs_extractor",
    "parse_metrics",
]
