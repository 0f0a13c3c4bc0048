"""Every error a user can cause, and the exit code it ends in.

LlmkitError                1  it failed while running
├── UsageError             2  the call is wrong: an option, a name, a value
│   ├── DataError          2  the input cannot be read at all: a missing file, a missing column
│   └── OutputExistsError  2  the call would replace what an earlier one made
├── ModelError             1  a model cannot be had or cannot do the task
│   └── HubError           1  ... because the hub did not give it
├── MissingExtraError      1  an optional dependency is not installed
├── LostProcessError       1  another process of the run, or the link to it, was lost
└── OutputError            1  the result cannot be written: a full disk, a read-only folder, another run
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_SOME_REJECTED = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class LlmkitError(Exception):
    """An error with one message for the user: what is wrong, where, and what to do (`hint`)."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


class UsageError(LlmkitError):
    """The call is wrong: an unknown name, an option that does not fit, a value out of range."""

    exit_code = EXIT_USAGE


class DataError(UsageError):
    """The input cannot be read at all: a missing file, an unknown format, a missing column."""


class OutputExistsError(UsageError):
    """The call would replace what an earlier one made, and nobody said that it may."""


class ModelError(LlmkitError):
    """A model cannot be had, or it cannot do the task."""


class HubError(ModelError):
    """The hub did not give the model: unreachable, unknown, private, or damaged on the way."""


class MissingExtraError(LlmkitError):
    """An optional dependency is not installed; the message names the extra to install."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the extra '{extra}'.", hint=f"Install it: pip install 'hf-llmkit[{extra}]'"
        )


class LostProcessError(LlmkitError):
    """Another process of the run is not there any more; begun again, it may well go on."""


class OutputError(LlmkitError):
    """The result cannot be written: a full disk, a read-only folder, another run that is writing it."""


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return ``did you mean X?`` for the nearest of `known`, or None when nothing is near."""
    by_folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_folded, n=1, cutoff=0.6)
    return f"did you mean {on_a_line(by_folded[near[0]])}?" if near else None


def on_a_line(name: str) -> str:
    """Return a name as a message has it: in quotes, and escaped, where it would break the line."""
    return name if name.isprintable() else repr(name)


def unknown(
    what: str,
    name: str,
    known: Iterable[str],
    *,
    near: str | None = None,
    hint: str | None = None,
    kind: type[LlmkitError] = UsageError,
) -> LlmkitError:
    """Return the error for a name that nothing has: it has the nearest, and all of them.

    Args:
        near: the nearest where that is known better, as ``did you mean X?``.
        hint: what is said instead of all names.
    """
    names = list(known)
    guess = near or did_you_mean(name, names)
    return kind(
        f"no such {what}: {name!r}" + (f"; {guess}" if guess else "."),
        hint=hint or f"There are: {', '.join(names) or 'none'}.",
    )


def no_such(option: str, value: str, what: str, known: Iterable[str]) -> UsageError:
    """Return the error for an option's value that is none of those there are: it has the nearest, and all of them."""
    names = list(known)
    guess = did_you_mean(value, names)
    return UsageError(
        f"{option} {value}: no such {what}" + (f"; {guess}" if guess else "."),
        hint=f"There are: {', '.join(names)}.",
    )
