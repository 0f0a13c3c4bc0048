"""The steps of a calculation: what is computed, of what shape, with one token's numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the calculation.

    Attributes:
        formula: what is computed, of what, with the shapes of the weights.
        shape: of the whole result.
        values: the row of the token that is explained, of the head that is shown.
    """

    name: str
    formula: str
    shape: tuple[int, ...]
    values: list[float]


def step(name: str, formula: str, whole: Tensor | Sequence[int], row: Tensor) -> Step:
    """Return a step whose whole result is given, or its shape, and of it the token's own row."""
    shape = tuple(whole.shape) if hasattr(whole, "shape") else tuple(whole)
    return Step(name, formula, shape, [float(each) for each in row.flatten().tolist()])
