"""Tokens as a person reads them: nothing invisible, nothing that steers a terminal or turns a line around."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

_INVISIBLE = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
_NAMED = {"\n": "⏎", "\t": "⇥"}
_SPACE = "␣"
# How the byte-level tokenizers of GPT-2 and its like write " a".
_BYTE_LEVEL = ("Ġa", " a")


def readable_tokens(tokenizer: Any, tokens: Sequence[str]) -> list[str]:
    """Return tokens as they are shown: `Ġcat` as `␣cat`, a zero-width space as `\\u200b`.

    A token that is part of a character stays as the vocabulary has it.
    """
    written, read = _BYTE_LEVEL
    is_byte_level = tokenizer.convert_tokens_to_string([written]) == read
    return [visible(_decoded(tokenizer, each) if is_byte_level else each) for each in tokens]


def _decoded(tokenizer: Any, token: str) -> str:
    text = str(tokenizer.convert_tokens_to_string([token]))
    return token if not text or "\ufffd" in text else text.replace(" ", _SPACE)


def visible(text: str) -> str:
    """Return a text in which every character can be seen."""
    return "".join(_visible(each) for each in text)


def _visible(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if unicodedata.category(character) not in _INVISIBLE:
        return character
    return character.encode("unicode_escape").decode()
