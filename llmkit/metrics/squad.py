"""Exact match and F1 of extracted answers, as the official script of SQuAD 1.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmkit.errors import DataError
from llmkit.metrics.answers import answered_questions, normalized_answer, token_f1
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals


class Squad(SummedMetric):
    """The best score over a question's gold answers, as the evaluation script of SQuAD 1.1; 0 to 100.

    Examples are what `answers.answered_questions` takes; ids are matched within a batch, and a question without a
    prediction scores 0.
    """

    result_keys = ("exact_match", "f1")

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        for question in answered_questions(predictions, references):
            text, golds = question.text, question.golds
            if not golds:
                raise DataError(
                    f"question {question.name} has no gold answer.",
                    hint="The metric squad_v2 is for questions that have none.",
                )
            if text is None:
                yield {"exact_match": 0, "f1": 0.0, "missing": 1}
                continue
            yield {
                "exact_match": int(normalized_answer(text) in {normalized_answer(gold) for gold in golds}),
                "f1": max(token_f1(text, gold, empty=False) for gold in golds),
            }

    def result(self, totals: Totals, examples: int) -> Result:
        return {name: 100.0 * totals[name] / examples for name in self.result_keys}

    def notes(self) -> list[str]:
        missing = self.totals.get("missing", 0)
        return [f"{missing} questions have no prediction: they score 0."] if missing else super().notes()
