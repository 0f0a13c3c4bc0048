"""The blank that a task fills: however a person writes it, the tokenizer has a mark of its own for it."""

from __future__ import annotations

import re

from llmkit.tasks.inputs import RowError

_BLANK = re.compile(r"\[MASK\]|<mask>|_{3,}")


def marked_blanks(text: str, mask: str) -> str:
    """Return the text with the tokenizer's own mask where it has any of the usual blanks."""
    return _BLANK.sub(lambda blank: mask, text)


def with_mask(text: str, mask: str) -> str:
    """Return the text with the tokenizer's own mask where it has any of the usual blanks.

    Raises:
        RowError: there is none.
    """
    text = marked_blanks(text, mask)
    if text.strip() and mask not in text:
        raise RowError("there is no blank to fill: write ___ where the word is missing")
    return text


def check_mask(text: str, mask: str) -> None:
    """Raise RowError where the blank is no longer in a text that was cut."""
    if mask not in text:
        raise RowError("the blank lies beyond what the model takes")
