"""The Matthews correlation coefficient of two or more classes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from llmkit.metrics.confusion import class_pairs, confusion_of
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals


class Matthews(SummedMetric):
    """The correlation of predicted and true classes, as scikit-learn's `matthews_corrcoef`; -1 to 1.

    R_K of Gorodkin 2004 (https://doi.org/10.1016/j.compbiolchem.2004.09.006), from the confusion matrix in whole
    numbers. Where all references or all predictions are one class, it is 0.
    """

    result_keys = ("matthews_correlation",)

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        return [{pair: 1} for pair in class_pairs(predictions, references)]

    def result(self, totals: Totals, examples: int) -> Result:
        predicted: dict[Any, int] = {}
        actual: dict[Any, int] = {}
        correct = 0
        for (true, called), total in totals.items():
            count = int(total)
            actual[true] = actual.get(true, 0) + count
            predicted[called] = predicted.get(called, 0) + count
            correct += count if true == called else 0
        agreement = correct * examples - sum(
            predicted.get(label, 0) * count for label, count in actual.items()
        )
        spread_predicted = examples**2 - sum(count**2 for count in predicted.values())
        spread_actual = examples**2 - sum(count**2 for count in actual.values())
        spread = math.sqrt(spread_predicted * spread_actual)
        return {"matthews_correlation": agreement / spread if spread else 0.0}

    def details(self) -> dict[str, Any]:
        return {"confusion_matrix": asdict(confusion_of(self.totals))}

    def notes(self) -> list[str]:
        if self.examples and (len({p for _, p in self.totals}) == 1 or len({t for t, _ in self.totals}) == 1):
            return ["All references or all predictions are of one class: the correlation is set to 0."]
        return super().notes()
