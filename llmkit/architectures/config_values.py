"""Reading single values off a config, or off a module that keeps them under the same names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def value_of(place: Any, name: str) -> Any:
    """Return a value, None where there is none, or where each layer has its own (Gemma 4) and no one stands for all."""
    try:
        return getattr(place, name, None)
    except Exception:  # the library's own, raised for a value that differs between layers
        return None


def whole_number(place: Any, *names: str) -> int | None:
    """Return the first of the values that is a positive whole number."""
    for name in names:
        value = value_of(place, name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def with_nested(config: Any) -> Iterator[Any]:
    """Go through a config and those nested in it, outermost first; nothing for None."""
    if config is None:
        return
    yield config
    for inner in vars(config).values():
        if hasattr(inner, "to_dict"):
            yield from with_nested(inner)


def text_config_of(config: Any) -> Any:
    """Return the nested config of what writes, or reads, text; the config itself where it is the only one."""
    for choice in ({}, {"decoder": True}):
        try:
            return config.get_text_config(**choice)
        except ValueError:  # MusicGen has a config for the text that goes in and one for the decoder
            continue
    return config
