"""Metrics whose statistics are sums over examples: one table of totals, whatever the number of examples."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llmkit.metrics.metric import Resampled, Result, State, StreamedMetric

if TYPE_CHECKING:
    from numpy.typing import NDArray

Totals = Mapping[Any, float]


class SummedMetric(StreamedMetric):
    """A metric that is a function of the totals of what each example adds.

    A key of the totals is a text, a number, or a tuple of those.
    """

    def __init__(self) -> None:
        self.totals: dict[Any, float] = {}
        self.checks_at_once = True

    @abstractmethod
    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        """Yield what each example adds to the totals."""

    @abstractmethod
    def result(self, totals: Totals, examples: int) -> Result:
        """Return the result of these totals over `examples` > 0."""

    def check(self, keys: Iterable[Any]) -> None:
        """Say of keys that are to be added to the totals, before any is, that they fit none or each other."""

    def update(self, predictions: Any, references: Any) -> None:
        # All of a batch or nothing: a bad example must not leave half of it behind.
        found = list(self.statistics(predictions, references))
        if self.checks_at_once:
            self.check(key for each in found for key in each)
        for each in found:
            self.examples += 1
            self._add(each)

    def state(self) -> State:
        return {
            "examples": self.examples,
            "totals": [
                [list(key) if isinstance(key, tuple) else key, total] for key, total in self.totals.items()
            ],
        }

    def merge(self, state: State) -> None:
        totals = {tuple(key) if isinstance(key, list) else key: total for key, total in state["totals"]}
        self.check(totals)
        self.examples += state["examples"]
        self._add(totals)

    def compute(self) -> Result:
        return self.result(self.totals, self.examples) if self.examples else self.undefined()

    def resampled(self, predictions: Any, references: Any) -> Resampled:
        import numpy as np

        columns: dict[Hashable, int] = {}
        rows, places, values = [], [], []
        count = 0
        for count, each in enumerate(self.statistics(predictions, references), start=1):
            for key, value in each.items():
                rows.append(count - 1)
                places.append(columns.setdefault(key, len(columns)))
                values.append(value)
        self.check(columns)
        # A sparse matrix (examples, keys) by its entries.
        row, place = np.asarray(rows, dtype=np.int64), np.asarray(places, dtype=np.int64)
        value_of = np.asarray(values, dtype=np.float64)

        def at(indices: NDArray[Any]) -> Result:
            drawn = np.bincount(indices, minlength=count)[row]
            # An example that was not drawn adds nothing, even where its value is infinite or NaN.
            parts = np.where(drawn > 0, drawn * value_of, 0.0)
            totals = np.bincount(place, weights=parts, minlength=len(columns)).tolist()
            return self.result(dict(zip(columns, totals, strict=True)), len(indices))

        return count, at

    def _add(self, added: Totals) -> None:
        for key, value in added.items():
            self.totals[key] = self.totals.get(key, 0) + value


def ratio(part: float, whole: float) -> float:
    """Return part / whole, and 0 for 0 / 0, as scikit-learn with ``zero_division=0``."""
    return part / whole if whole else 0.0
