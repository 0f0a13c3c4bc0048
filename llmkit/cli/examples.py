"""The end of every ``--help``: two or three examples, a line each. A test runs them."""

from __future__ import annotations

_AS_THEY_STAND = "\b"  # for the parser, which would fill the lines else


def examples(*commands: str) -> str:
    """Return the end of a help text."""
    return "\n".join([_AS_THEY_STAND, "Examples:", *(f"  {command}" for command in commands)])
