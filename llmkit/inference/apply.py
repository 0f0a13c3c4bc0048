"""`llmkit pipeline` without its command line: rows in, a sink filled, a count given back."""

from __future__ import annotations

import io
import mimetypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from llmkit import __version__
from llmkit.batching import live_windows, windows
from llmkit.data.encoding import ResultEncoder
from llmkit.data.records import Record, Row
from llmkit.data.row_run import Outcome, RowRun, Summary, beside_input
from llmkit.data.shared_rows import SharedRows
from llmkit.data.sinks import Sink
from llmkit.data.sources import expand_paths, read_dataset, read_file, read_stdin
from llmkit.errors import UsageError
from llmkit.inference.items import RunSettings
from llmkit.inference.rows import MEDIA, MappedRow, RowMapper, argument_rows, mapped, open_fields
from llmkit.inference.runner import Runner, window_rows
from llmkit.models.loading import LoadOptions, model_identity
from llmkit.models.resolving import ResolvedModel
from llmkit.tasks.catalogue import Task, TaskCall
from llmkit.tasks.parameter_values import check_accepted


@dataclass(frozen=True, slots=True)
class InputChoice:
    """Where the rows come from: exactly one of arguments, files, a dataset and standard input.

    Attributes:
        constants: fields that options gave; where they give all, there is one row and no source.
    """

    arguments: Sequence[str] = ()
    files: Sequence[str] = ()
    format: str | None = None
    dataset: str | None = None
    split: str | None = None
    column: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    stdin: BinaryIO | None = None

    @property
    def is_live(self) -> bool:
        """Rows come as somebody writes them."""
        return not self.dataset and ((not self.arguments and not self.files) or self.reads_stdin)

    @property
    def may_be_long(self) -> bool:
        """There may be many rows: more than somebody types as arguments."""
        return bool(self.files or self.dataset) or self.is_live

    @property
    def reads_stdin(self) -> bool:
        """The source is standard input, said so with ``-``."""
        return "-" in self.files or list(self.arguments) == ["-"]

    @property
    def read_files(self) -> list[str]:
        """The files and folders here that are read: the input, a dataset that is none of the hub, what options name."""
        return [
            *(expand_paths(self.files) if self.files and not self.reads_stdin else ()),
            *([self.dataset] if self.dataset and os.path.exists(self.dataset) else ()),  # noqa: PTH110
            *(each for each in map(str, self.constants.values()) if os.path.isfile(each)),  # noqa: PTH113
        ]

    def identity(self) -> dict[str, Any]:
        """Return what tells this input from another, as JSON."""
        files = []
        for path in self.read_files:
            inside = sorted(Path(path).rglob("*")) if Path(path).is_dir() else [Path(path)]
            for file in filter(Path.is_file, inside):
                stat = file.stat()
                files.append([str(file), stat.st_size, stat.st_mtime_ns])
        constants = {name: str(value) for name, value in self.constants.items()}
        return {
            "input": [*files, *self.arguments, *filter(None, [self.dataset])],
            "input_format": self.format,
            "split": self.split,
            "columns": [self.column, dict(self.mapping), constants],
            "llmkit": __version__,
        }


def read_rows(task: Task, choice: InputChoice) -> Iterator[MappedRow]:
    """Read the rows of a call and find the task's fields in them; the first row is read at once.

    Raises:
        UsageError: no source, or two; arguments that do not fit the task.
        DataError: a source that cannot be read, or a column that is not there.
    """
    mapper = RowMapper(task, choice.constants, choice.column, choice.mapping)
    rows = mapped(_source(task, choice), mapper)
    # A wrong column shows now, before a model is loaded.
    first = next(rows, None)
    return iter(()) if first is None else chain([first], rows)


def _source(task: Task, choice: InputChoice) -> Iterable[Row]:
    for named in (choice.arguments, choice.files):
        if "-" in named and len(named) > 1:
            raise UsageError(
                "- stands for standard input, and goes with no other input.",
                hint="A text that is a dash alone can come from standard input or a file.",
            )
    given = [name for name in ("arguments", "files", "dataset") if getattr(choice, name)]
    if len(given) > 1:
        words = {"arguments": "arguments", "files": "--input", "dataset": "--dataset"}
        raise UsageError(f"the input is given twice: by {' and by '.join(words[name] for name in given)}.")
    if choice.dataset:
        return read_dataset(choice.dataset, split=choice.split)
    if choice.reads_stdin or not given:
        if not given and not open_fields(task, choice.constants):
            return [Record(dict(choice.constants), "argument", 1)]
        return _stdin_rows(task, choice)
    if choice.arguments:
        return argument_rows(task, choice.arguments, choice.constants)
    return chain.from_iterable(_file_rows(task, path, choice) for path in expand_paths(choice.files))


