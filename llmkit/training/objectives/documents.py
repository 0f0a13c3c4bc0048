"""Documents of sentences: read from lines with blank lines between, and cut into passages that pairs are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

from llmkit.errors import DataError
from llmkit.training.objectives.batch import Draw, Example

if TYPE_CHECKING:
    import torch

_WINDOW = 1024
"""Documents among which the sentences of another document are drawn."""


@dataclass(slots=True)
class Document:
    """The token ids of a document's sentences, and where its first stands: ``corpus.txt:17``."""

    place: str
    sentences: list[list[int]] = field(default_factory=list)


def documents(sentences: Iterable[tuple[str, str, list[int]]]) -> Iterator[Document]:
    """Gather sentences into documents.

    Args:
        sentences: (file, place, token ids); one without tokens ends a document, and so does another file.
    """
    document, file = Document(""), None
    for source, place, ids in sentences:
        if document.sentences and (not ids or source != file):
            yield document
            document = Document("")
        if ids:
            document.place = document.place or place
            document.sentences.append(ids)
        file = source
    if document.sentences:
        yield document


def passages(found: Iterable[Document], room: int, seed: int) -> Iterator[Example]:
    """Cut documents into passages of at least two sentences, each with sentences of another document beside it.

    Args:
        room: tokens that a passage may have; every sentence has at most half of them.

    Returns:
        Examples: `input_ids` of the passage and `lengths` of its sentences; `other` and `other_lengths`, those of a
        run of sentences from another document that is drawn at random.

    Raises:
        DataError: there is a single document, or no document has two sentences.
    """
    stream, number, first = iter(found), 0, True
    while window := list(islice(stream, _WINDOW)):
        if len(window) == 1 and first:
            raise DataError(
                f"{window[0].place}: there is a single document, so there is no other to draw a sentence from.",
                hint="Put a sentence on each line, and a blank line between documents.",
            )
        first = False
        if len(window) == 1:
            continue  # the last of very many
        for index, document in enumerate(window):
            for passage in _passages(document.sentences, room):
                generator = Draw(seed, 0, number).generator()
                other = _run_of_another(window, index, room, generator)
                yield {
                    "input_ids": list(chain.from_iterable(passage)),
                    "lengths": [len(sentence) for sentence in passage],
                    "other": list(chain.from_iterable(other)),
                    "other_lengths": [len(sentence) for sentence in other],
                    "place": document.place,
                }
                number += 1
    if not number:
        raise DataError(
            "no document has two sentences, so none has a next one.",
            hint="Put a sentence on each line, and a blank line between documents.",
        )


def _passages(sentences: Sequence[list[int]], room: int) -> Iterator[list[list[int]]]:
    """Go through a document's passages, each as full of whole sentences as can be."""
    begin = 0
    while begin < len(sentences):
        end, taken = begin, 0
        while end < len(sentences) and taken + len(sentences[end]) <= room:
            taken, end = taken + len(sentences[end]), end + 1
        if end - begin == 1:  # the last sentence stands alone: it follows the one before it once more
            begin -= 1
        if begin >= 0 and end - begin >= 2:
            yield list(sentences[begin:end])
        begin = end


def _run_of_another(
    window: Sequence[Document], index: int, room: int, generator: torch.Generator
) -> list[list[int]]:
    """Return sentences of another document from a random one on, no more than fit."""
    import torch

    def below(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    number = below(len(window) - 1)
    sentences = window[number + (number >= index)].sentences
    run: list[list[int]] = []
    for sentence in sentences[below(len(sentences)) :]:
        if run and sum(map(len, run)) + len(sentence) > room:
            break
        run.append(sentence)
    return run
