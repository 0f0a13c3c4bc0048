"""Precision, recall and F1 of entities in tagged sequences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmkit.errors import DataError, UsageError, unknown
from llmkit.metrics.entities import Entity, lenient_entities
from llmkit.metrics.entity_schemes import SCHEMES, strict_entities
from llmkit.metrics.inputs import paired
from llmkit.metrics.label_scores import Counts, precision, recall
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals

_ENTITIES, _TOKENS = "entities", "tokens"


class Seqeval(SummedMetric):
    """Scores of whole entities, as the package seqeval; an entity is right when type, begin and end are. 0 to 1.

    A prediction is a list of tags, its reference one of the same length, without padding.

    Args:
        mode: None reads any mixture of B, I, E and S, as conlleval.pl does; ``strict`` counts only what `scheme`
            allows.
        scheme: for ``strict``: IOB1, IOB2, IOE1, IOE2, IOBES or BILOU. seqeval can guess it from all the
            references; here they come one batch at a time, so it must be said.
        suffix: the letter stands after the type (PER-B).

    Raises:
        UsageError: there is no such mode or scheme.
    """

    result_keys = ("overall_precision", "overall_recall", "overall_f1", "overall_accuracy")

    def __init__(self, *, mode: str | None = None, scheme: str | None = None, suffix: bool = False) -> None:
        super().__init__()
        if mode not in (None, "strict"):
            raise unknown("mode", str(mode), ["strict"], hint="'strict', or none for conlleval's way.")
        if scheme is not None and scheme not in SCHEMES:
            raise unknown("scheme", str(scheme), SCHEMES)
        if mode == "strict" and scheme is None:
            raise UsageError("the strict mode needs a scheme.", hint=f"Say one of {', '.join(SCHEMES)}.")
        self.scheme = scheme if mode == "strict" else None
        self.suffix = suffix

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        for called, true in zip(*paired(predictions, references), strict=True):
            _check_tags(called, true)
            yield self._counted(called, true)

    def result(self, totals: Totals, examples: int) -> Result:
        by_type = _counts_by_type(totals)
        everything = (
            Counts(*(sum(column) for column in zip(*by_type.values(), strict=True))) if by_type else None
        )
        scores = _scores(everything or Counts(0, 0, 0))
        tokens = totals[_TOKENS, "all"]
        accuracy = totals[_TOKENS, "correct"] / tokens if tokens else float("nan")
        return {f"overall_{name}": value for name, value in scores.items()} | {"overall_accuracy": accuracy}

    def details(self) -> dict[str, Any]:
        return {"types": self._by_type()}

    def evaluate_result(self) -> dict[str, Any]:
        return {**self._by_type(), **self.compute()}

    def _by_type(self) -> dict[str, Any]:
        return {
            kind: {**_scores(counts), "number": int(counts.actual)}
            for kind, counts in _counts_by_type(self.totals).items()
        }

    def _counted(self, called: list[str], true: list[str]) -> Totals:
        predicted, actual = self._entities(called), self._entities(true)
        counted: dict[Any, float] = {
            (_TOKENS, "all"): len(true),
            (_TOKENS, "correct"): sum(p == t for p, t in zip(called, true, strict=True)),
        }
        for name, entities in zip(Counts._fields, (predicted & actual, predicted, actual), strict=True):
            for kind, _, _ in entities:
                counted[_ENTITIES, kind, name] = counted.get((_ENTITIES, kind, name), 0) + 1
        return counted

    def _entities(self, tags: list[str]) -> set[Entity]:
        if self.scheme is None:
            return lenient_entities(tags, suffix=self.suffix)
        return strict_entities(tags, self.scheme, suffix=self.suffix)


def _check_tags(called: Any, true: Any) -> None:
    for tags in (called, true):
        if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) and tag for tag in tags):
            raise DataError(f"a sequence of tags is {tags!r}.", hint="Give each example a list of tags.")
    if len(called) != len(true):
        raise DataError(f"a sequence has {len(called)} predicted tags for {len(true)} tokens: {true!r}.")


def _counts_by_type(totals: Totals) -> dict[str, Counts]:
    found = {key[1] for key, total in totals.items() if key[0] == _ENTITIES and total}
    return {
        kind: Counts(*(totals.get((_ENTITIES, kind, name), 0) for name in Counts._fields))
        for kind in sorted(found)
    }


def _scores(counts: Counts) -> dict[str, float]:
    p, r = precision(counts), recall(counts)
    # seqeval's form of F1, to the last bit.
    return {"precision": p, "recall": r, "f1": 2 * p * r / (p + r) if p + r else 0.0}
