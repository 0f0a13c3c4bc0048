"""Accuracy: the share of examples that are right, all labels of an example together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmkit.metrics.confusion import class_pairs
from llmkit.metrics.inputs import paired
from llmkit.metrics.metric import Result
from llmkit.metrics.multilabel import is_multilabel, multilabel_rows
from llmkit.metrics.summed import SummedMetric, Totals


class Accuracy(SummedMetric):
    """The share of right examples, as scikit-learn's `accuracy_score`; 0 to 1.

    A prediction is a class, or for multi-label a row of 0 and 1, which is right only as a whole (subset accuracy).
    """

    result_keys = ("accuracy",)

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        predictions, references = paired(predictions, references)
        if is_multilabel(predictions, references):
            rows = zip(*multilabel_rows(predictions, references), strict=True)
            return [{"correct": int(called == true)} for called, true in rows]
        return [{"correct": int(true == called)} for true, called in class_pairs(predictions, references)]

    def result(self, totals: Totals, examples: int) -> Result:
        return {"accuracy": totals["correct"] / examples}

    def details(self) -> dict[str, Any]:
        return {"correct": self.totals.get("correct", 0), "total": self.examples}
