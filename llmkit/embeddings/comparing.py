"""How alike a few texts are, each with each other: as wholes, by a word in them, or token by token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.embeddings.api import embed
from llmkit.embeddings.embedding import Embedding
from llmkit.embeddings.measures import check_measure, similarities
from llmkit.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

MOST_COMPARED = 2000


@dataclass(frozen=True, slots=True)
class Item:
    """What is compared: a text, or a word or a token of one.

    Attributes:
        label: the text, the word or the token.
        text: the number of its text, from 0.
        place: where it stands in the text, in characters; None for a whole text.
        vector: (dimension,).
    """

    label: str
    text: int
    place: tuple[int, int] | None
    vector: Array


@dataclass(frozen=True, slots=True)
class Comparison:
    """Items, each compared with each other.

    Attributes:
        texts: those that the items are of.
        matrix: (items, items), float32; the same for a and b as for b and a.
    """

    measure: str
    texts: list[str]
    items: list[Item]
    matrix: Array


def items_of(embeddings: Sequence[Embedding]) -> list[Item]:
    """Return what there is to compare in texts: the texts, a word of each, or all words or tokens but special ones."""
    found: list[Item] = []
    for number, each in enumerate(embeddings):
        if each.units is None:
            place = (each.word.start, each.word.end) if each.word is not None else None
            found.append(Item(each.text, number, place, each.vectors))
            continue
        units = each.units
        found += [
            Item(name, number, units.offsets[index], each.vectors[index])
            for index, name in enumerate(units.names)
            if not units.special[index]
        ]
    return found


def compare(embeddings: Sequence[Embedding], measure: str) -> Comparison:
    """Compare what is in texts, each with each other.

    Raises:
        DataError: there are fewer than two things to compare.
        UsageError: there are more than a matrix can show.
    """
    import numpy

    items = items_of(embeddings)
    if len(items) < 2:
        raise DataError("there is nothing to compare with: a comparison takes two texts or more.")
    if len(items) > MOST_COMPARED:
        raise UsageError(
            f"{len(items):,} are too many to compare each with each other; {MOST_COMPARED:,} is the most.",
            hint="llmkit search finds the nearest of any number; --map a=COLUMN,b=COLUMN compares pairs.",
        )
    vectors = numpy.stack([item.vector for item in items])
    matrix = similarities(vectors, vectors, measure)
    if measure == "euclidean":  # rounding leaves a little of a distance to itself
        numpy.fill_diagonal(matrix, 0)
    return Comparison(measure, [each.text for each in embeddings], items, matrix)


def similarity(
    texts: Sequence[str],
    others: Sequence[str] | None = None,
    model: str | None = None,
    *,
    measure: str = "cosine",
    **settings: Any,
) -> Array:
    """Return how alike texts are to others, or to each other, as ``llmkit similarity`` computes it.

    Args:
        texts, others: a text alone is a list of it.
        measure: cosine, dot, or euclidean: the distance.
        settings: whatever `llmkit.embed` takes; one vector a text, or one a text of `word`.

    Returns:
        (texts, others), float32.

    Raises:
        UsageError, DataError, ModelError: as of `llmkit.embed`.
    """
    check_measure(measure)
    if settings.get("level", "sentence") != "sentence" and settings.get("word") is None:
        raise UsageError(f"similarity takes one vector a text, and level {settings['level']} gives several.")
    texts = [texts] if isinstance(texts, str) else texts
    others = [others] if isinstance(others, str) else others
    every = [*texts, *(others or ())]
    vectors = embed(every, model, **settings)
    ones = vectors[: len(texts)]
    return similarities(ones, ones if others is None else vectors[len(texts) :], measure)
