"""Which class was taken for which, and how often: the statistics behind F1, precision, recall and Matthews."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.errors import DataError, UsageError
from llmkit.metrics.inputs import Label, as_labels, paired
from llmkit.metrics.summed import Totals

Pair = tuple[Label, Label]


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts of (reference, prediction): `counts[i][j]` examples of class `labels[i]` were called `labels[j]`."""

    labels: tuple[Label, ...]
    counts: tuple[tuple[int, ...], ...]


def confusion_matrix(
    predictions: Any, references: Any, *, labels: Sequence[Label] | None = None
) -> ConfusionMatrix:
    """Count the confusions, as scikit-learn's `confusion_matrix` does.

    Args:
        predictions: one class an example.
        references: the same length.
        labels: the classes to show, in this order; those that occur, in order, when None.

    Raises:
        DataError: they are not classes, or differ in length.
    """
    totals: dict[Pair, int] = {}
    for pair in class_pairs(predictions, references):
        totals[pair] = totals.get(pair, 0) + 1
    return confusion_of(totals, labels)


def confusion_of(totals: Totals, labels: Sequence[Label] | None = None) -> ConfusionMatrix:
    """Return the matrix of counts by (reference, prediction)."""
    shown = list(present_labels(totals) if labels is None else labels)
    counts = tuple(
        tuple(int(totals.get((reference, prediction), 0)) for prediction in shown) for reference in shown
    )
    return ConfusionMatrix(tuple(shown), counts)


def class_pairs(predictions: Any, references: Any) -> Iterator[Pair]:
    """Yield (reference, prediction) of each example.

    Raises:
        DataError: they are not classes, or names meet numbers, which never agree.
    """
    predictions, references = paired(predictions, references)
    called, true = as_labels(predictions, "predictions"), as_labels(references, "references")
    named = {isinstance(label, str) for label in called} | {isinstance(label, str) for label in true}
    if len(named) > 1:
        raise DataError(
            "some classes are numbers and some are names: they never agree.",
            hint=f"The predictions begin with {called[0]!r}, the references with {true[0]!r}.",
        )
    return zip(true, called, strict=True)


def present_labels(totals: Totals) -> list[Label]:
    """Return the classes that occur among references or predictions, in order."""
    return sorted({label for pair, count in totals.items() if count for label in pair})


def check_labels(labels: Sequence[Label] | None) -> list[Label] | None:
    """Return the labels to report on.

    Raises:
        UsageError: there are none, or one stands there twice.
    """
    if labels is None:
        return None
    listed = as_labels(list(labels), "labels")
    if not listed or len(set(listed)) != len(listed):
        raise UsageError(f"'labels' should name each class once: {listed}.")
    return listed
