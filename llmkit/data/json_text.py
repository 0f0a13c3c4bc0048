"""JSON that anybody may have made: whatever is wrong with it is a ValueError of a few words."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from llmkit.data.records import shown

DEEPEST = 200
"""How far the values of a row or a request may be nested: what goes through them later calls itself that often."""


class NotJsonError(ValueError):
    """What Python's json would let through, and other readers would refuse or read otherwise."""


def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, as `json` calls it for (``object_pairs_hook``), where none of its keys is there twice.

    Raises:
        NotJsonError: one is; which value is meant only who wrote it knows.
    """
    value = dict(pairs)
    if len(value) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise NotJsonError(f"the key {shown(twice)} is there twice in one object")
    return value


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
