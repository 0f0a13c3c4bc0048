"""Ranking metrics: how far in front the right one stands among candidates."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from llmkit.errors import DataError
from llmkit.metrics.inputs import as_numbers
from llmkit.metrics.metric import Result
from llmkit.metrics.summed import SummedMetric, Totals
from llmkit.wanted import should_be


class _OfRanks(SummedMetric):
    """A mean over ranks.

    A prediction is the rank of the right candidate, from 1; a reference is the number of candidates.
    """

    def statistics(self, predictions: Any, references: Any) -> Iterable[Totals]:
        for rank, count in as_numbers(predictions, references).tolist():
            if not 1 <= rank <= count:
                raise DataError(f"the rank {rank:g} is not one of {count:g} candidates.")
            yield {"score": self.score(rank), "by_chance": self.score_by_chance(count)}

    def score(self, rank: float) -> float:
        """Return what a rank counts, 0 to 1."""
        raise NotImplementedError

    def score_by_chance(self, count: float) -> float:
        """Return what a random order of that many candidates counts on average."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """Return what random orders would give."""
        return {"by_chance": self.totals["by_chance"] / self.examples} if self.examples else {}


class MeanReciprocalRank(_OfRanks):
    """The mean of 1 / rank of the right candidate (Voorhees 1999, the TREC-8 question answering track); 0 to 1.

    A prediction is the rank of the right candidate, from 1; a reference is the number of candidates.
    """

    result_keys = ("mrr",)

    def score(self, rank: float) -> float:
        return 1 / rank

    def score_by_chance(self, count: float) -> float:
        return _harmonic(int(count)) / count

    def result(self, totals: Totals, examples: int) -> Result:
        return {"mrr": totals["score"] / examples}


@lru_cache
def _harmonic(count: int) -> float:
    return sum(1 / rank for rank in range(1, count + 1))


class RecallAt(_OfRanks):
    """The share of examples whose right candidate is among the first `k`; 0 to 1.

    A prediction is the rank of the right candidate, from 1; a reference is the number of candidates.
    """

    def __init__(self, k: int = 1) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise should_be(f"k of recall_at_k is {k!r}", "a whole number, 1 or more")
        super().__init__()
        self.k = k

    @property
    def result_keys(self) -> tuple[str, ...]:
        return (f"recall_at_{self.k}",)

    def score(self, rank: float) -> float:
        return float(rank <= self.k)

    def score_by_chance(self, count: float) -> float:
        return min(1.0, self.k / count)

    def result(self, totals: Totals, examples: int) -> Result:
        return {f"recall_at_{self.k}": totals["score"] / examples}
