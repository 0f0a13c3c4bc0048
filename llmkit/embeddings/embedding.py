"""What is known of a text once it is embedded, and embedding a window of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.embeddings.attempts import ModelFailedError, attempts
from llmkit.embeddings.batches import batches
from llmkit.embeddings.encoder import Encoder
from llmkit.embeddings.tokens import Offsets, Piece, TokenizedText
from llmkit.embeddings.words import Word, occurrences, words_of
from llmkit.models.batch_threads import on_threads
from llmkit.tasks.inputs import RowError

if TYPE_CHECKING:
    import numpy
    import torch

    Array = numpy.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Units:
    """The tokens or the words of a text, each with a vector.

    Attributes:
        names: tokens as the vocabulary has them, or words as the text has them.
        offsets: where each stands in the text, in characters.
        special: whether the tokenizer added it; no word is.
        ids: of tokens; empty for words.
    """

    names: list[str]
    offsets: Offsets
    special: list[bool]
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Embedding:
    """A text's vectors.

    Attributes:
        vectors: (dimension,) for a text or one word of it, (units, dimension) for its tokens or words.
        tokens: of the whole text, special ones included, and `cut`, how many of them did not count.
        units: what the vectors are of; None for a text.
        word: the word whose vector it is, with its place; None for a text.
    """

    text: str
    vectors: Array
    tokens: int
    cut: int = 0
    units: Units | None = None
    word: Word | None = None


Embedded = Embedding | RowError


def embed_texts(
    encoder: Encoder,
    texts: Sequence[str],
    tokenized: Sequence[TokenizedText | RowError],
    *,
    batch_size: int | None = None,
    advance: Callable[[int], None] = lambda texts: None,
) -> list[Embedded]:
    """Return what each text gives, or why it gives nothing.

    Args:
        tokenized: of the texts, as the encoder's tokenizer gives it.
        advance: hears of each text that is done.
    """
    pieces: list[Piece] = []
    of_text: list[range] = []
    for each in tokenized:
        start = len(pieces)
        pieces += [] if isinstance(each, RowError) else each.pieces
        of_text.append(range(start, len(pieces)))
    text_of = [text for text, numbers in enumerate(of_text) for _ in numbers]
    left = [len(numbers) for numbers in of_text]
    vectors: list[Any] = [None] * len(pieces)
    run = encoder.token_vectors if encoder.settings.by_token else encoder.sentence_vectors
    is_padded = len(pieces) < 2 or not encoder.takes_side_by_side
    on_cpu = encoder.model.device.type == "cpu"
    planned = list(batches(pieces, on_cpu=on_cpu, is_padded=is_padded, batch_size=batch_size))
    given = on_threads(lambda batch: attempts(run, [pieces[each] for each in batch]), planned, on_cpu=on_cpu)
    for batch, of_batch in zip(planned, given, strict=True):
        for number, found in zip(batch, of_batch, strict=True):
            vectors[number] = found
            left[text_of[number]] -= 1
            if not left[text_of[number]]:
                advance(1)
    tokenized = [
        _failure_among(vectors[numbers.start : numbers.stop]) or each
        for each, numbers in zip(tokenized, of_text, strict=True)
    ]
    give = _unit_embeddings if encoder.settings.by_token else _text_embeddings
    return [_finite(each) for each in give(encoder, texts, tokenized, vectors, of_text)]


def _failure_among(vectors: Iterable[Any]) -> ModelFailedError | None:
    return next((each for each in vectors if isinstance(each, ModelFailedError)), None)


def _finite(embedded: Embedded) -> Embedded:
    """Return what is given, or an error where the model gave no numbers."""
    import numpy

    if isinstance(embedded, Embedding) and not numpy.isfinite(embedded.vectors).all():
        return ModelFailedError(ArithmeticError("the vector that the model gives has NaN or infinity in it"))
    return embedded


def _text_embeddings(
    encoder: Encoder,
    texts: Sequence[str],
    tokenized: Sequence[TokenizedText | RowError],
    vectors: Sequence[torch.Tensor],
    of_text: Sequence[range],
) -> Iterator[Embedded]:
    import torch

    means = [
        _mean_of_pieces(each.pieces, [vectors[number] for number in numbers])
        for each, numbers in zip(tokenized, of_text, strict=True)
        if isinstance(each, TokenizedText)
    ]
    finished = iter(encoder.finished(torch.stack(means)) if means else ())
    for text, each in zip(texts, tokenized, strict=True):
        yield each if isinstance(each, RowError) else Embedding(text, next(finished), each.tokens, each.cut)


def _mean_of_pieces(pieces: Sequence[Piece], vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return the mean of the vectors of a text's pieces, each as heavy as it has tokens."""
    import torch

    if len(pieces) == 1:
        return vectors[0]
    weights = torch.tensor([float(len(piece.ids)) for piece in pieces])
    return (torch.stack(list(vectors)) * weights[:, None]).sum(dim=0) / weights.sum()


def _unit_embeddings(
    encoder: Encoder,
    texts: Sequence[str],
    tokenized: Sequence[TokenizedText | RowError],
    vectors: Sequence[torch.Tensor],
    of_text: Sequence[range],
) -> Iterator[Embedded]:
    for text, each, numbers in zip(texts, tokenized, of_text, strict=True):
        if isinstance(each, RowError):
            yield each
            continue
        piece, hidden = each.pieces[0], vectors[numbers[0]]
        if encoder.settings.effective_level == "token":
            names = encoder.tokenizer.tokenizer.convert_ids_to_tokens(piece.ids)
            units = Units(names, piece.offsets, piece.special, piece.ids)
            yield Embedding(text, encoder.finished(hidden), each.tokens, each.cut, units)
            continue
        yield _word_embedding(encoder, text, each, hidden)


def _word_embedding(encoder: Encoder, text: str, tokenized: TokenizedText, hidden: torch.Tensor) -> Embedded:
    """Return the vectors of a text's words, or of the one word that is wanted."""
    import torch

    piece = tokenized.pieces[0]
    words = words_of(text, piece.offsets, piece.special)
    wanted = encoder.settings.word
    if wanted is not None:
        found = occurrences(wanted, words)
        if not found:
            where = " in what the model takes of it" if tokenized.cut else ""
            return RowError(f"the text does not have the word '{wanted}'{where}")
        vector = encoder.finished(_of_word(hidden, found[0], encoder.settings.subwords))
        return Embedding(text, vector, tokenized.tokens, tokenized.cut, word=found[0])
    if not words:
        return RowError("the text has no words")
    vectors = encoder.finished(
        torch.stack([_of_word(hidden, word, encoder.settings.subwords) for word in words])
    )
    units = Units(
        [word.text for word in words], [(word.start, word.end) for word in words], [False] * len(words), []
    )
    return Embedding(text, vectors, tokenized.tokens, tokenized.cut, units)


def _of_word(hidden: torch.Tensor, word: Word, subwords: str) -> torch.Tensor:
    """Return the vector of a word, (hidden,), from those of its tokens, (tokens, hidden)."""
    parts = hidden[list(word.tokens)]
    if subwords == "first":
        return parts[0]
    return parts.amax(dim=0) if subwords == "max" else parts.mean(dim=0)
