"""Exact match: the share of texts that are equal, character by character."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from typing import Any

from llmkit.errors import UsageError
from llmkit.metrics.inputs import as_text, paired
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals


class ExactMatch(SummedMetric):
    """The share of predictions equal to their reference, as `evaluate`'s `exact_match`; 0 to 1.

    Args:
        regexes_to_ignore: what matches is cut out of both texts, one pattern after the other.
        ignore_case: compare in lower case.
        ignore_punctuation: cut out ASCII punctuation.
        ignore_numbers: cut out the digits 0 to 9.

    Raises:
        UsageError: a pattern is no regular expression.
    """

    result_keys = ("exact_match",)

    def __init__(
        self,
        *,
        regexes_to_ignore: Sequence[str] | None = None,
        ignore_case: bool = False,
        ignore_punctuation: bool = False,
        ignore_numbers: bool = False,
    ) -> None:
        super().__init__()
        try:
            self.ignored = [re.compile(pattern) for pattern in regexes_to_ignore or ()]
        except re.error as error:
            raise UsageError(f"'{error.pattern!s}' is no regular expression: {error}.") from None
        self.ignore_case = ignore_case
        cut = (string.punctuation if ignore_punctuation else "") + (string.digits if ignore_numbers else "")
        self.cut = str.maketrans("", "", cut)

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        for prediction, reference in zip(*paired(predictions, references), strict=True):
            called = self._normalised(as_text(prediction, "predictions"))
            true = self._normalised(as_text(reference, "references"))
            yield {"equal": int(called == true)}

    def result(self, totals: Totals, examples: int) -> Result:
        return {"exact_match": totals["equal"] / examples}

    def _normalised(self, text: str) -> str:
        for pattern in self.ignored:
            text = pattern.sub("", text)
        return (text.lower() if self.ignore_case else text).translate(self.cut)
