"""Whole numbers as people type them: Python takes superscripts for digits, and no number of thousands of them."""

from __future__ import annotations

_MOST_DIGITS = 15


def whole_number(text: str) -> int | None:
    """Return the number that a text of digits is; None of another text, and of one of more digits than counts have."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
