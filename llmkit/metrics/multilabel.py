"""Rows of 0 and 1: several labels an example."""

from __future__ import annotations

from typing import Any

from llmkit.errors import DataError


def is_multilabel(predictions: list[Any], references: list[Any]) -> bool:
    """Whether the examples are rows, (examples, labels), instead of one class each."""
    return any(isinstance(row, list | tuple) for row in (*predictions[:1], *references[:1]))


def multilabel_rows(predictions: list[Any], references: list[Any]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the rows as 0 and 1.

    Raises:
        DataError: a row is not one, has another value, or another length.
    """
    if not predictions:
        return [], []
    width = len(predictions[0]) if isinstance(predictions[0], list | tuple) else 0
    return _checked(predictions, "predictions", width), _checked(references, "references", width)


def _checked(rows: list[Any], what: str, width: int) -> list[list[int]]:
    for row in rows:
        if not isinstance(row, list | tuple) or not row or len(row) != width or not set(row) <= {0, 1}:
            raise DataError(
                f"a row of labels among the {what} is {row!r}.",
                hint=f"For several labels an example give rows of 0 and 1, here {width} in each.",
            )
    return [[int(value) for value in row] for row in rows]
