"""``from llmkit import search``: what is nearest to a query among texts, an array of vectors, or a file of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.embeddings.api import embed
from llmkit.embeddings.measures import check_measure
from llmkit.embeddings.settings import EmbedSettings
from llmkit.embeddings.top_k import Hit, nearest
from llmkit.embeddings.vector_files import VectorFile, array_blocks, open_vectors
from llmkit.errors import DataError, UsageError
from llmkit.wanted import at_least, should_be

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

TOP_K = 10
_READ: dict[str, Callable[[str], Any]] = {
    "pooling": str,
    "layers": str,
    "layers_merge": str,
    "word": str,
    "subwords": str,
    "normalize": lambda text: text == "True",
    "dim": int,
    "max_length": int,
}


def search(
    query: str | Sequence[str] | Array,
    among: Sequence[str] | Array | str | Path,
    model: str | None = None,
    *,
    top_k: int = TOP_K,
    measure: str = "cosine",
    min_score: float | None = None,
    **settings: Any,
) -> list[Hit] | list[list[Hit]]:
    """Return the nearest to a query, exactly, the nearest first.

    Args:
        query: a text, several, or vectors (queries, dimension).
        among: texts, vectors (rows, dimension), or the path of a file of vectors.
        min_score: leave out what is less alike; for euclidean, what is farther.
        settings: whatever `llmkit.embed` takes, for query and texts alike; a file says its own settings.

    Returns:
        Hits with the row and the score, a list for one text, a list of those for several queries.

    Raises:
        UsageError, DataError, ModelError: as of `llmkit.embed`; vectors of another dimension; no file of vectors.
    """
    check_measure(measure)
    check_top_k(top_k)
    check_min_score(min_score)
    import numpy

    def vectors_of(texts: Any) -> Array:
        given = isinstance(texts, numpy.ndarray)
        made: Any = texts if given else embed(list(texts), model, **settings)
        return numpy.asarray(made)

    if isinstance(among, str | Path):
        file = open_vectors(str(among))
        if file is None:
            raise DataError(f"{among} is no file of vectors.")
        model, settings = model or file.metadata.get("model"), {**settings_of(file.metadata), **settings}
        blocks: Iterable[Array] = file.blocks()
    else:
        blocks = array_blocks(vectors_of(among))
    asked = vectors_of([query] if isinstance(query, str) else query)
    found = nearest(asked, blocks, top_k, measure, min_score=min_score)
    return found.hits[0] if isinstance(query, str) else found.hits


def check_top_k(number: int) -> int:
    """Return how many are to be found.

    Raises:
        UsageError: less than one.
    """
    at_least(1, number, "--top-k")
    return number


def check_min_score(score: float | None) -> float | None:
    """Return the score below which nothing is wanted.

    Raises:
        UsageError: it is NaN, which no score reaches.
    """
    if score is not None and math.isnan(score):
        raise should_be("--min-score nan", "a number")
    return score


def settings_of(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the settings that a file of vectors says it was made with, but for the prompt: that was the texts'."""
    return {name: convert(metadata[name]) for name, convert in _READ.items() if name in metadata}


def made_with(settings: EmbedSettings, vectors: VectorFile) -> EmbedSettings:
    """Return the settings that fit a file: its own, where the call says nothing else.

    Raises:
        UsageError: the call says something else.
    """
    own = settings_of(vectors.metadata)
    for name in _READ if "model" in vectors.metadata else ():
        wanted, usual = getattr(settings, name), getattr(EmbedSettings(), name)
        value = own.get(name, usual)
        if wanted not in (usual, value):
            option = {"layers": "--layer"}.get(name, f"--{name.replace('_', '-')}")
            what = "the model's own" if value is None else value
            raise UsageError(
                f"{option} {wanted}: {vectors.path} was made with {what}.",
                hint="Leave the option out, or embed the texts anew with it.",
            )
    return replace(settings, **own)


def rows_at(rows: Iterable[Any], wanted: Iterable[int]) -> Iterator[tuple[int, Any]]:
    """Go through the rows of some numbers, reading no further than the last of them."""
    remaining = set(wanted)
    for number, row in enumerate(rows):
        if not remaining:
            return
        if number in remaining:
            remaining.discard(number)
            yield number, row
