"""An evaluation for a person, as sheets, and as rows of one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from llmkit.cli.sheets import Column, Sheet

if TYPE_CHECKING:
    from llmkit.training.evaluating import Evaluation, WorstExample

_MOST_CLASSES = 20  # of a confusion matrix on a terminal
_LONGEST_CELL = 160
_OF_A_CLASS = ("precision", "recall", "f1")


def sheets(found: Evaluation) -> Iterator[Sheet]:
    """Go through what was found, the figures first."""
    yield _figures(found)
    if found.classes:
        yield _classes(found)
    if found.confusion is not None and len(found.confusion["labels"]) <= _MOST_CLASSES:
        yield _confusion(found.confusion)
    if found.worst:
        yield _worst(found)


def rows(found: Evaluation) -> Iterator[dict[str, Any]]:
    """Go through the figures: metric, value and interval."""
    for name, value in found.metrics.items():
        interval = found.intervals.get(name, {"low": None, "high": None})
        yield {"metric": name, "value": value, **interval}


def _figures(found: Evaluation) -> Sheet:
    level = f"{100 * found.confidence:g} %"
    columns: tuple[Column, ...] = (Column("metric"), Column("value", True))
    if found.intervals:
        columns = (*columns, Column(f"{level} from", True), Column("to", True))
    cells = [
        tuple(_number(row[name]) for name in ("value", "low", "high")[: len(columns) - 1])
        for row in rows(found)
    ]
    return Sheet(
        f"{found.model}: {found.task}, {found.examples:,} examples of {', '.join(found.data)}",
        columns,
        tuple((name, *each) for name, each in zip(found.metrics, cells, strict=True)),
        notes=tuple(found.notes),
    )


def _classes(found: Evaluation) -> Sheet:
    return Sheet(
        "Each class",
        (Column("class"), *(Column(name, True) for name in _OF_A_CLASS), Column("support", True)),
        tuple(
            (
                str(each["label"]),
                *map(_number, (each["precision"], each["recall"], each["f1"])),
                f"{each['support']:,}",
            )
            for each in found.classes
        ),
    )


def _confusion(confusion: Mapping[str, Any]) -> Sheet:
    labels = confusion["labels"]
    return Sheet(
        "Expected (rows) and predicted (columns)",
        (Column(""), *(Column(label, True) for label in labels)),
        tuple(
            (label, *(f"{count:,}" for count in counts))
            for label, counts in zip(labels, confusion["counts"], strict=True)
        ),
    )


def _worst(found: Evaluation) -> Sheet:
    return Sheet(
        "The highest losses",
        (
            Column("where"),
            Column("loss", True),
            Column("expected"),
            Column("predicted"),
            Column("probability", True),
            Column("text"),
        ),
        tuple(
            (
                each.place,
                _number(each.loss),
                _cell(each.expected),
                _cell(each.predicted),
                _number(each.probability),
                _text(each),
            )
            for each in found.worst
        ),
    )


def _text(example: WorstExample) -> str:
    """Return what the model saw of a row: its texts, not its label."""
    texts = [
        value for value in example.input.values() if isinstance(value, str) and value != example.expected
    ]
    lists = [" ".join(value) for value in example.input.values() if _is_words(value)]
    return _cell(" | ".join(texts or lists[:1]))


def _is_words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, str) for each in value)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list):
        value = " ".join(map(str, value))
    text = " ".join(str(value).split())
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
