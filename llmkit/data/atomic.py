"""Files that are whole or not there: written beside their final name and moved when finished."""

from __future__ import annotations

import errno
import os
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
    except OSError as error:
        reason = (
            "no space left on the device" if error.errno == errno.ENOSPC else (error.strerror or str(error))
        )
        raise OutputError(f"cannot write {path}: {reason}.", hint=hint) from error


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
