"""What a value should be, said in one way of options, of a config's keys and of a model's sizes."""

from __future__ import annotations

import re

from llmkit.errors import UsageError


def should_be(given: str, wanted: str, *, hint: str | None = None) -> UsageError:
    """Return the error for a value that is of another kind, or out of bounds.

    Args:
        given: where it was given, and the value: ``--seed -1``.
        wanted: ``0 or more``, ``above 0``, ``from 0 to 65535``, ``a whole number``.
    """
    return UsageError(f"{given}: it should be {wanted}.", hint=hint)


def at_least(least: int, value: int | None, option: str) -> int | None:
    """Return a number that is `least` or more, or None; raise UsageError otherwise."""
    if value is not None and value < least:
        raise should_be(f"{option} {value}", f"{least} or more")
    return value


def within(least: int, most: int, value: int | None, option: str) -> int | None:
    """Return a number from `least` to `most`, or None; raise UsageError otherwise."""
    if value is not None and not least <= value <= most:
        shown = str(value) if abs(value) < _LONGEST_SHOWN else "with so many digits"
        raise should_be(f"{option} {shown}", f"from {least} to {_digits(most)}")
    return value


_LONGEST_SHOWN = 10**30
_IN_GROUPS_FROM = 10**6  # a port has its digits together


def _digits(number: int) -> str:
    return f"{number:,}" if number >= _IN_GROUPS_FROM else str(number)


# pydantic's messages, which typer shows from 0.27 on, and those of click, which it showed before.
_WANTED = re.compile(r".*(?:Input should be|is not(?= a valid)) (?P<words>.+)", re.DOTALL)
SECTION = "keys with values"
_WORDS = {
    r"greater than or equal to (\S+)": r"\1 or more",
    r"less than or equal to (\S+)": r"\1 or less",
    r"greater than (\S+)": r"above \1",
    r"less than (\S+)": r"below \1",
    r"a valid integer.*": "a whole number",
    r"a valid (number|float).*": "a number",
    r"a valid string.*": "a text",
    r"a valid boolean.*": "true or false",
    r"a valid list.*": "a list",
    r"a valid dictionary.*": SECTION,
}


def wanted_by(message: str) -> str | None:
    """Return what a value should be by the message of a library's check; None where that says something else."""
    found = _WANTED.match(message)
    if found is None:
        return None
    words = found["words"].partition(" or instance of ")[0].rstrip(".")
    return next(
        (match.expand(plain) for pattern, plain in _WORDS.items() if (match := re.fullmatch(pattern, words))),
        words,
    )
