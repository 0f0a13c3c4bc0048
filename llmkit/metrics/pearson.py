"""The Pearson correlation of two numbers an example, and what correlations share."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llmkit.metrics.inputs import as_numbers
from llmkit.metrics.metric import Resampled, Result, State, StreamedMetric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FEW = "a correlation needs two examples or more."
CONSTANT = "all {what} are the same: the correlation is not defined."
NOT_FINITE = "some predictions or references are NaN, infinite or too large: the correlation is not defined."


@dataclass(frozen=True)
class Moments:
    """Of pairs (x, y): their number, means, sums of squared and multiplied distances to the means, and ranges.

    A mean is given as its distance to an origin, one of the values: so it keeps its digits far from zero, too.
    Two of them are combined without loss of digits by the update of Chan, Golub and LeVeque 1983
    (https://doi.org/10.1080/00031305.1983.10483115). Ranges say exactly whether a column is constant, which
    rounded sums do not.
    """

    count: int = 0
    origin_x: float = 0.0
    origin_y: float = 0.0
    mean_x: float = 0.0
    mean_y: float = 0.0
    sum_xx: float = 0.0
    sum_yy: float = 0.0
    sum_xy: float = 0.0
    range_x: tuple[float, float] = (math.inf, -math.inf)
    range_y: tuple[float, float] = (math.inf, -math.inf)

    @classmethod
    def of(cls, pairs: NDArray[np.float64]) -> Moments:
        """Return the moments of pairs, (examples, 2)."""
        if not len(pairs):
            return cls()
        import numpy as np

        with np.errstate(invalid="ignore", over="ignore"):
            distances = pairs - pairs[0]
            mean_x, mean_y = distances.mean(axis=0).tolist()
            x, y = (distances - (mean_x, mean_y)).T
            lows, highs = pairs.min(axis=0), pairs.max(axis=0)
            xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
        range_x, range_y = ((float(low), float(high)) for low, high in zip(lows, highs, strict=True))
        origin_x, origin_y = pairs[0].tolist()
        return cls(len(pairs), origin_x, origin_y, mean_x, mean_y, xx, yy, xy, range_x, range_y)

    def with_more(self, more: Moments) -> Moments:
        """Return the moments of both sets of pairs."""
        if not (self.count and more.count):
            return more if more.count else self
        count = self.count + more.count
        shift_x = (more.origin_x - self.origin_x) + (more.mean_x - self.mean_x)
        shift_y = (more.origin_y - self.origin_y) + (more.mean_y - self.mean_y)
        weight = self.count * more.count / count
        return Moments(
            count,
            self.origin_x,
            self.origin_y,
            self.mean_x + shift_x * more.count / count,
            self.mean_y + shift_y * more.count / count,
            self.sum_xx + more.sum_xx + shift_x * shift_x * weight,
            self.sum_yy + more.sum_yy + shift_y * shift_y * weight,
            self.sum_xy + more.sum_xy + shift_x * shift_y * weight,
            _range_of_both(self.range_x, more.range_x),
            _range_of_both(self.range_y, more.range_y),
        )

    def why_undefined(self) -> str | None:
        """Return why there is no correlation, or None when there is one."""
        if not math.isfinite(self.sum_xx + self.sum_yy):
            return NOT_FINITE
        if self.count < 2:
            return FEW
        ranges = ((self.range_x, "predictions"), (self.range_y, "references"))
        constant = [what for (low, high), what in ranges if low == high]
        return CONSTANT.format(what=" and ".join(constant)) if constant else None

    def correlation(self) -> float:
        """Return Pearson's r, -1 to 1; NaN where it is not defined."""
        spread = math.sqrt(self.sum_xx) * math.sqrt(self.sum_yy) if self.why_undefined() is None else 0.0
        return max(-1.0, min(1.0, self.sum_xy / spread)) if spread else math.nan


def _range_of_both(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return min(one[0], other[0]), max(one[1], other[1])


class Pearson(StreamedMetric):
    """The linear correlation of predictions and references, as `scipy.stats.pearsonr`; -1 to 1.

    NaN for fewer than two examples, where one side is constant, and where a value is NaN or infinite; `notes` say
    which. What is kept are moments in float64.
    """

    result_keys = ("pearsonr",)

    def __init__(self) -> None:
        self.moments = Moments()

    def update(self, predictions: Any, references: Any) -> None:
        self._add(Moments.of(as_numbers(predictions, references)))

    def state(self) -> State:
        state = asdict(self.moments)
        if not self.examples:
            # JSON has no infinity, which is where the ranges of nothing begin.
            del state["range_x"], state["range_y"]
        return state

    def merge(self, state: State) -> None:
        ranges = {name: tuple(value) for name, value in state.items() if name.startswith("range_")}
        self._add(Moments(**(state | ranges)))

    def compute(self) -> Result:
        return {"pearsonr": self.moments.correlation()}

    def resampled(self, predictions: Any, references: Any) -> Resampled:
        pairs = as_numbers(predictions, references)
        return len(pairs), lambda indices: {"pearsonr": Moments.of(pairs[indices]).correlation()}

    def notes(self) -> list[str]:
        why = self.moments.why_undefined() if self.examples else None
        return [why] if why else super().notes()

    def _add(self, more: Moments) -> None:
        self.moments = self.moments.with_more(more)
        self.examples = self.moments.count
