"""Metrics that need every example's values at the end: a few floats an example are kept, nothing more."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.metrics.metric import Resampled, Result, State, StreamedMetric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class KeptMetric(StreamedMetric):
    """A metric that is a function of a table: `width` float64 an example."""

    width: ClassVar[int]

    def __init__(self) -> None:
        self.kept = array("d")

    @abstractmethod
    def rows(self, predictions: Any, references: Any) -> NDArray[np.float64]:
        """Return what is kept of each example, (examples, width)."""

    @abstractmethod
    def result(self, rows: NDArray[np.float64]) -> Result:
        """Return the result of the rows, (examples, width), at least one."""

    def update(self, predictions: Any, references: Any) -> None:
        rows = self.rows(predictions, references)
        self.examples += len(rows)
        self.kept.frombytes(rows.tobytes())

    def state(self) -> State:
        return {"examples": self.examples, "kept": self.kept.tolist()}

    def merge(self, state: State) -> None:
        self.examples += state["examples"]
        self.kept.extend(state["kept"])

    def compute(self) -> Result:
        return self.result(self.table()) if self.examples else self.undefined()

    def resampled(self, predictions: Any, references: Any) -> Resampled:
        rows = self.rows(predictions, references)
        return len(rows), lambda indices: self.result(rows[indices])

    def table(self) -> NDArray[np.float64]:
        """Return everything that is kept, (examples, width)."""
        import numpy as np

        return np.array(self.kept, dtype=np.float64).reshape(-1, self.width)
