"""Options of the form key=value, with values typed as YAML types them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmkit.errors import UsageError


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


def parse_value(text: str, where: str) -> Any:
    """Return a value as YAML reads it; 1e-4 is a number too, which YAML 1.1 takes for text.

    Raises:
        UsageError: the value is not YAML.
    """
    import yaml

    if text.strip() in ("None", "null", "~"):
        return None
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{where}: not a YAML value: {reason}.", hint="Put quotes around a text with special characters."
        ) from None
    if isinstance(value, str):
        try:
            return float(value) if "e" in value.lower() else value
        except ValueError:
            return value
    # A date is the text it was written as: nothing takes one.
    return value if isinstance(value, int | float | list | dict) else text


def parse_mapping(text: str | None) -> dict[str, str]:
    """Return ``{"question": "q"}`` for ``question=q``, pairs separated by commas.

    Raises:
        UsageError: a pair without ``=``.
    """
    mapping = {}
    for pair in text.split(",") if text else ():
        name, equals, column = pair.partition("=")
        if not equals or not name.strip() or not column.strip():
            raise UsageError(f"--map {text}: write it as field=column,field=column.")
        mapping[name.strip()] = column.strip()
    return mapping
