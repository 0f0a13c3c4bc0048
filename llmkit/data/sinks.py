"""Where results go: a stream, or a file that is whole or not there and can be gone on with.

A file run writes three files beside the final name: `NAME.partial` with the results so far (as JSON
Lines where the format must see them all first), `NAME.rejects.jsonl` with the rows that failed, and
`NAME.progress` that says how far both are whole. After each window of rows the first two are synced, then the
third is replaced. A run that was killed leaves a `NAME.progress` that is true; resuming cuts the others back to
it and goes on from its row.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from llmkit.data.atomic import check_place, explained_write, reason_of, write_whole
from llmkit.data.encoding import dump_json
from llmkit.data.formats import Format
from llmkit.data.formatter import Formatter
from llmkit.data.json_text import parse_json
from llmkit.data.small_files import read_small
from llmkit.errors import DataError, OutputError, OutputExistsError

_MOST_PROGRESS = 1 << 24  # bytes


class Sink(Protocol):
    """Takes results and rejected rows in the input's order."""

    def write(self, value: Any, index: int, label: str = "") -> None: ...

    def reject(self, row: dict[str, Any]) -> None: ...

    def commit(self, rows_done: int) -> None:
        """Everything up to row number `rows_done` has been written: make it last."""
        ...

    def close(self, *, finished: bool) -> None: ...


class StreamSink:
    """Writes results to a stream as they come."""

    def __init__(
        self, stream: BinaryIO, formatter: Formatter, *, warn: Callable[[str], None] = lambda text: None
    ) -> None:
        self._stream = stream
        self._warn = warn
        self._has_warned = False
        self._formatter = formatter
        self._has_begun = False

    def write(self, value: Any, index: int, label: str = "") -> None:
        self._begin()
        self._put(self._formatter.encode(value, index))
        if self._formatter.lost and not self._has_warned:
            self._has_warned = True
            self._warn(
                f"no column for {', '.join(self._formatter.lost)}: the header has the columns of the first result. "
                "--output FILE has them all, and so has --format jsonl."
            )

    def reject(self, row: dict[str, Any]) -> None:
        pass

    def commit(self, rows_done: int) -> None:
        with explained_write("standard output"):
            self._stream.flush()

    def close(self, *, finished: bool) -> None:
        if finished:
            self._begin()
            self._put(self._formatter.end())
        self.commit(0)

    def _begin(self) -> None:
        """Write what comes before the first result; a run without any writes nothing."""
        if not self._has_begun:
            self._has_begun = True
            self._put(self._formatter.begin())

    def _put(self, data: bytes) -> None:
        with explained_write("standard output"):
            self._stream.write(data)


def rejects_beside(output: Path) -> Path:
    """Return the file of the rows that have no result, where none is named."""
    return output.with_name(f"{output.name}.rejects.jsonl")


class RejectsSink:
    """A sink whose rejected rows go to a file of their own, which is there once there is one."""

    def __init__(self, sink: Sink, path: Path) -> None:
        self._sink = sink
        self.rejects_path = path
        self._file: BinaryIO | None = None

    def write(self, value: Any, index: int, label: str = "") -> None:
        self._sink.write(value, index, label)

    def reject(self, row: dict[str, Any]) -> None:
        with explained_write(self.rejects_path):
            if self._file is None:
                self.rejects_path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.rejects_path.open("wb")
            self._file.write(f"{dump_json(row)}\n".encode())

    def commit(self, rows_done: int) -> None:
        self._sink.commit(rows_done)

    def close(self, *, finished: bool) -> None:
        try:
            self._sink.close(finished=finished)
        finally:
            with explained_write(self.rejects_path):
                if self._file is not None:
                    self._file.close()
                elif finished and self.rejects_path.exists():  # what an earlier call left is no longer true
                    self.rejects_path.unlink(missing_ok=True)


