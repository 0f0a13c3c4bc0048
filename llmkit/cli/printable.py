"""Text of models and data as a terminal may show it: to the terminal, control characters are commands.

The same goes for those of Unicode that turn the direction of what follows: they make a text look like another one.
"""

from __future__ import annotations

import re

# All of C0 and C1 but tab and newline, and what changes the direction (https://www.unicode.org/reports/tr9/).
_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def escaped(text: str) -> str:
    """Return a text with its control characters written out: ``\\x1b``."""
    return _COMMANDS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def without_commands(text: str) -> str:
    """Return a text without its control characters, for where every character has its place."""
    return _COMMANDS.sub("", text)


def shortened(text: str, width: int) -> str:
    """Return a text on one line, its end left out where it is longer than so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else f"{text[: width - 1]}…"


def clock(seconds: float) -> str:
    """Return a time as a clock shows it: ``1:02:03``, ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
