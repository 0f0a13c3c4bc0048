"""Options of the form key=value, with values typed as YAML types them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Any

from llmkit.errors import UsageError

_FLOAT = (
    r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
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


def parse_value(text: str, where: str) -> Any:
    """Return a value as YAML reads it; 1e-4 is a number too, which YAML 1.1 takes for text.

    Raises:
        UsageError: the value is not YAML.
    """
    import yaml

    try:
        value = yaml.load(text, _loader())
    except yaml.YAMLError as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(
            f"{where}: not a YAML value: {reason}.", hint="Put quotes around a text with special characters."
        ) from None
    # What is neither number nor list is the text it was written as.
    return value if value is None or isinstance(value, str | int | float | list | dict) else text


@functools.cache
def _loader() -> Any:
    """Return YAML's safe loader with the plain values of YAML 1.2, which JSON and most people know.

    YAML 1.1 takes 1e-4 for a text, `no` (Norwegian) for false, 1:30 for 90 and 010 for 8.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {}
    plain = (
        ("null", r"~|null|Null|NULL|None|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
        ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
        ("float", _FLOAT, "-+.0123456789"),
    )
    for kind, pattern, first in plain:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), [*first])
    return Loader


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
