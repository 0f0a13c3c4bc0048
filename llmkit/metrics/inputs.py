"""From what a caller has (lists, arrays, tensors) to plain Python values, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from llmkit.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Label = int | str
T = TypeVar("T")


def plain(values: Any) -> Any:
    """Return an array, a tensor on any device or a numpy scalar as Python values; others as they are."""
    return values.tolist() if hasattr(values, "tolist") else values


def listed(values: Any, what: str) -> list[Any]:
    """Return a batch as a list of one value an example.

    Raises:
        DataError: it is one value, not a batch.
    """
    values = plain(values)
    if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
        raise DataError(f"the {what} are {_shown(values)}.", hint="Give a list: one value an example.")
    return [plain(value) for value in values]


def paired(predictions: Any, references: Any) -> tuple[list[Any], list[Any]]:
    """Return both as lists.

    Raises:
        DataError: one is no batch, or they differ in length.
    """
    predictions, references = listed(predictions, "predictions"), listed(references, "references")
    if len(predictions) != len(references):
        raise DataError(f"there are {len(predictions)} predictions for {len(references)} references.")
    return predictions, references


def as_labels(values: Sequence[Any], what: str) -> list[Label]:
    """Return classes as int or str; `True` and `1.0` are the class 1.

    Raises:
        DataError: a value is not a class: None, NaN, 0.5, a list.
    """
    try:
        distinct = set(values)
    except TypeError:
        bad = next(value for value in values if not isinstance(value, int | str | float))
        raise DataError(f"a class among the {what} is {_shown(bad)}.", hint=_ONE_CLASS) from None
    names = {value: _as_label(value, what) for value in distinct}
    return [names[value] for value in values]


_ONE_CLASS = "A class is a whole number or a text; for several labels an example give rows of 0 and 1."


def _as_label(value: Any, what: str) -> Label:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and value == value and value == value // 1:
        return int(value)
    raise DataError(f"a class among the {what} is {_shown(value)}.", hint=_ONE_CLASS)


def as_numbers(predictions: Any, references: Any) -> NDArray[np.float64]:
    """Return one number an example as float64.

    Args:
        predictions: (examples,) or (examples, 1), as a regression head gives them.
        references: the same.

    Returns:
        (examples, 2): prediction and reference. NaN and infinity pass.

    Raises:
        DataError: there is something else than one number an example.
    """
    import numpy as np

    columns = []
    for values, what in ((predictions, "predictions"), (references, "references")):
        values = listed(values, what)
        try:
            column = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise DataError(f"the {what} are not numbers: {_shown(values[:3])}.") from None
        if column.ndim > 2 or (column.ndim == 2 and column.shape[1] != 1):
            raise DataError(f"the {what} have shape {column.shape}: this metric takes one number an example.")
        columns.append(column.reshape(-1))
    if len(columns[0]) != len(columns[1]):
        raise DataError(f"there are {len(columns[0])} predictions for {len(columns[1])} references.")
    return np.stack(columns, axis=1)


def as_text(value: Any, what: str) -> str:
    """Return a text.

    Raises:
        DataError: it is none.
    """
    if isinstance(value, str):
        return value
    raise DataError(f"one of the {what} is not a text: {_shown(value)}.")


def as_texts(value: Any, what: str) -> list[str]:
    """Return one reference text, or several for one example, as a list.

    Raises:
        DataError: there is none, or one is not a text.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not texts:
        raise DataError(f"one of the {what} has no text: {_shown(value)}.")
    return [as_text(text, what) for text in texts]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
