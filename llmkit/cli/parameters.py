"""Options of the form key=value, with values typed as YAML types them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from typer import CallbackParam

from llmkit.data.yaml_text import parse_value
from llmkit.errors import UsageError


def not_empty(param: CallbackParam, value: Any) -> Any:
    """Return an option's value, or those of one that may be repeated; a callback for typer.

    Raises:
        UsageError: it is an empty text, such as a shell makes of a variable that is not set.
    """
    if value == "" or (isinstance(value, (list, tuple)) and "" in value):
        raise UsageError(f"{param.opts[0]} is empty.", hint="Give it a value, or leave it out.")
    return value


def refuse_before_subcommand(subcommand: str, given: Mapping[str, bool]) -> None:
    """Raise UsageError where an option stands before a subcommand, which would not hear of it."""
    for option, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{option} is an option of what follows: it goes after '{subcommand}', where that has it."
            )


def parse_pairs(pairs: Iterable[str], option: str) -> dict[str, Any]:
    """Return ``{"top_k": 3, "truncation": True}`` for ``["top_k=3", "truncation=true"]``.

    Raises:
        UsageError: a pair without ``=``, or a value that is not YAML.
    """
    parsed = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{option} {pair}: write it as key=value.")
        parsed[key.strip()] = parse_value(text, f"{option} {pair}")
    return parsed


def parse_mapping(text: str | None, option: str = "--map") -> dict[str, str]:
    """Return ``{"question": "q"}`` for ``question=q``, pairs separated by commas.

    Raises:
        UsageError: a pair without ``=``, or a field twice.
    """
    mapping: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        name, equals, column = pair.partition("=")
        if not equals or not name.strip() or not column.strip():
            raise UsageError(f"{option} {text}: write it as field=column,field=column.")
        if name.strip() in mapping:
            raise UsageError(f"{option} {text}: {name.strip()} is there twice.")
        mapping[name.strip()] = column.strip()
    return mapping
