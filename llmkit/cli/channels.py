"""What goes where: results to standard output, everything else to standard error.

Libraries print what they like, from Python and from C. So descriptor 1 is set aside for results and
standard output is pointed at standard error before anything heavy is imported.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import BinaryIO

from llmkit.errors import LlmkitError

_quiet = False


@dataclass(frozen=True, slots=True)
class ResultStream:
    """The one way to standard output.

    Attributes:
        is_terminal: a person is looking.
    """

    file: BinaryIO
    is_terminal: bool


def claim_stdout() -> ResultStream:
    """Keep descriptor 1 for results; whatever prints to standard output from now on lands on standard error."""
    if sys.stdout is not None:
        sys.stdout.flush()
    try:
        kept = os.dup(1)
        is_terminal = os.isatty(kept)
        os.dup2(2, 1)
    except OSError:  # started with standard output closed
        kept, is_terminal = os.open(os.devnull, os.O_WRONLY), False
    return ResultStream(os.fdopen(kept, "wb"), is_terminal)


def set_quiet(quiet: bool) -> None:
    """Silence notes and progress; warnings and errors stay."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Tell whether notes are silenced."""
    return _quiet


def note(text: str) -> None:
    """Say something on standard error that is good to know; silent under --quiet."""
    if not _quiet:
        _say(text, "")


def warn(text: str) -> None:
    """Say something on standard error that the user should know."""
    _say(f"warning: {text}", "33")


def report(error: LlmkitError) -> None:
    """Show an error as one message on standard error."""
    _say(f"error: {error.message}", "31")
    if error.hint:
        _say(error.hint, "")


def _say(text: str, color: str) -> None:
    if color and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        head, separator, rest = text.partition(":")
        text = f"\x1b[{color}m{head}{separator}\x1b[0m{rest}"
    with contextlib.suppress(OSError):  # nobody listens any more
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints
