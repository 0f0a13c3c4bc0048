"""The formats that weights of attention are written in: those of every report, and arrays."""

from __future__ import annotations

from llmkit.cli.answers import checked_format
from llmkit.errors import UsageError

ARRAY = "npy"
PAGE_ENDINGS = (".html", ".htm")


def attention_format(
    name: str | None, output: str | None, *, is_explained: bool, overwrite: bool
) -> str | None:
    """Return the format that was named, or that the output's ending stands for; None where nothing says.

    Raises:
        UsageError: there is no such format, none goes by the ending, or an array has nowhere to go.
        OutputExistsError: the file is there already.
    """
    is_array = name == ARRAY or (name is None and output is not None and output.lower().endswith(".npy"))
    if not is_array:
        return checked_format(name, output, overwrite=overwrite)
    if output is None:
        raise UsageError("--format npy needs a file.", hint="Name one: --output weights.npy")
    if is_explained:
        raise UsageError("--explain gives steps, which are no array.", hint="Use --format json.")
    return ARRAY


def check_page(path: str) -> str:
    """Return the name of a page's file.

    Raises:
        UsageError: its ending is none that a page has.
    """
    if path.lower().endswith(PAGE_ENDINGS):
        return path
    raise UsageError(f"--html {path}: no page goes by this ending.", hint="Name it FILE.html.")
