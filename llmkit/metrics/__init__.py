"""Metrics that load without a network, stream, and equal the reference implementations.

`load_metric` gives a metric that is fed batch by batch and merged over devices; `evaluate_metric` gives the
same metric as an `evaluate.Metric`.
"""

from llmkit.metrics.confidence import Interval, confidence_interval
from llmkit.metrics.confusion import ConfusionMatrix, confusion_matrix
from llmkit.metrics.metric import Metric
from llmkit.metrics.registry import (
    MetricEntry,
    evaluate_metric,
    find_metric,
    load_metric,
    metric_names,
    more_is_better,
)

__all__ = [
    "ConfusionMatrix",
    "Interval",
    "Metric",
    "MetricEntry",
    "confidence_interval",
    "confusion_matrix",
    "evaluate_metric",
    "find_metric",
    "load_metric",
    "metric_names",
    "more_is_better",
]
