"""F1, precision and recall: of one class, or averaged over classes.

The formulas are scikit-learn's `precision_recall_fscore_support` with ``zero_division=0``; F1 is
2·tp / (predicted + actual).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

from llmkit.errors import DataError, UsageError, unknown
from llmkit.metrics.confusion import check_labels, class_pairs, confusion_of, present_labels
from llmkit.metrics.inputs import Label, paired
from llmkit.metrics.metric import Result
from llmkit.metrics.multilabel import is_multilabel, multilabel_rows
from llmkit.metrics.summed import SummedMetric, Totals, ratio

AVERAGES = ("binary", "macro", "micro", "weighted")
_MULTILABEL = "multi-label"


class Counts(NamedTuple):
    """Of one class: true positives, how often it was predicted, how often it was right to."""

    correct: float
    predicted: float
    actual: float


def precision(counts: Counts) -> float:
    """Return the share of what was predicted that was right."""
    return ratio(counts.correct, counts.predicted)


def recall(counts: Counts) -> float:
    """Return the share of what there is that was found."""
    return ratio(counts.correct, counts.actual)


def f1(counts: Counts) -> float:
    """Return the harmonic mean of precision and recall."""
    return ratio(2 * counts.correct, counts.predicted + counts.actual)


class LabelScore(SummedMetric):
    """A score of classes, from the confusion matrix.

    A prediction is a class, or for multi-label a row of 0 and 1.

    Args:
        average: ``binary`` (the class `pos_label` alone), ``macro`` (the mean over classes), ``micro`` (all
            counts together), ``weighted`` (the mean weighted by how often a class occurs).
        pos_label: the class that ``binary`` is about.
        labels: the classes to average over; those that occur in predictions or references when None. For
            multi-label, columns.
        name: the result's key, when not the score's own.

    Raises:
        UsageError: the average is none of these.
    """

    compute_options = frozenset({"average", "pos_label", "labels"})
    score_name: ClassVar[str]

    def __init__(
        self,
        *,
        average: str = "binary",
        pos_label: Label = 1,
        labels: Sequence[Label] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__()
        if average not in AVERAGES:
            raise unknown("average", str(average), AVERAGES)
        self.average, self.pos_label, self.labels = average, pos_label, check_labels(labels)
        self.name = name or self.score_name

    @property
    def result_keys(self) -> tuple[str, ...]:
        return (self.name,)

    @staticmethod
    @abstractmethod
    def score(counts: Counts) -> float:
        """Return the score of one class."""

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        predictions, references = paired(predictions, references)
        if is_multilabel(predictions, references):
            return _multilabel_statistics(predictions, references)
        return [{pair: 1} for pair in class_pairs(predictions, references)]

    def result(self, totals: Totals, examples: int) -> Result:
        return {self.name: self._average(_counts_by_label(totals, self.labels), totals)}

    def details(self) -> dict[str, Any]:
        by_label = _counts_by_label(self.totals, self.labels)
        found: dict[str, Any] = {
            "classes": {
                label: {
                    "precision": precision(counts),
                    "recall": recall(counts),
                    "f1": f1(counts),
                    "support": int(counts.actual),
                }
                for label, counts in by_label.items()
            }
        }
        if not _has_rows(self.totals):
            found["confusion_matrix"] = asdict(confusion_of(self.totals, self.labels))
        return found

    def _average(self, by_label: dict[Label, Counts], totals: Totals) -> float:
        if self.average == "binary":
            return self.score(_counts_by_label(totals, [self.pos_label])[self.pos_label])
        if self.average == "micro":
            return self.score(Counts(*(sum(column) for column in zip(*by_label.values(), strict=True))))
        weights = {
            label: counts.actual if self.average == "weighted" else 1 for label, counts in by_label.items()
        }
        scores = sum(weights[label] * self.score(counts) for label, counts in by_label.items())
        return ratio(scores, sum(weights.values()))

    def check(self, keys: Iterable[Any]) -> None:
        """Say as soon as it shows, not after an evaluation, that examples and average do not fit."""
        totals = dict.fromkeys((*self.totals, *keys), 1)
        if len({_is_row_key(key) for key in totals}) > 1:
            raise DataError("some examples are one class, others rows of labels.")
        if self.average != "binary":
            return
        others = "Choose another average: macro, micro or weighted."
        if _has_rows(totals):
            raise UsageError("the average 'binary' is for one class an example, not for rows.", hint=others)
        present = present_labels(totals)
        if len(present) > 2:
            raise UsageError(f"the average 'binary' is for two classes; there are {present}.", hint=others)
        if len(present) == 2 and self.pos_label not in present:
            raise UsageError(
                f"the class {self.pos_label!r} does not occur; there are {present}.",
                hint=f"Say pos_label, or choose another average: {', '.join(AVERAGES[1:])}.",
            )


class F1(LabelScore):
    """The harmonic mean of precision and recall, as scikit-learn's `f1_score`; 0 to 1."""

    score_name = "f1"
    score = staticmethod(f1)


class Precision(LabelScore):
    """The share of what was predicted that was right, as scikit-learn's `precision_score`; 0 to 1."""

    score_name = "precision"
    score = staticmethod(precision)


class Recall(LabelScore):
    """The share of what there is that was found, as scikit-learn's `recall_score`; 0 to 1."""

    score_name = "recall"
    score = staticmethod(recall)


def _multilabel_statistics(predictions: list[Any], references: list[Any]) -> Iterable[Totals]:
    for called, true in zip(*multilabel_rows(predictions, references), strict=True):
        # Zeros too: a label that nobody has and nobody predicts counts in a mean over labels.
        yield {
            (_MULTILABEL, label, name): value
            for label, (p, t) in enumerate(zip(called, true, strict=True))
            for name, value in zip(Counts._fields, (p * t, p, t), strict=True)
        }


def _is_row_key(key: Any) -> bool:
    return len(key) == 3


def _has_rows(totals: Totals) -> bool:
    return any(_is_row_key(key) for key in totals)


def _counts_by_label(totals: Totals, labels: Sequence[Label] | None) -> dict[Label, Counts]:
    if _has_rows(totals):
        columns = sorted({label for _, label, _ in totals}) if labels is None else labels
        return {
            label: Counts(*(totals.get((_MULTILABEL, label, name), 0) for name in Counts._fields))
            for label in columns
        }
    predicted: dict[Label, float] = {}
    actual: dict[Label, float] = {}
    for (true, called), count in totals.items():
        actual[true] = actual.get(true, 0) + count
        predicted[called] = predicted.get(called, 0) + count
    shown = present_labels(totals) if labels is None else labels
    return {
        label: Counts(totals.get((label, label), 0), predicted.get(label, 0), actual.get(label, 0))
        for label in shown
    }
