"""A figure that was worked out: how much, between which bounds, by which formula, from which source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NotRequired

from llmkit.units import Amount, Measured


@dataclass(frozen=True, slots=True)
class Span:
    """A number that is known, or known to lie between two others; each result keeps the bounds of what it came from."""

    middle: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Span:
        """Return a number that is known."""
        return cls(value, value, value)

    @property
    def is_exact(self) -> bool:
        """Whether there is nothing uncertain about it."""
        return self.low == self.middle == self.high

    def __mul__(self, other: Span | float) -> Span:
        other = other if isinstance(other, Span) else Span.exact(other)
        return Span(self.middle * other.middle, self.low * other.low, self.high * other.high)

    def __truediv__(self, other: Span | float) -> Span:
        other = other if isinstance(other, Span) else Span.exact(other)
        return Span(self.middle / other.middle, self.low / other.high, self.high / other.low)

    def map(self, function: Callable[[float], float]) -> Span:
        """Return what a rising function makes of it."""
        return Span(function(self.middle), function(self.low), function(self.high))


class Worked(Measured):
    """A figure as JSON has it: `low` and `high` where an input is uncertain, in the same unit."""

    low: NotRequired[float]
    high: NotRequired[float]
    label: str
    formula: str
    numbers: str
    source: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a report.

    Attributes:
        key: its name in JSON, such as ``training_flops``.
        label: its name for a person.
        low, high: bounds where an input is uncertain; None where none is.
        formula: in words; `numbers` is the same with numbers and their units.
        source: the paper, page or data sheet it comes from; "" where it is arithmetic.
    """

    key: str
    label: str
    amount: Amount
    formula: str
    numbers: str = ""
    source: str = ""
    low: Amount | None = None
    high: Amount | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values: the number and its bounds beside the one unit of all three."""
        bounds = (
            {} if self.low is None or self.high is None else {"low": self.low.value, "high": self.high.value}
        )
        return {
            **self.amount.to_json(),
            **bounds,
            "label": self.label,
            "formula": self.formula,
            "numbers": self.numbers,
            "source": self.source,
        }


def figure(
    key: str, label: str, span: Span, unit: str, *, formula: str, numbers: str = "", source: str = ""
) -> Figure:
    """Return a figure of a number that may be uncertain."""
    amount = Amount(span.middle, unit)
    if span.is_exact:
        return Figure(key, label, amount, formula, numbers, source)
    return Figure(
        key, label, amount, formula, numbers, source, Amount(span.low, unit), Amount(span.high, unit)
    )
