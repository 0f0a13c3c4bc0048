"""Values that a csv cell holds as JSON, and other formats as they are."""

from __future__ import annotations

from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.tasks.inputs import RowError


def unpacked(value: Any) -> Any:
    """Return the list or the object that a cell holds as JSON; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value


def checked_text(name: str, value: Any) -> str:
    """Return a column's text.

    Raises:
        RowError: it is none, or blank; the message names the column.
    """
    if value is None or value == "":
        raise RowError(f"the {name} is empty")
    if not isinstance(value, str):
        raise RowError(f"the {name} {value!r} is no text")
    if not value.strip():
        raise RowError(f"the {name} is empty")
    return value


def listed(value: Any, name: str) -> list[Any]:
    """Return a column's list.

    Raises:
        RowError: it is none; the message names the column.
    """
    found = unpacked(value)
    if not isinstance(found, list):
        shown = repr(value if not isinstance(value, str) or len(value) <= 60 else f"{value[:59]}…")
        raise RowError(f"{name} is no list: {shown}", hint='In a csv cell a list is JSON: ["EU", "rejects"].')
    return found
