"""ROUGE, from the scores of rouge-score."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from llmkit.errors import MissingExtraError, unknown
from llmkit.metrics.inputs import as_text, as_texts, paired
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_PARTS = ("precision", "recall", "fmeasure")
_WITHOUT_WORDS = "references without words"


class Rouge(SummedMetric):
    """The mean F-measure of each ROUGE type over examples, as rouge-score; 0 to 1.

    A prediction is a text, a reference a text or a list of texts, of which the best counts, for each type alone.
    rougeLsum takes a line for a sentence. The tokenizer knows a to z and 0 to 9 and nothing else: of a text in
    another script no word is left, and it scores 0; `notes` say how many references that befell.

    `evaluate`'s metric of this name reports the median of bootstrapped means by default; this is the mean itself.

    Args:
        rouge_types: rouge1 to rouge9, rougeL, rougeLsum.
        use_stemmer: compare Porter's stems of words longer than three letters.

    Raises:
        UsageError: there is no such type.
        MissingExtraError: rouge-score is not installed.
    """

    def __init__(self, *, rouge_types: Sequence[str] = ROUGE_TYPES, use_stemmer: bool = False) -> None:
        super().__init__()
        for name in rouge_types:
            if not re.fullmatch(r"rouge([1-9]|L|Lsum)", name):
                raise unknown(
                    "ROUGE type",
                    str(name),
                    ROUGE_TYPES,
                    hint="There are: rouge1 to rouge9, rougeL, rougeLsum.",
                )
        try:
            from rouge_score.rouge_scorer import RougeScorer
            from rouge_score.tokenizers import DefaultTokenizer
        except ImportError:
            raise MissingExtraError("the metric rouge", "metrics") from None
        self.types = tuple(rouge_types)
        self.tokenizer = DefaultTokenizer(use_stemmer)
        self.scorer = RougeScorer(list(rouge_types), tokenizer=self.tokenizer)

    @property
    def result_keys(self) -> tuple[str, ...]:
        return self.types

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        for prediction, reference in zip(*paired(predictions, references), strict=True):
            golds = as_texts(reference, "references")
            scores = self.scorer.score_multi(golds, as_text(prediction, "predictions"))
            empty = not any(self.tokenizer.tokenize(gold) for gold in golds)
            found = {
                (kind, part): float(getattr(scores[kind], part)) for kind in self.types for part in _PARTS
            }
            yield found | ({_WITHOUT_WORDS: 1} if empty else {})

    def result(self, totals: Totals, examples: int) -> Result:
        return {kind: totals[kind, "fmeasure"] / examples for kind in self.types}

    def details(self) -> dict[str, Any]:
        """Return the mean precision, recall and F-measure of each type."""
        if not self.examples:
            return {}
        return {
            kind: {part: self.totals[kind, part] / self.examples for part in _PARTS} for kind in self.types
        }

    def notes(self) -> list[str]:
        empty = self.totals.get(_WITHOUT_WORDS, 0)
        if not empty:
            return super().notes()
        return [f"{empty} of {self.examples} references have no word of a-z and 0-9: ROUGE is 0 there."]
