"""Evaluation of generated images and volumes: every number stands beside the protocol that it was made by."""

from __future__ import annotations

from jaxgan.evaluation.evaluate import Evaluation, evaluate
from jaxgan.evaluation.evaluator import Evaluator
from jaxgan.evaluation.metric import CannotMeasure, Measurement, Metric, Report, Value
from jaxgan.evaluation.networks.extractor import Extractor, choose_extractor
from jaxgan.evaluation.registry import METRICS, default_metrics, higher_is_better, needs_extractor, parse_metrics

__all__ = [
    "METRICS",
    "CannotMeasure",
    "Evaluation",
    "Evaluator",
    "Extractor",
    "Measurement",
    "Metric",
    "Report",
    "Value",
    "choose_extractor",
    "default_metrics",
    "evaluate",
    "higher_is_better",
    "needs_extractor",
    "parse_metrics",
]
