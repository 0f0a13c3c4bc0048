"""From start and end logits to answers: the likeliest spans of a context, over the chunks it was cut into."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

# A chunk's likeliest token spans share their score when they give the same text. A fixed number of them,
# whatever top_k is, or the score of the best answer would depend on how many answers were asked for.
POOLED_SPANS = 12


def best_answers(
    chunks: Iterable[Chunk], top_k: int, max_answer_len: int, handle_impossible_answer: bool
) -> list[dict[str, Any]]:
    """Return the `top_k` best answers over the chunks of one example, the best first and no text twice.

    Answers that cannot be are left out, down to one. With `handle_impossible_answer`, the empty answer is
    one of them, as likely as in the chunk that holds it least likely.
    """
    best: dict[str, dict[str, Any]] = {}
    null_score = 1.0
    for chunk in chunks:
        null_score = min(null_score, chunk.null_score)
        for answer in chunk.answers(top_k, max_answer_len):
            key = answer["answer"].lower()
            # Chunks overlap: their probabilities are of the same event and cannot be added.
            if key not in best or answer["score"] > best[key]["score"]:
                best[key] = answer
    ranked = list(best.values())
    if handle_impossible_answer:
        ranked.append({"score": null_score, "start": 0, "end": 0, "answer": ""})
    ranked.sort(key=lambda answer: answer["score"], reverse=True)
    likely = [answer for answer in ranked if answer["score"] > 0] or ranked[:1]
    return likely[:top_k]


class Chunk:
    """The probabilities of one chunk: float64 arrays of shape (sequence,), batch taken away."""

    def __init__(self, output: dict[str, Any], align_to_words: bool) -> None:
        def array(name: str) -> np.ndarray:
            values = output[name][0].cpu()
            return np.asarray(values.double() if values.is_floating_point() else values)

        self.context: str = output["context"]
        present = array("present") == 1
        self.allowed = (array("in_context") == 1) & present
        is_cls = (array("is_cls") == 1) & present
        # CLS shares in the softmax: models of unanswerable questions put their "no answer" on it.
        self.start = _log_softmax(array("start"), self.allowed | is_cls)
        self.end = _log_softmax(array("end"), self.allowed | is_cls)
        position = int(is_cls.argmax())
        self.null_score = math.exp(self.start[position] + self.end[position]) if is_cls.any() else 0.0
        self.characters = np.stack([array("char_start"), array("char_end")])
        self.words = np.stack([array("word_start"), array("word_end")])
        self.align_to_words = align_to_words

    def answers(self, top_k: int, max_answer_len: int) -> list[dict[str, Any]]:
        """Return at least `top_k` answers of different text, where the chunk has so many."""
        pooled = POOLED_SPANS if self.align_to_words else 1
        found: dict[str, dict[str, Any]] = {}
        for rank, (first, last, score) in enumerate(self._spans(max_answer_len)):
            if rank >= pooled and len(found) >= top_k:
                break
            start, end = self._offsets(first, last)
            text = self.context[start:end]
            known = found.get(text.lower())
            if known is None and text.strip():
                found[text.lower()] = {"score": score, "start": start, "end": end, "answer": text}
            elif known is not None and rank < pooled:
                known["score"] = min(1.0, known["score"] + score)
        return list(found.values())

    def _spans(self, max_answer_len: int) -> Iterator[tuple[int, int, float]]:
        """Yield (first token, last token, probability) of every span an answer can be, the likeliest first."""
        scores = self.start[:, None] + self.end[None, :]
        possible = self.allowed[:, None] & self.allowed[None, :]
        possible = np.triu(np.tril(possible, max_answer_len - 1))
        firsts, lasts = possible.nonzero()
        values = scores[firsts, lasts]
        for index in np.argsort(-values, kind="stable"):
            yield int(firsts[index]), int(lasts[index]), math.exp(values[index])

    def _offsets(self, first: int, last: int) -> tuple[int, int]:
        start, end = self.words[0, first], self.words[1, last]
        if not self.align_to_words or start < 0 or end < 0:
            start, end = self.characters[0, first], self.characters[1, last]
        return int(start), int(end)


def _log_softmax(logits: np.ndarray, among: np.ndarray) -> np.ndarray:
    masked = np.where(among, logits, -np.inf)
    shifted = masked - masked.max()
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum())
    return result
