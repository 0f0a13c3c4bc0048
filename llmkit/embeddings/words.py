"""Words of a text, and which tokens each of them is made of, whatever the tokenizer.

Words are found in the text itself, by the default word boundaries of Unicode (UAX 29); a token belongs to every
word that it overlaps. So a word is the same for WordPiece, byte-level BPE and SentencePiece, and its place always
cuts it out of the text as it was written.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text.

    Attributes:
        start, end: its place in the text, in characters.
        tokens: the numbers of its tokens, at least one.
    """

    text: str
    start: int
    end: int
    tokens: tuple[int, ...]


@cache
def _boundaries() -> Any:
    import regex

    return regex.compile(r"\b", regex.WORD | regex.VERSION1)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where the words and the punctuation marks of a text stand; white space is none."""
    places = sorted({0, len(text), *(match.start() for match in _boundaries().finditer(text))})
    spans = itertools.pairwise(places)
    return [(start, end) for start, end in spans if not text[start:end].isspace() and start < end]


def words_of(text: str, offsets: Sequence[tuple[int, int]], special: Sequence[bool]) -> list[Word]:
    """Return the words of a text that have tokens, in the order of the text.

    Args:
        offsets: of each token, in characters of `text`.
        special: whether each token was added by the tokenizer: those belong to no word.
    """
    words = []
    real = [
        (number, start, end)
        for number, ((start, end), is_special) in enumerate(zip(offsets, special, strict=True))
        if not is_special and end > start
    ]
    first = 0
    for start, end in word_spans(text):
        while first < len(real) and real[first][2] <= start:
            first += 1
        tokens = []
        place = first
        while place < len(real) and real[place][1] < end:
            number, token_start, token_end = real[place]
            if _overlaps(text, max(start, token_start), min(end, token_end)):
                tokens.append(number)
            place += 1
        if tokens:
            words.append(Word(text[start:end], start, end, tuple(tokens)))
    return words


def occurrences(word: str, words: Sequence[Word]) -> list[Word]:
    """Return where a word (or several in a row: "New York") stands among a text's words.

    Upper and lower case are alike, and so are an accented letter and the letter with its accent.
    """
    wanted = [_folded(word[start:end]) for start, end in word_spans(word)]
    found = []
    for index in range(len(words) - len(wanted) + 1):
        run = words[index : index + len(wanted)]
        if [_folded(each.text) for each in run] == wanted:
            tokens = tuple(dict.fromkeys(token for each in run for token in each.tokens))
            found.append(Word(_joined(run), run[0].start, run[-1].end, tokens))
    return found


def _joined(run: Sequence[Word]) -> str:
    """Return words in a row as the text has them, white space between two of them as one space."""
    text = run[0].text
    for before, word in itertools.pairwise(run):
        text += word.text if word.start == before.end else f" {word.text}"
    return text


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word.casefold())


def _overlaps(text: str, start: int, end: int) -> bool:
    """Whether a token and a word share more than white space (byte-level tokens begin with the space before)."""
    return start < end and not text[start:end].isspace()