@dataclass
class Progress:
    """How far a file run is whole.

    Attributes:
        call: what was asked; a run resumes only the same call.
        rows: rows of the input that are done, rejected ones included.
        size, rejects_size: bytes of the partial file and of the rejects file that belong to them.
        rejected: how many rows were rejected.
        state: the formatter's state.
        counts: what the run counts besides, over all the calls that it took.
    """

    call: dict[str, Any]
    rows: int = 0
    size: int = 0
    rejects_size: int = 0
    rejected: int = 0
    state: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def check(self) -> None:
        """Raise ValueError where it is not what a run has written."""
        numbers = (self.rows, self.size, self.rejects_size, self.rejected, *self.counts.values())
        if not all(isinstance(each, dict) for each in (self.call, self.state, self.counts)) or not all(
            type(number) is int and number >= 0 for number in numbers
        ):
            raise ValueError


class FileSink:
    """Writes results to a file, atomically, resumably.

    Args:
        has_resume: the command has the option --resume, which hints can then name.

    Raises:
        OutputExistsError: the file, or an unfinished run of it, is there already.
        OutputError: it cannot be written, or another run is writing it.
        DataError: it was asked to resume another call than the one that began.
    """

    def __init__(
        self,
        path: Path,
        format_: Format,
        *,
        call: dict[str, Any],
        rejects: Path | None = None,
        overwrite: bool = False,
        resume: bool = False,
        has_resume: bool = True,
    ) -> None:
        self.path = path
        self._has_resume = has_resume
        self.format = format_
        self.rejects_path = rejects or rejects_beside(path)
        self._partial = path.with_name(f"{path.name}.partial")
        self._progress_path = path.with_name(f"{path.name}.progress")
        self._formatter = format_.make_for_file()
        # As it comes back from the file: no tuples, no numbers as keys.
        call = json.loads(json.dumps(call, default=str))
        with explained_write(path):
            self.progress = self._begin(call, overwrite=overwrite, resume=resume)
        self._rejected_rows = self.progress.rejected  # of those that are done for good
        with self._explained():
            self._file = self._open(self._partial)
            if not resume and self.path.exists() and not overwrite:  # another run has finished just now
                self._partial.unlink()
                refuse_existing(self.path, overwrite=False)
            self._rejects_file = self._open(self.rejects_path)
            if self.progress.rows == 0:  # what an earlier run left is no longer true
                self._progress_path.unlink(missing_ok=True)
            _cut(self._file, self.progress.size)
            _cut(self._rejects_file, self.progress.rejects_size)
        if self.progress.rows == 0:
            self._put(self._formatter.begin())

    @property
    def is_unfinished(self) -> bool:
        """Whether what was done lies there to be gone on with."""
        return self._progress_path.exists()

    def _explained(self) -> AbstractContextManager[None]:
        kept = f"{self.progress.rows:,} rows are done and kept: run the same command with --resume to go on."
        return explained_write(self.path, kept if self.progress.rows and self._has_resume else None)

    def _begin(self, call: dict[str, Any], *, overwrite: bool, resume: bool) -> Progress:
        if resume and self._progress_path.exists():
            return self._read_progress(call)
        refuse_existing(self.path, overwrite=overwrite)
        if not self._partial.exists():  # else both are left over from one run that did not get far
            refuse_existing(self.rejects_path, overwrite=overwrite)
        if self._progress_path.exists() and not overwrite:
            with self._open(self._partial):  # which says so if that run is still at work
                pass
            raise OutputExistsError(
                f"an unfinished run of {self.path} is there.",
                hint="Add --resume to go on with it, or --overwrite to begin anew."
                if self._has_resume
                else "Add --overwrite to begin anew.",
            )
        return Progress(call)

    def _read_progress(self, call: dict[str, Any]) -> Progress:
        progress = _read(self._progress_path)
        changed = sorted(key for key in {*call, *progress.call} if call.get(key) != progress.call.get(key))
        if changed:
            was = ", ".join(f"{key} was {progress.call.get(key)!r}, is {call.get(key)!r}" for key in changed)
            raise DataError(
                f"cannot resume {self.path}: it was begun by another call: {was}.",
                hint="Repeat the first call with --resume, or add --overwrite to begin anew.",
            )
        self._formatter.state = progress.state
        return progress

    def _open(self, path: Path) -> BinaryIO:
        """Open for writing, with what is in it, and lock."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_current = path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))
        except BlockingIOError:
            is_current = False
        if not is_current:  # locked, or moved to its final name while it was waited for
            file.close()
            raise OutputError(f"another run is writing {self.path} at this moment.")
        return file

    def write(self, value: Any, index: int, label: str = "") -> None:
        self._put(self._formatter.encode(value, index))

    def reject(self, row: dict[str, Any]) -> None:
        line = f"{dump_json(row)}\n".encode()
        with self._explained():
            self._rejects_file.write(line)
        self.progress.rejects_size += len(line)
        self.progress.rejected += 1
        self._put(self._formatter.missing())

    def commit(self, rows_done: int) -> None:
        with self._explained():
            for file in (self._file, self._rejects_file):
                file.flush()
                os.fsync(file.fileno())
        self.progress.rows = rows_done
        self._rejected_rows = self.progress.rejected
        self.progress.state = self._formatter.state
        write_whole(self._progress_path, json.dumps(asdict(self.progress)).encode())

    def close(self, *, finished: bool) -> None:
        with self._explained():
            if finished:
                self._file.write(self._formatter.end())
                self._file.flush()
                os.fsync(self._file.fileno())
                self._rejects_file.flush()
                self._finish()
            elif self.progress.rows == self._rejected_rows:
                self._discard()
            # Closed last: until then nobody else opens them.
            self._file.close()
            self._rejects_file.close()

    def _finish(self) -> None:
        if self.format.seal is not None:
            self.format.seal(self._file, self._formatter.state)
            self._file.flush()
            os.fsync(self._file.fileno())
        if self.format.convert is not None:
            converted = self.path.with_name(f"{self.path.name}.converted")
            self.format.convert(self._partial, converted)
            converted.replace(self.path)
            self._partial.unlink()
        else:
            self._partial.replace(self.path)
        if self.progress.rejected == 0:
            self.rejects_path.unlink(missing_ok=True)
        self._progress_path.unlink(missing_ok=True)

    def _discard(self) -> None:
        """Leave nothing of a run that has no result."""
        for path in (self._progress_path, self._partial, self.rejects_path):
            path.unlink(missing_ok=True)

    def _put(self, data: bytes) -> None:
        with self._explained():
            self._file.write(data)
        self.progress.size += len(data)


def _read(path: Path) -> Progress:
    """Return what a run has written of how far it is.

    Raises:
        OutputError: it cannot be read, or is not that.
        DataError: it is a device or a pipe, or far too large.
    """
    hint = "Add --overwrite to begin anew."
    try:
        progress = Progress(**parse_json(read_small(path, str(path), _MOST_PROGRESS, hint)))
        progress.check()
    except IsADirectoryError:
        raise OutputError(f"{path} is a folder.", hint="Remove it, or name another output.") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {reason_of(error)}.", hint=hint) from None
    except (ValueError, TypeError):
        raise OutputError(f"{path} cannot be read: it is damaged.", hint=hint) from None
    return progress


def _cut(file: BinaryIO, size: int) -> None:
    """Go on after the first `size` bytes; what a killed run wrote beyond them goes.

    Raises:
        OutputError: not even those are there.
    """
    if os.fstat(file.fileno()).st_size < size:
        raise OutputError(
            "what an unfinished run wrote is not all there any more.", hint="Add --overwrite to begin anew."
        )
    file.truncate(size)
    file.seek(size)


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise an error where writing would replace what is no file, or a file that nobody said may go.

    Raises:
        UsageError: a folder, a device or a pipe is there.
        OutputExistsError: a file is there, and not to be overwritten.
    """
    check_place(path)
    if path.exists() and not overwrite:
        raise OutputExistsError(
            f"{path} is there already.", hint="Add --overwrite to replace it, or choose another name."
        )


def is_finished(path: Path) -> bool:
    """Tell whether a file run is complete: the file is there and no progress beside it."""
    return path.exists() and not path.with_name(f"{path.name}.progress").exists()
