"""Texts that are longer than the model takes: cut into pieces that fit, the pieces' results made one."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.models.tokenizing import token_limit
from llmkit.tasks.catalogue import Kind, Long, Task
from llmkit.wanted import should_be

_OVERLAP = 4  # a quarter of a chunk stands in the next one too
# The first group ends where the sentence does; a full-width mark needs no space after it.
_SENTENCE_END = re.compile(r"""((?<=[.!?…])["'»”’)\]]*)\s+|((?<=[。！？])["'»”’)\]」』）]*)\s*|()\n+""")


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


def limit_of(pipe: Any, task: Task, chosen: int | None) -> int | None:
    """Return how many tokens an input may have: what the model takes, or less where the user chose so.

    Raises:
        UsageError: with what was chosen not even one token of each text fits.
    """
    tokenizer = getattr(pipe, "tokenizer", None)
    if tokenizer is not None and chosen is not None:
        _check_room(tokenizer, task, chosen)
    if task.long is Long.EACH:
        own = pipe.max_tokens
    else:
        own = (
            token_limit(pipe.model.config, pipe.tokenizer)
            if tokenizer is not None and tokenizer.is_fast
            else None
        )
    limits = [limit for limit in (own, chosen) if limit]
    return min(limits) if limits else None


def new_tokens(pipe: Any, parameters: Mapping[str, Any], length: int) -> tuple[int, bool]:
    """Return how many tokens are generated at most after a text of some length, and whether that was asked for.

    A call's own parameters come first, then the model's, then the pipeline's; ``max_length`` counts the text too.
    """
    given = parameters.get("generation_config")
    own = {} if given is None else given.to_diff_dict()
    for number, is_asked in (
        (parameters, True),
        (own, True),
        (pipe.model.generation_config.to_diff_dict(), False),
    ):
        if number.get("max_new_tokens"):
            return number["max_new_tokens"], is_asked
        if number.get("max_length"):
            return max(0, number["max_length"] - length), is_asked
    defaults = getattr(pipe, "_default_generation_config", None)
    return (defaults and defaults.max_new_tokens) or 0, False


def _check_room(tokenizer: Any, task: Task, chosen: int) -> None:
    fields = [field for field in task.required_fields if field.kind is Kind.TEXT and not field.parameter]
    texts = 1 if task.long is Long.EACH else max(1, len(fields))
    special = tokenizer.num_special_tokens_to_add(pair=texts > 1)
    if chosen < special + texts:
        raise should_be(
            f"--max-length {chosen}",
            f"{special + texts} or more",
            hint=f"The model adds {special} tokens of its own.",
        )


def truncate(text: str, tokenizer: Any, limit: int) -> str:
    """Return the beginning of a text that fits `limit` tokens, special ones included."""
    tokens = _Tokens(text, tokenizer, limit)
    last = tokens.fitting_end(0)
    return text if last == len(tokens) else tokens.text_of(0, last)


def split(text: str, tokenizer: Any, limit: int, long: Long) -> list[Piece]:
    """Cut a text into pieces of at most `limit` tokens, special ones included."""
    tokens = _Tokens(text, tokenizer, limit)
    return _sections(tokens) if long is Long.SECTIONS else _overlapping(tokens)


class _Tokens:
    """A text as its tokens, which says where it may be cut.

    A character may be several tokens (an emoji in bytes), and a part of a text may have more tokens than it
    had in the whole (a word that is cut in two). So a part is cut between characters, and counted by itself.

    Attributes:
        offsets: where each token stands in the text, in characters.
        room: how many of the text's tokens fit a piece.
    """

    def __init__(self, text: str, tokenizer: Any, limit: int) -> None:
        self.text = text
        self.room = max(1, limit - tokenizer.num_special_tokens_to_add(pair=False))
        self._tokenizer = tokenizer
        self.offsets = [
            (start, end) for start, end in self._encode(text, return_offsets_mapping=True)["offset_mapping"]
        ]
        ends = [0, *itertools.accumulate((end for _, end in self.offsets), max)]
        self._cuts = [start >= end for (start, _), end in zip(self.offsets, ends, strict=False)] + [True]

    def __len__(self) -> int:
        return len(self.offsets)

    def _encode(self, text: str, **options: Any) -> Any:
        return self._tokenizer(text, add_special_tokens=False, verbose=False, **options)

    def begin_of(self, first: int) -> int:
        """Return where the text of a part begins; a space before a word belongs to it: " a" is not the token "a"."""
        if first == 0:
            return 0
        begin = self.offsets[first][0]
        return begin - 1 if self.text[begin - 1].isspace() and begin > self.offsets[first - 1][1] else begin

    def end_of(self, last: int) -> int:
        """Return where the text of a part ends whose last token is the one before `last`."""
        return len(self.text) if last == len(self) else self.offsets[last - 1][1]

    def text_of(self, first: int, last: int) -> str:
        """Return the text of the tokens from `first` to before `last`."""
        return self.text[self.begin_of(first) : self.end_of(last)]

    def fitting_end(self, first: int, last: int | None = None, *, strip: bool = False) -> int:
        """Return the last token number, `last` at most, at which a part from `first` ends and fits."""
        last = self.cut_before(min(first + self.room, last or len(self), len(self)), first)
        while True:
            part = self.text_of(first, last)
            excess = len(self._encode(part.strip() if strip else part)["input_ids"]) - self.room
            if excess <= 0:
                break
            shorter = self.cut_before(max(first + 1, last - excess), first)
            if shorter >= last:  # one character: no way to cut it
                break
            last = shorter
        return last

    def cut_before(self, token: int, first: int) -> int:
        """Return the nearest place for a cut at or before `token`, after `first` in any case."""
        for candidate in range(token, first, -1):
            if self._cuts[candidate]:
                return candidate
        return next(number for number in range(token, len(self) + 1) if self._cuts[number])

    def word_before(self, token: int) -> int | None:
        """Return the nearest token at or before `token` that begins a word, if there is one near."""
        for candidate in range(token, max(0, token - 16), -1):
            start = self.offsets[candidate][0]
            is_word = start == 0 or self.text[start - 1].isspace() or self.text[start : start + 1].isspace()
            if is_word and self._cuts[candidate]:
                return candidate
        return None

    def sentence_before(self, token: int, first: int) -> int | None:
        """Return the last token in (first, token] with which a sentence begins, if there is one."""
        begin, end = self.offsets[first][0], self.offsets[token][0]
        gaps = [
            (match.end(match.lastindex or 0), match.end())
            for match in _SENTENCE_END.finditer(self.text, begin, end + 1)
        ]
        for candidate in range(token, first, -1):
            start = self.offsets[candidate][0]
            while gaps and gaps[-1][0] > start:
                gaps.pop()
            if not gaps:
                return None
            if start <= gaps[-1][1] and self._cuts[candidate]:
                return candidate
        return None


def _overlapping(tokens: _Tokens) -> list[Piece]:
    spans: list[tuple[int, int]] = []
    first, last = 0, tokens.fitting_end(0)
    spans.append((first, last))
    while last < len(tokens):
        shared = tokens.cut_before(max(first + 1, last - (last - first) // _OVERLAP), first)
        word = tokens.word_before(shared)
        first = word if word is not None and word > first else shared
        # Words that begin this piece anew may leave it no longer than the one before.
        if (end := tokens.fitting_end(first)) <= last:
            first, end = last, tokens.fitting_end(last)
        last = end
        spans.append((first, last))
    pieces = []
    for number, (first, last) in enumerate(spans):
        begin, end = tokens.begin_of(first), tokens.end_of(last)
        own_from = 0 if number == 0 else _middle(tokens, first, spans[number - 1][1])
        own_to = len(tokens.text) if last == len(tokens) else _middle(tokens, spans[number + 1][0], last)
        pieces.append(Piece(tokens.text[begin:end], begin, first, last - first, own_from, own_to))
    return pieces


def _middle(tokens: _Tokens, first: int, last: int) -> int:
    """Return the character in the middle of the tokens that two pieces share."""
    return tokens.offsets[(first + last) // 2][0]


def _sections(tokens: _Tokens) -> list[Piece]:
    """Group whole sentences up to the room there is; a sentence that is longer alone is cut where it must be."""
    pieces: list[Piece] = []
    first = 0
    while first < len(tokens):
        last = tokens.fitting_end(first, strip=True)
        if last < len(tokens):
            better = tokens.sentence_before(last, first) or tokens.word_before(last)
            if better is not None and better > first:
                last = tokens.fitting_end(first, better, strip=True)
        # Up to the next section: nothing between them gets lost.
        begin = tokens.offsets[first][0] if first else 0
        end = tokens.offsets[last][0] if last < len(tokens) else len(tokens.text)
        inside = tokens.text[begin:end]
        text = inside.strip()
        joint = "\n" if "\n" in inside[len(inside.rstrip()) :] else " "
        start = begin + len(inside) - len(inside.lstrip())
        pieces.append(Piece(text, start, first, last - first, begin, end, joint))
        first = last
    return pieces


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


def replace_text(value: Any, text: str, shorter: str) -> Any:
    """Return a pipeline's input with a text in it, however deep, replaced by a shorter one."""
    if isinstance(value, str):
        return shorter if value == text else value
    if isinstance(value, dict):
        return {key: replace_text(each, text, shorter) for key, each in value.items()}
    if isinstance(value, list):
        return [replace_text(each, text, shorter) for each in value]
    return value


def share_room(lengths: Sequence[int], room: int) -> list[int]:
    """Return how many tokens each of several texts keeps: the longest give way first."""
    shares = [0] * len(lengths)
    for left, number in enumerate(sorted(range(len(lengths)), key=lambda each: lengths[each])):
        shares[number] = max(1, min(lengths[number], room // (len(lengths) - left)))
        room -= shares[number]
    return shares
