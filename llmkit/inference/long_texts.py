"""Texts that are longer than the model takes: cut into pieces that fit, the pieces' results made one."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.tasks.catalogue import Long, Task

_OVERLAP = 4  # a quarter of a chunk stands in the next one too
_SENTENCE_END = re.compile(r"(?<=[.!?…。！？])[\"'»”’)\]]*\s+|\n+")
_ABSOLUTE_POSITION_OFFSETS = {  # positions that the embedding table spends on padding
    "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet", "ibert", "data2vec-text", "esm",
}  # fmt: skip
_NO_LIMIT = 10**9


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text.

    Attributes:
        start: where it begins in the text, in characters.
        tokens_before: how many tokens of the text stand before it.
        tokens: how many tokens it has.
        own_from, own_to: the characters for which this piece is the authority, where pieces overlap.
        joint: what stands between this piece and the next, where pieces do not overlap.
    """

    text: str
    start: int
    tokens_before: int
    tokens: int
    own_from: int
    own_to: int
    joint: str = " "


def model_limit(pipe: Any) -> int | None:
    """Return how many tokens the model takes, special ones included; None where there is no limit."""
    config = pipe.model.config
    positions = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    if positions and config.model_type in _ABSOLUTE_POSITION_OFFSETS:
        positions -= (config.pad_token_id or 0) + 1
    limits = [
        limit for limit in (positions, pipe.tokenizer.model_max_length) if limit and 0 < limit < _NO_LIMIT
    ]
    return min(limits) if limits else None


def truncate(text: str, tokenizer: Any, limit: int) -> str:
    """Return the beginning of a text that fits `limit` tokens, special ones included."""
    offsets = _offsets(text, tokenizer)
    room = max(1, limit - tokenizer.num_special_tokens_to_add(pair=False))
    return text if len(offsets) <= room else text[: offsets[room - 1][1]]


def split(text: str, tokenizer: Any, limit: int, long: Long) -> list[Piece]:
    """Cut a text into pieces of at most `limit` tokens, special ones included."""
    room = max(1, limit - tokenizer.num_special_tokens_to_add(pair=False))
    offsets = _offsets(text, tokenizer)
    if long is Long.SECTIONS:
        return _sections(text, offsets, room)
    return _overlapping(text, offsets, room)


def _offsets(text: str, tokenizer: Any) -> list[tuple[int, int]]:
    """Return where each token stands in the text, in characters."""
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [(start, end) for start, end in encoding["offset_mapping"] if end > start]


