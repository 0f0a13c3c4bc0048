"""How a calculation looks, step by step: for a person, and as JSON and CSV."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NotRequired

from typing_extensions import TypedDict

from llmkit.cli.attention_views import Attended, Kind
from llmkit.cli.sheets import Column, Sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from llmkit.insight.explaining import Explanation, Step

_VALUES_SHOWN = 4


class Computed(TypedDict):
    """A step: what is computed, the shape of all of it, and the row of the token; null is minus infinity."""

    step: str
    formula: str
    shape: list[int]
    values: list[float | None]


class Explained(TypedDict):
    """One token's calculation in one layer and head, held against the model's own output (--explain)."""

    model: str
    text: str
    text_pair: NotRequired[str]
    family: str
    which: Kind
    layer: int
    head: int
    token: str
    position: int
    steps: list[Computed]
    checked_against: str
    largest_difference: float
    tolerance: float


ATTENTION = Attended | Explained


def explanation_sheets(model: str, found: Explanation) -> list[Sheet]:
    """Return the steps as a table, and under it what the last line was held against."""
    token = found.queries.labels[found.position]
    columns = (Column("step"), Column("formula"), Column("shape"), Column("first values", is_number=True))
    return [
        Sheet(
            f"{found.kind} attention as in {found.family}, layer {found.layer}, head {found.head}, "
            f"token #{found.position + 1} {token} ({model})",
            columns,
            tuple((step.name, step.formula, _shape(step), _first(step.values)) for step in found.steps),
            notes=_notes(found),
        )
    ]


def _notes(found: Explanation) -> tuple[str, ...]:
    same = [label for label in found.queries.labels if label == found.queries.labels[found.position]]
    more = (
        (
            f"The token is there {len(same)} times; this is #{found.position + 1}. --explain '#N' takes another.",
        )
        if len(same) > 1
        else ()
    )
    return (
        f"The last line equals the model's own {found.checked}: the largest difference is "
        f"{found.difference:.1e}, at most {found.tolerance:.1e} is allowed.",
        *more,
    )


def _shape(step: Step) -> str:
    return " × ".join(f"{each:,}" for each in step.shape)


def _first(values: list[float]) -> str:
    shown = " ".join(_number(each) for each in values[:_VALUES_SHOWN])
    return f"{shown} …" if len(values) > _VALUES_SHOWN else shown


def _number(value: float) -> str:
    return ("−∞" if value == -math.inf else f"{value:.4f}").rjust(7)


def explanation_object(model: str, text: str, pair: str | None, found: Explanation) -> dict[str, Any]:
    """Return the calculation as one object; the values of a step are the explained token's, −∞ as null."""
    return {
        "model": model,
        "text": text,
        **({} if pair is None else {"text_pair": pair}),
        "family": found.family,
        "which": found.kind,
        "layer": found.layer,
        "head": found.head,
        "token": found.queries.tokens[found.position],
        "position": found.position,
        "steps": [
            {
                "step": step.name,
                "formula": step.formula,
                "shape": list(step.shape),
                "values": [None if math.isinf(each) else float(f"{each:.9g}") for each in step.values],
            }
            for step in found.steps
        ],
        "checked_against": found.checked,
        "largest_difference": found.difference,
        "tolerance": found.tolerance,
    }


def step_rows(found: Explanation) -> Iterator[Mapping[str, Any]]:
    """Go through the steps as rows of a table, with the first values of each."""
    for number, step in enumerate(found.steps, start=1):
        values = (step.values + [None] * _VALUES_SHOWN)[:_VALUES_SHOWN]
        yield {
            "number": number,
            "step": step.name,
            "formula": step.formula,
            "shape": "x".join(map(str, step.shape)),
            **{f"value_{place}": value for place, value in enumerate(values, start=1)},
        }
