"""Small files beside a model's weights, in a folder or on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.errors import ModelError


def find_model_file(location: str, name: str, revision: str | None = None) -> Path | None:
    """Return where a model's file lies, fetched if need be; None where the model has none of that name."""
    if Path(location).is_dir():
        path = Path(location, name)
        return path if path.is_file() else None
    from transformers.utils.hub import cached_file

    found = cached_file(
        location,
        name,
        revision=revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return Path(found) if found is not None else None


def read_model_json(location: str, name: str, revision: str | None = None) -> dict[str, Any]:
    """Return the object in a model's JSON file; empty where there is none.

    Raises:
        ModelError: the file is not JSON.
    """
    value = _read(location, name, revision)
    return value if isinstance(value, dict) else {}


def read_model_list(location: str, name: str, revision: str | None = None) -> list[dict[str, Any]]:
    """Return the objects in a model's JSON file that holds a list; empty where there is none."""
    value = _read(location, name, revision)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _read(location: str, name: str, revision: str | None) -> Any:
    path = find_model_file(location, name, revision)
    try:
        return None if path is None else parse_json(path.read_bytes())
    except ValueError as error:
        raise ModelError(f"{name} of '{location}' is not JSON: {error}.") from error