def _overlapping(text: str, offsets: Sequence[tuple[int, int]], room: int) -> list[Piece]:
    step = max(1, room - room // _OVERLAP)
    starts = [
        _word_start(text, offsets, first) for first in range(0, max(1, len(offsets) - room + step), step)
    ]
    starts = sorted(set(starts))
    spans = [(first, min(first + room, len(offsets))) for first in starts]
    pieces = []
    for number, (first, last) in enumerate(spans):
        begin = 0 if number == 0 else offsets[first][0]
        end = len(text) if last == len(offsets) else offsets[last - 1][1]
        own_from = 0 if number == 0 else _middle(offsets, first, spans[number - 1][1])
        own_to = len(text) if number == len(spans) - 1 else _middle(offsets, spans[number + 1][0], last)
        pieces.append(Piece(text[begin:end], begin, first, last - first, own_from, own_to))
    return pieces


def _word_start(text: str, offsets: Sequence[tuple[int, int]], token: int) -> int:
    """Return the nearest token at or before `token` that begins a word, so that words stay whole."""
    for candidate in range(token, max(0, token - 16), -1):
        start = offsets[candidate][0]
        if start == 0 or text[start - 1].isspace() or text[start].isspace():
            return candidate
    return token


def _middle(offsets: Sequence[tuple[int, int]], first: int, last: int) -> int:
    """Return the character in the middle of the tokens that two pieces share."""
    return offsets[min((first + last) // 2, len(offsets) - 1)][0]


def _sections(text: str, offsets: Sequence[tuple[int, int]], room: int) -> list[Piece]:
    """Group whole sentences up to `room` tokens; a sentence that is longer alone is cut where it must be."""
    pieces: list[Piece] = []
    first = 0
    while first < len(offsets):
        last = min(first + room, len(offsets))
        if last < len(offsets):
            last = _sentence_boundary(text, offsets, first, last)
        begin, end = offsets[first][0], offsets[last - 1][1]
        rest = text[end : offsets[last][0]] if last < len(offsets) else ""
        joint = "\n" if "\n" in rest else " "
        pieces.append(Piece(text[begin:end].strip(), begin, first, last - first, begin, end, joint))
        first = last
    return pieces


def _sentence_boundary(text: str, offsets: Sequence[tuple[int, int]], first: int, last: int) -> int:
    """Return the last token number in (first, last] at which a sentence begins, else the last at which a word does."""
    begin, end = offsets[first][0], offsets[last][0]
    ends = [match.end() for match in _SENTENCE_END.finditer(text, begin, end + 1)]
    for boundary in reversed(ends):
        for token in range(last, first, -1):
            if offsets[token][0] < boundary:
                break
            if offsets[token][0] == boundary or offsets[token - 1][1] <= boundary <= offsets[token][0]:
                return token
    word = _word_start(text, offsets, last)
    return word if word > first else last


def merge_scores(results: Sequence[Any], pieces: Sequence[Piece], top_k: int | None, *, as_list: bool) -> Any:
    """Average the classes' probabilities over the pieces, each weighted by its tokens.

    Args:
        results: for each piece, all classes: ``[{"label", "score"}, …]``.
        top_k: how many classes to give; None gives all.
        as_list: give a list even of one.
    """
    total = sum(piece.tokens for piece in pieces)
    scores: dict[str, float] = {}
    for result, piece in zip(results, pieces, strict=True):
        for each in result:
            scores[each["label"]] = scores.get(each["label"], 0.0) + each["score"] * piece.tokens / total
    ranked = [
        {"label": label, "score": score} for label, score in sorted(scores.items(), key=lambda item: -item[1])
    ]
    return ranked[:top_k] if as_list else ranked[0]


def merge_spans(results: Sequence[Any], pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """Join the spans of overlapping pieces, each taken from the piece in which it lies deepest."""
    merged = []
    for result, piece in zip(results, pieces, strict=True):
        for span in result:
            start = span["start"] + piece.start
            if not piece.own_from <= start < piece.own_to:
                continue
            moved = {**span, "start": start, "end": span["end"] + piece.start}
            if "index" in span:
                moved["index"] = span["index"] + piece.tokens_before
            merged.append(moved)
    return merged


def merge_sections(results: Sequence[Any], pieces: Sequence[Piece], key: str) -> Any:
    """Join the texts of sections; a score is the geometric mean of theirs."""
    if isinstance(results[0], list):  # several sequences for each: the first with the first, and so on
        return [merge_sections(each, pieces, key) for each in zip(*results, strict=False)]
    joints = [piece.joint for piece in pieces[:-1]] + [""]
    text = "".join(result[key].strip() + joint for result, joint in zip(results, joints, strict=True))
    merged = {**results[0], key: text}
    if "score" in merged:
        logs = [math.log(max(result["score"], 1e-300)) for result in results]
        merged["score"] = math.exp(sum(logs) / len(logs))
    return merged


def merger_of(task: Task, parameters: dict[str, Any]) -> Callable[[Sequence[Any], Sequence[Piece]], Any]:
    """Return how the results of a text's pieces become one result of the task."""
    if task.long is Long.SCORES:
        as_list = "top_k" in parameters
        top_k = parameters.get("top_k")
        return lambda results, pieces: merge_scores(results, pieces, top_k, as_list=as_list)
    if task.long is Long.SPANS:
        return merge_spans
    return lambda results, pieces: merge_sections(results, pieces, task.result_key)
