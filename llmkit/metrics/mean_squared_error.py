"""The mean squared error of one number an example."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from llmkit.metrics.inputs import as_numbers
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals


class MeanSquaredError(SummedMetric):
    """The mean of (prediction - reference)², as scikit-learn's `mean_squared_error`; less is better.

    A NaN or infinite value gives NaN or infinity, where scikit-learn raises; `notes` say how many there are.

    Args:
        squared: False takes the square root at the end (RMSE), under the same key, as `evaluate` does.
    """

    compute_options = frozenset({"squared"})
    result_keys = ("mse",)

    def __init__(self, *, squared: bool = True) -> None:
        super().__init__()
        self.squared = squared

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        import numpy as np

        pairs = as_numbers(predictions, references)
        with np.errstate(invalid="ignore", over="ignore"):
            errors = (pairs[:, 0] - pairs[:, 1]) ** 2
        not_finite = np.logical_not(np.isfinite(pairs).all(axis=1))
        for error, bad in zip(errors.tolist(), not_finite.tolist(), strict=True):
            yield {"squared_error": error, "not_finite": int(bad)}

    def result(self, totals: Totals, examples: int) -> Result:
        mean = totals["squared_error"] / examples
        return {"mse": mean if self.squared else math.sqrt(mean)}

    def details(self) -> dict[str, Any]:
        mean = self.totals["squared_error"] / self.examples if self.examples else math.nan
        return {"mse": mean, "rmse": math.sqrt(mean), "total": self.examples}

    def notes(self) -> list[str]:
        bad = self.totals.get("not_finite", 0)
        return [f"{bad} of {self.examples} examples are NaN or infinite."] if bad else super().notes()
