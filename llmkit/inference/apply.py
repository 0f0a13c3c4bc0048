"""`llmkit pipeline` without its command line: rows in, a sink filled, a count given back."""

from __future__ import annotations

import io
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
from llmkit.data.sinks import Sink
from llmkit.data.sources import expand_paths, read_dataset, read_file, read_stdin
from llmkit.errors import DataError, LlmkitError, ModelError, UsageError
from llmkit.inference.rows import MappedRow, RowMapper, argument_rows, mapped, open_fields, reject_reason
from llmkit.inference.runner import Outcome, Runner, RunSettings, window_rows
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import ResolvedModel
from llmkit.tasks.catalogue import Task, TaskCall
from llmkit.tasks.parameter_values import check_accepted

_MOST_UNNAMED = 100
_SAME_FAILURES = 8  # as many rows failing alike, and no other, is not the rows' fault


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
    def reads_stdin(self) -> bool:
        """The source is standard input, said so with ``-``."""
        return "-" in self.files or list(self.arguments) == ["-"]


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
    return chain.from_iterable(read_file(path, format=choice.format) for path in expand_paths(choice.files))


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
class Summary:
    """What a run came to."""

    done: int = 0
    rejected: int = 0


@dataclass
class PipelineRun:
    """A task applied to rows, window by window, into a sink.

    Attributes:
        build: loads the pipeline; called once, after the first row has been read.
        encoder: makes results JSON.
        keep_input: copy the input's columns beside the result.
    """

    call: TaskCall
    settings: RunSettings
    sink: Sink
    encoder: ResultEncoder
    keep_input: bool = False
    rows_done: int = 0
    notes: Callable[[str], None] = lambda text: None
    advance: Callable[[int], None] = lambda rows: None
    rejected: Callable[[str], None] = lambda text: None
    summary: Summary = field(default_factory=Summary)
    _failures: list[tuple[str, Exception]] = field(default_factory=list)
    _unnamed: list[str] = field(default_factory=list)

    def run(self, pipe: Any, rows: Iterator[MappedRow], *, live: bool = False) -> Summary:
        """Work through the rows; what is done stays done when it is interrupted.

        Raises:
            DataError: no row could be used.
            ModelError: no row succeeded, or the first rows all failed in the same way.
            OutputError: the output cannot be written.
        """
        size = window_rows(self.call.task)
        cut = live_windows(rows, max_rows=size) if live else windows(rows, max_rows=size)
        index = 0
        finished = False
        try:
            check_accepted(pipe, self.settings.parameters)
            runner = Runner(pipe, self.call, self.settings, notes=self.notes, advance=self.advance)
            for number, window in enumerate(cut):
                if index + len(window) <= self.rows_done:  # done by the run that is resumed
                    index += len(window)
                    continue
                outcomes = runner.run_window(window, number)
                self._check_failures(outcomes)
                for outcome in outcomes:
                    self._put(outcome, index)
                    index += 1
                self.sink.commit(index)
            finished = True
        finally:
            self.sink.close(finished=finished and not self._failed())
        if self._failed():
            raise failure_of(self._failures)
        return self.summary

    def _failed(self) -> bool:
        return not self.summary.done and not self.rows_done and bool(self._failures)

    def _put(self, outcome: Outcome, index: int) -> None:
        if outcome.error is None:
            value = self.encoder.plain(outcome.value, f"{index:06d}")
            self.sink.write(
                _beside_input(outcome.row, value) if self.keep_input else value, index, _label(outcome.row)
            )
            self.summary.done += 1
            while self._unnamed:
                self.rejected(self._unnamed.pop(0))
            return
        self.summary.rejected += 1
        row = outcome.row
        if not self.summary.done and len(self._failures) < _SAME_FAILURES:
            self._failures.append((row.place, outcome.error))
        values = self.encoder.plain(row.values, f"{index:06d}-input") if isinstance(row, Record) else None
        self.sink.reject({"source": row.source, "line": row.line, "reason": outcome.reason, "input": values})
        # Where none succeeds, the error at the end says it.
        if self.summary.done or self.rows_done:
            self.rejected(f"{row.place}: {outcome.reason}")
        elif len(self._unnamed) < _MOST_UNNAMED:
            self._unnamed.append(f"{row.place}: {outcome.reason}")

    def _check_failures(self, outcomes: Sequence[Outcome]) -> None:
        """Stop where the first rows all fail alike by no fault of their own."""
        if self.summary.done or len(outcomes) < _SAME_FAILURES:
            return
        reasons = {outcome.reason for outcome in outcomes}
        if len(reasons) == 1 and all(
            outcome.error and not isinstance(outcome.error, DataError) for outcome in outcomes
        ):
            raise ModelError(f"every row fails in the same way: {reasons.pop()}")


def failure_of(outcomes: Sequence[tuple[str, Exception]]) -> LlmkitError:
    """Return the error of a run in which no row succeeded: the input's fault (exit 2) or the model's (exit 1)."""
    place, error = outcomes[0]
    kind = DataError if all(isinstance(each, DataError) for _, each in outcomes) else ModelError
    where = "" if place.startswith("argument:") else f"{place}: "
    return kind(f"{where}{reject_reason(error)}")


def _label(row: Row) -> str:
    values = row.values.values() if isinstance(row, Record) else ()
    return next((value for value in values if isinstance(value, str)), "")


def _beside_input(row: Row, value: Any) -> dict[str, Any]:
    """Put a result beside the columns it came from; a column of the same name becomes `input_NAME`."""
    result = value if isinstance(value, dict) else {"result": value}
    columns = row.values if isinstance(row, Record) else {}
    kept = {(f"input_{name}" if name in result else name): each for name, each in columns.items()}
    return {**kept, **result}


def _weights_of(resolved: ResolvedModel) -> list[Any]:
    """Return what tells the weights in a folder from those that a later training puts there."""
    files = sorted(Path(resolved.location).glob("*.safetensors")) if resolved.is_local else []
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def fingerprint(
    call: TaskCall,
    resolved: ResolvedModel,
    options: LoadOptions,
    settings: RunSettings,
    choice: InputChoice,
    **output: Any,
) -> dict[str, Any]:
    """Return what makes a call the same call, so that only the same one is resumed."""
    files = []
    for path in expand_paths(choice.files) if choice.files and not choice.reads_stdin else ():
        stat = Path(path).stat()
        files.append([path, stat.st_size, stat.st_mtime_ns])
    return {
        "task": call.name,
        "model": resolved.location,
        "weights": _weights_of(resolved),
        "model_arguments": options.arguments,
        "revision": resolved.revision,
        "device": options.device,
        "dtype": options.dtype,
        "parameters": settings.parameters,
        "batch_size": settings.batch_size,
        "long": settings.long,
        "max_length": settings.max_length,
        "seed": settings.seed,
        "input": files or list(choice.arguments) or choice.dataset,
        "input_format": choice.format,
        "split": choice.split,
        "columns": [
            choice.column,
            dict(choice.mapping),
            {name: str(value) for name, value in choice.constants.items()},
        ],
        "llmkit": __version__,
        **output,
    }
