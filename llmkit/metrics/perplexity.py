"""Perplexity, from summed losses and numbers of tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from llmkit.errors import DataError
from llmkit.metrics.inputs import as_numbers, plain
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals


class Perplexity(SummedMetric):
    """exp of the mean negative log-likelihood of a token; 1 and up, less is better.

    A prediction is the negative log-likelihood of an example summed over its tokens, in nats; a reference is the
    number of those tokens. A batch may also be one sum and one number. Every token weighs the same, whatever the
    batch it came in, which a mean of batch losses does not give.
    """

    result_keys = ("perplexity",)

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        pairs = as_numbers(_at_least_1d(predictions), _at_least_1d(references))
        for loss, tokens in pairs.tolist():
            if not (tokens >= 0 and tokens.is_integer()):
                raise DataError(f"a number of tokens is {tokens}.")
            yield {"negative_log_likelihood": loss, "tokens": int(tokens)}

    def result(self, totals: Totals, examples: int) -> Result:
        return {"perplexity": _exp(_cross_entropy(totals))}

    def details(self) -> dict[str, Any]:
        """Return the cross entropy in nats and in bits a token, and the number of tokens."""
        mean = _cross_entropy(self.totals)
        return {
            "cross_entropy": mean,
            "bits_per_token": mean / math.log(2),
            "tokens": self.totals.get("tokens", 0),
        }

    def notes(self) -> list[str]:
        if self.examples and not self.totals["tokens"]:
            return ["there are no tokens: the perplexity is not defined."]
        return super().notes()


def _at_least_1d(values: Any) -> Any:
    values = plain(values)
    return [values] if isinstance(values, int | float) else values


def _cross_entropy(totals: Totals) -> float:
    tokens = totals.get("tokens", 0)
    return totals["negative_log_likelihood"] / tokens if tokens else math.nan


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
