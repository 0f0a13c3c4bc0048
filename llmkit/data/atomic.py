"""Files that are whole or not there: written beside their final name and moved when finished."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import OutputError


@contextmanager
def explained_write(path: str | Path, hint: str | None = None) -> Iterator[None]:
    """Turn what the system says of a failed write into one message.

    Raises:
        OutputError: a full disk, a read-only folder, a folder that is not there. A closed pipe passes through.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except Exception as error:
        reason = _reason(error)
        if reason is None:
            raise
        raise OutputError(f"cannot write {path}: {reason}.", hint=hint) from error


def _reason(error: Exception) -> str | None:
    """Return what the system said, also where a library written in Rust has made an error of its own of it."""
    if isinstance(error, OSError):
        said, number = error.strerror or str(error), error.errno
    elif found := _RUSTS_ERROR.search(str(error)):
        number = int(found[1])
        said = os.strerror(number)
    else:
        return None
    return "no space left on the device" if number == errno.ENOSPC else said


_RUSTS_ERROR = re.compile(r"\(os error (\d+)\)")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: beside its name, synced, then moved there."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with explained_write(path):
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
