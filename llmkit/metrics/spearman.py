"""The Spearman rank correlation of two numbers an example."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llmkit.metrics.inputs import as_numbers
from llmkit.metrics.kept import KeptMetric
from llmkit.metrics.metric import Result
from llmkit.metrics.pearson import NOT_FINITE, Moments

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Spearman(KeptMetric):
    """The correlation of ranks, as `scipy.stats.spearmanr`; -1 to 1. Equal values share their mean rank.

    Ranks are known only when all values are: two floats (16 bytes) an example are kept. Infinite values have a
    rank; NaN has none. NaN for fewer than two examples, where one side is constant or has a NaN; `notes` say which.
    """

    width = 2
    result_keys = ("spearmanr",)

    def rows(self, predictions: Any, references: Any) -> NDArray[np.float64]:
        return as_numbers(predictions, references)

    def result(self, rows: NDArray[np.float64]) -> Result:
        return {"spearmanr": _moments_of_ranks(rows).correlation()}

    def notes(self) -> list[str]:
        why = _moments_of_ranks(self.table()).why_undefined() if self.examples else None
        return (
            [why.replace(NOT_FINITE, "some predictions or references are NaN.")] if why else super().notes()
        )


def _moments_of_ranks(rows: NDArray[np.float64]) -> Moments:
    import numpy as np

    if np.isnan(rows).any():
        return Moments(len(rows), sum_xx=math.nan)
    return Moments.of(np.stack([mean_ranks(column) for column in rows.T], axis=1))


def mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value, from 1; equal values get the mean of theirs.

    Args:
        values: (examples,), without NaN.
    """
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place]
