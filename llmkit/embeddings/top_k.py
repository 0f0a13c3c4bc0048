"""The nearest of any number of vectors: exact, by blocks, in the memory of a block.

The scores of a block are computed in float32, and a few more than k candidates are kept with their vectors; the last
of them are scored again in float64. So the result does not depend on how the rows are cut into blocks, and equal
vectors have equal scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmkit.embeddings.measures import normalized
from llmkit.errors import DataError

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_SPARE = 16  # candidates beyond k, whose float32 scores may be in another order than the exact ones


@dataclass(frozen=True, slots=True)
class Hit:
    """A vector that was found.

    Attributes:
        row: its number, from 0.
        score: how alike it is; for euclidean the distance.
    """

    row: int
    score: float


@dataclass
class Nearest:
    """What a search found.

    Attributes:
        hits: of each query, the nearest first, the lower row first where they are as near.
        rows: vectors that were looked at, and `skipped`, how many of them are not numbers.
    """

    hits: list[list[Hit]] = field(default_factory=list)
    rows: int = 0
    skipped: int = 0


@dataclass
class _Best:
    """The nearest so far of one query."""

    scores: Array
    rows: Array
    vectors: Array

    def add(self, scores: Array, rows: Array, vectors: Array, most: int) -> None:
        import numpy

        every = numpy.concatenate([self.scores, scores])
        numbers = numpy.concatenate([self.rows, rows])
        order = numpy.lexsort((numbers, -every))[:most]
        self.scores, self.rows = every[order], numbers[order]
        self.vectors = numpy.concatenate([self.vectors, vectors])[order]

    def floor(self, most: int) -> float:
        return float(self.scores[-1]) if len(self.scores) == most else float("-inf")


def nearest(
    queries: Array,
    blocks: Iterable[Array],
    k: int,
    measure: str = "cosine",
    *,
    min_score: float | None = None,
) -> Nearest:
    """Find the k vectors that are nearest to each query.

    Args:
        queries: (queries, dimension), finite.
        blocks: the vectors in the order of their rows, each (rows, dimension), float32. One that is not finite is
            skipped.
        measure: cosine, dot, or euclidean, whose distance is the score and smaller is nearer.
        min_score: leave out what is less alike; for euclidean, what is farther.

    Raises:
        DataError: the vectors have another dimension than the queries.
    """
    import numpy

    asked = numpy.asarray(queries, dtype=numpy.float32)
    if measure == "cosine":
        asked = normalized(asked)
    most = k + _SPARE
    dimension = asked.shape[1]
    empty = (
        numpy.empty(0, numpy.float32),
        numpy.empty(0, numpy.int64),
        numpy.empty((0, dimension), numpy.float32),
    )
    best = [_Best(*empty) for _ in range(len(asked))]
    found = Nearest()
    for block in blocks:
        if block.shape[1] != dimension:
            raise DataError(f"vectors of {block.shape[1]:,} and of {dimension:,} numbers cannot be compared.")
        scores = _scores(asked, block, measure)
        found.skipped += int(numpy.isneginf(scores[0]).sum()) if len(scores) else 0
        _keep_best(best, scores, block, found.rows, most)
        found.rows += len(block)
    found.hits = [
        _exact(query, each, k, measure, min_score)
        for query, each in zip(numpy.asarray(queries, numpy.float64), best, strict=True)
    ]
    return found


def _scores(queries: Array, block: Array, measure: str) -> Array:
    """Return how near each row is to each query, (queries, rows): the more the nearer; -inf for what is no number."""
    import numpy

    with numpy.errstate(invalid="ignore", over="ignore"):
        if measure == "euclidean":
            # Not by products: those of vectors far from zero leave nothing of a small distance.
            scores = numpy.stack([-_squares(block - query) for query in queries])
        else:
            scores = queries @ block.T if len(queries) > 1 else (block @ queries[0])[None, :]
            if measure == "cosine":
                lengths = numpy.sqrt(_squares(block))
                lengths[lengths == 0] = 1
                scores /= lengths
    scores[~numpy.isfinite(scores)] = -numpy.inf
    return scores


def _squares(vectors: Array) -> Array:
    """Return the sum of the squares of each row, in one pass without a copy."""
    import numpy

    sums: Array = numpy.einsum("nd,nd->n", vectors, vectors)
    return sums


def _keep_best(best: Sequence[_Best], scores: Array, block: Array, start: int, most: int) -> None:
    """Add to the nearest of each query what a block has that is nearer."""
    import numpy

    if not scores.shape[1]:
        return
    highest = scores.max(axis=1)
    for number, each in enumerate(best):
        floor = each.floor(most)
        if numpy.isneginf(highest[number]) or highest[number] < floor:
            continue
        row = scores[number]
        if len(row) > most:
            floor = max(floor, float(numpy.partition(row, len(row) - most)[len(row) - most]))
        # All that are as near as the last that counts: which of them stay is for their rows to say.
        rows = numpy.flatnonzero((row >= floor) & ~numpy.isneginf(row))
        if len(rows) > most:
            rows = rows[numpy.argsort(-row[rows], kind="stable")[:most]]
        each.add(row[rows], rows + start, block[rows], most)


def _exact(query: Array, best: _Best, k: int, measure: str, min_score: float | None) -> list[Hit]:
    """Return the k nearest candidates, scored in float64."""
    import numpy

    vectors = best.vectors.astype(numpy.float64)
    if measure == "euclidean":
        scores = numpy.linalg.norm(vectors - query, axis=1)
        order = numpy.lexsort((best.rows, scores))[:k]
    else:
        # Row by row, so that equal vectors have equal scores: a matrix product rounds by the place of a row.
        scores = numpy.array([float((vector * query).sum()) for vector in vectors])
        if measure == "cosine":
            lengths = numpy.linalg.norm(vectors, axis=1) * numpy.linalg.norm(query)
            scores = scores / numpy.where(lengths == 0, 1, lengths)
        order = numpy.lexsort((best.rows, -scores))[:k]
    hits = [Hit(int(best.rows[each]), float(scores[each])) for each in order]
    if min_score is None:
        return hits
    return [
        hit for hit in hits if (hit.score <= min_score if measure == "euclidean" else hit.score >= min_score)
    ]
