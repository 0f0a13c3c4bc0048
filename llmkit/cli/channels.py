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

from llmkit.cli.printable import escaped
from llmkit.errors import LlmkitError

_MOST_LINES = 60
_LONGEST = 2000  # characters of a line: a name in it may have any number
_quiet = False
_results: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class ResultStream:
    """The one way to standard output.

    Attributes:
        is_terminal: a person is looking.
    """

    file: BinaryIO
    is_terminal: bool


def open_closed_descriptors() -> None:
    """Put something where the process was started with a standard stream closed.

    Else the next file that is opened takes the place, and what a library prints goes into it. Standard output
    becomes what cannot be written to: that nobody gets the results is an error, as a full disk is.
    """
    for descriptor, flags in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, flags)
            if opened != descriptor:
                os.dup2(opened, descriptor)
                os.close(opened)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)


def claim_stdout() -> ResultStream:
    """Keep descriptor 1 for results; whatever prints to standard output from now on lands on standard error."""
    global _results
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    _results = os.fdopen(kept, "wb")
    return ResultStream(_results, os.isatty(kept))


def close_results() -> None:
    """Write what is still to be written of the results.

    Raises:
        OSError: it cannot be. Called again, it is not tried again; from version 3.13 on Python would, and say so.
    """
    global _results
    closing, _results = _results, None
    if closing is not None:
        closing.close()


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
    """Show an error as one message on standard error, a sentence."""
    is_sentence = error.message.endswith((".", "?", "!", ":", "…")) or "\n" in error.message
    _say(f"error: {error.message}{'' if is_sentence else '.'}", "31")
    if error.hint:
        _say(error.hint, "")


def _say(text: str, color: str) -> None:
    text = _shortened(escaped(text))
    if color and sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        head, separator, rest = text.partition(":")
        text = f"\x1b[{color}m{head}{separator}\x1b[0m{rest}"
    with contextlib.suppress(OSError):  # nobody listens any more
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - the one place that prints


def _shortened(text: str) -> str:
    """Return a message whose lines lack the middle of what nobody would read, and that has not too many."""
    lines = text.split("\n", _MOST_LINES)
    return "\n".join(
        line if len(line) <= _LONGEST else f"{line[: _LONGEST * 3 // 4]} … {line[-_LONGEST // 4 :]}"
        for line in lines[:_MOST_LINES] + ["…"] * (len(lines) > _MOST_LINES)
    )
