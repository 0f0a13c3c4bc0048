"""Files that are read whole because they are small: what is large, or never ends, is not read to its end."""

from __future__ import annotations

import stat
from pathlib import Path

from llmkit.errors import DataError

# Pipes that the shell has opened: `llmkit params <(command)`, `command | llmkit params /dev/stdin`.
_OPEN_PIPES = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")


def read_small(path: Path, name: str, most: int, hint: str | None = None) -> bytes:
    """Return what is in a file of at most `most` bytes, which messages call `name`.

    Raises:
        DataError: it is longer, or a device, or a pipe with nobody to write to it.
        OSError: it cannot be read.
    """
    mode = path.stat().st_mode
    is_open_pipe = stat.S_ISFIFO(mode) and str(path).startswith(_OPEN_PIPES)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory", str(path))
    if not (stat.S_ISREG(mode) or is_open_pipe):
        raise DataError(f"{name} is not a regular file.", hint=hint)
    with path.open("rb") as file:
        content = file.read(most + 1)  # a pipe does not say its size before
    if len(content) > most:
        raise DataError(f"{name} is too large: more than {most:,} bytes.", hint=hint)
    return content