def _file_rows(task: Task, path: str, choice: InputChoice) -> Iterable[Row]:
    """The rows of a file; one row for a file that is itself what the task takes: an image, a recording, a video."""
    wanted = open_fields(task, choice.constants)
    kind = (mimetypes.guess_type(path)[0] or "").partition("/")[0]
    if choice.format is None and kind in MEDIA and wanted and wanted[0].kind.value == kind:
        return [Record({wanted[0].name: path}, path, 1)]
    return read_file(path, format=choice.format)


def _stdin_rows(task: Task, choice: InputChoice) -> Iterable[Row]:
    stream = choice.stdin or (sys.stdin.buffer if sys.stdin is not None else None)
    if stream is None or (stream.isatty() and not choice.reads_stdin):
        raise UsageError(
            "there is no input.",
            hint=f"For example: {task.example}\nOr pipe it in, or name a file with --input.",
        )
    return read_stdin(_own_reader(stream), format=choice.format)


def _own_reader(stream: BinaryIO) -> BinaryIO:
    """Return a reader of the same descriptor that the interpreter does not wait for when it ends.

    The thread that reads a live stream may be waiting for a line that never comes; Python aborts when it
    finds the lock of its own standard input taken then.
    """
    try:
        return os.fdopen(os.dup(stream.fileno()), "rb")
    except (OSError, AttributeError, io.UnsupportedOperation):  # a stream in memory
        return stream


@dataclass
class PipelineRun:
    """A task applied to rows, window by window, into a sink.

    Attributes:
        encoder: makes results JSON.
        keep_input: copy the input's columns beside the result.
        rows_done: by the run that is resumed.
        shared: this process's part of the rows, where several work on them.
    """

    call: TaskCall
    settings: RunSettings
    sink: Sink
    encoder: ResultEncoder
    keep_input: bool = False
    rows_done: int = 0
    shared: SharedRows | None = None
    notes: Callable[[str], None] = lambda text: None
    advance: Callable[[int], None] = lambda rows: None
    rejected: Callable[[str], None] = lambda text: None

    def run(self, pipe: Any, rows: Iterator[MappedRow], *, live: bool = False) -> Summary:
        """Work through the rows; what is done stays done when it is interrupted.

        Raises:
            DataError: no row could be used.
            ModelError: no row succeeded, or the first rows all failed in the same way.
            OutputError: the output cannot be written.
        """
        size = window_rows(self.call.task)
        cut = live_windows(rows, max_rows=size) if live else windows(rows, max_rows=size)
        if self.shared is not None:
            self.shared.counted, self.shared.heard = self._counted, self._heard
        with RowRun(
            self.sink,
            self._written,
            self._rejected_input,
            self.rows_done,
            self.rejected,
            shared=self.shared,
        ) as run:
            check_accepted(pipe, self.settings.parameters)
            runner = Runner(pipe, self.call, self.settings, notes=self.notes, advance=self.advance)
            for window in run.pending(cut):
                run.put(window, runner.run_window(window.rows, window.number))
        return run.summary

    def _counted(self) -> dict[str, int]:
        """Return what was counted since this was last asked."""
        files, self.encoder.files_written = self.encoder.files_written, 0
        return {"files": files}

    def _heard(self, rows: int, counts: dict[str, int]) -> None:
        """Add what another process counted of a window."""
        self.encoder.files_written += counts["files"]
        self.advance(rows)

    def _written(self, outcome: Outcome, index: int) -> Any:
        value = self.encoder.plain(outcome.value, f"{index:06d}")
        return beside_input(outcome.row, value) if self.keep_input else value

    def _rejected_input(self, row: Row, index: int) -> Any:
        return self.encoder.plain(row.values, f"{index:06d}-input") if isinstance(row, Record) else None


def fingerprint(
    call: TaskCall,
    resolved: ResolvedModel,
    options: LoadOptions,
    settings: RunSettings,
    choice: InputChoice,
    **output: Any,
) -> dict[str, Any]:
    """Return what makes a call the same call, so that only the same one is resumed."""
    return {
        "task": call.name,
        **model_identity(resolved, options),
        "parameters": settings.parameters,
        "batch_size": settings.batch_size,
        "long": settings.long,
        "max_length": settings.max_length,
        "seed": settings.seed,
        **choice.identity(),
        **output,
    }
