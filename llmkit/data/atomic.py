"""Files that are whole or not there: written beside their final name and moved when finished."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmkit.errors import OutputError, UsageError


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
        reason = reason_of(error)
        if reason is None:
            raise
        raise OutputError(f"cannot write {path}: {reason}.", hint=hint) from error


def reason_of(error: Exception) -> str | None:
    """Return what the system said, also where a library written in Rust made an error of its own of it; else None."""
    if isinstance(error, OSError):
        said, number = error.strerror or str(error), error.errno
    elif found := _RUSTS_ERROR.search(str(error)):
        number = int(found[1])
        said = os.strerror(number)
    else:
        return None
    return _SAID.get(number, said)


# Where the system's own words say less than they could.
_SAID: dict[int | None, str] = {errno.ENOSPC: "no space left on the device", errno.EBADF: "it is closed"}
_RUSTS_ERROR = re.compile(r"\(os error (\d+)\)")


def check_place(path: Path) -> None:
    """Check that a file can be moved to `path` when it is whole: nothing is there, or another file.

    Raises:
        UsageError: a folder, a device or a pipe is there.
        OutputError: no file can be there: its name is too long, or its folder may not be looked into.
    """
    with explained_write(path):
        is_folder, is_there, is_file = path.is_dir(), path.exists(), path.is_file()
    if is_folder:
        raise UsageError(f"{path} is a folder.", hint=f"Name a file in it: {path / 'NAME'}")
    if is_there and not is_file:
        raise UsageError(
            f"{path} is a device or a pipe, and an output is a file that is moved to its name when it is whole.",
            hint=f"Redirect standard output instead: > {path}",
        )


def behind_links(path: Path) -> Path:
    """Return what a write to `path` replaces: of a link its target, so that the link stays and leads to it."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step: beside its name, synced, then moved there."""
    with explained_write(path):
        path = behind_links(path)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
