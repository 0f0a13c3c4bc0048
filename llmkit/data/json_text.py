"""JSON that anybody may have made: whatever is wrong with it is a ValueError of a few words."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 200
"""How far the values of a row or a request may be nested: what goes through them later calls itself that often."""


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text says, as `json.loads` does.

    Raises:
        ValueError: it is not JSON, not UTF-8, has a whole number of thousands of digits, of which Python makes none, or
            is nested so deeply that Python's own reader would end in a RecursionError.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:
        raise ValueError("a whole number has thousands of digits") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_too_deep(value: Any, text: str | bytes | bytearray) -> bool:
    """Tell whether a value is nested deeper than `DEEPEST`; `text` is what it was read from.

    Few texts have as many brackets, and only then the value is gone through.
    """
    marks: Any = ("[", "{") if isinstance(text, str) else (b"[", b"{")
    if sum(text.count(mark) for mark in marks) <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for each in level for inner in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> list[Any]:
    """Return the lists and objects in a list or an object."""
    found = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in found if isinstance(each, dict | list)]
