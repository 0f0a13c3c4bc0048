"""A run over rows, window by window, into a sink: what is done stays done, and rows that fail stand alone.

Every command that makes one result of one row runs here; it brings the rows cut into windows, and says what
becomes of each row of one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, TypeVar

from llmkit.data.encoding import plain_value
from llmkit.data.records import Record, Row
from llmkit.data.shared_rows import SharedRows
from llmkit.data.sinks import Sink
from llmkit.errors import DataError, LlmkitError, ModelError

T = TypeVar("T")

_MOST_UNNAMED = 100
_SAME_FAILURES = 8  # as many rows failing alike, and no other, is not the rows' fault
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: its result, or why there is none."""

    row: Row
    value: Any = None
    error: Exception | None = None

    @property
    def reason(self) -> str:
        """Return one line that says why there is no result."""
        return "" if self.error is None else reject_reason(self.error)


@dataclass(frozen=True, slots=True)
class Window(Generic[T]):
    """Rows that are worked on together: `start` is the number of the first in the input, from 0."""

    number: int
    start: int
    rows: list[T]


@dataclass
class Summary:
    """What a run came to."""

    done: int = 0
    rejected: int = 0


@dataclass
class RowRun:
    """Results of rows on their way into a sink; leaving the ``with`` block closes it.

    Attributes:
        written: makes of an outcome and its row's number what the sink takes.
        rejected_input: makes the input's columns of a rejected row JSON, given the row and its number.
        rows_done: rows that an earlier run has done, which are passed over.
        rejected: hears of each rejected row.
        shared: this process's part, where several work on the rows; the first has the sink.

    Raises:
        DataError: at the end, no row could be used.
        ModelError: no row succeeded, or the first rows all failed in the same way.
        OutputError: the output cannot be written.
    """

    sink: Sink
    written: Callable[[Outcome, int], Any]
    rejected_input: Callable[[Row, int], Any]
    rows_done: int = 0
    rejected: Callable[[str], None] = lambda text: None
    summary: Summary = field(default_factory=Summary)
    shared: SharedRows | None = None
    _failures: list[tuple[str, Exception]] = field(default_factory=list)
    _unnamed: list[str] = field(default_factory=list)

    def __enter__(self) -> RowRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._put_others(None)
        except BaseException:
            self.sink.close(finished=False)
            raise
        has_failed = not self.summary.done and not self.rows_done and bool(self._failures)
        self.sink.close(finished=error is None and not has_failed)
        if error is None and has_failed:
            raise failure_of(self._failures)

    def pending(self, windows: Iterable[list[T]]) -> Iterator[Window[T]]:
        """Go through the windows that are still to be done."""
        start = 0
        for number, rows in enumerate(windows):
            # Rows of a pipe are cut by when they came: a window may begin among those that are done.
            done = max(0, self.rows_done - start)
            window = Window(number, start + done, rows[done:])
            start += len(rows)
            if window.rows and (self.shared is None or self.shared.is_mine(window)):
                yield window

    def put(self, window: Window[Any], outcomes: Sequence[Outcome]) -> None:
        """Write what became of a window's rows, and make it last; or hand it to the process that writes."""
        if self.shared is not None and not self.shared.is_first:
            self.shared.send(window, outcomes, self.written)
            self.summary.done += len(outcomes)  # whether they all failed, the first process knows
            return
        self._put_others(window.number)
        self._put_rows(window, outcomes, self.written)

    def _put_others(self, number: int | None) -> None:
        """Write what other processes found, of the windows before one, or of all."""
        if self.shared is not None:
            for window, outcomes in self.shared.others_before(number):
                self._put_rows(window, outcomes, lambda outcome, index: outcome.value)

    def _put_rows(
        self, window: Window[Any], outcomes: Sequence[Outcome], written: Callable[[Outcome, int], Any]
    ) -> None:
        self._check_failures(outcomes)
        for index, outcome in enumerate(outcomes, start=window.start):
            self._put(outcome, index, written)
        self.sink.commit(window.start + len(outcomes))

    def _put(self, outcome: Outcome, index: int, written: Callable[[Outcome, int], Any]) -> None:
        if outcome.error is None:
            self.sink.write(written(outcome, index), index, _label(outcome.row))
            self.summary.done += 1
            while self._unnamed:
                self.rejected(self._unnamed.pop(0))
            return
        self.summary.rejected += 1
        row = outcome.row
        if not self.summary.done and len(self._failures) < _SAME_FAILURES:
            self._failures.append((row.place, outcome.error))
        self.sink.reject(as_rejected(row, outcome.reason, self.rejected_input(row, index)))
        # Where none succeeds, the error at the end says it.
        if self.summary.done or self.rows_done:
            self.rejected(f"{row.place}: {outcome.reason}")
        elif len(self._unnamed) < _MOST_UNNAMED:
            self._unnamed.append(f"{row.place}: {outcome.reason}")

    def _check_failures(self, outcomes: Sequence[Outcome]) -> None:
        """Stop where the first rows all fail alike by no fault of their own."""
        if self.summary.done or self.rows_done or len(outcomes) < _SAME_FAILURES:
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


def reject_reason(error: Exception) -> str:
    """Return one line that says why a row failed."""
    text = error.message if isinstance(error, DataError) else str(error)
    first = text.strip().partition("\n")[0] or type(error).__name__
    return first if len(first) <= _LONGEST_REASON else f"{first[: _LONGEST_REASON - 3]}..."


def beside_input(row: Row, value: Any) -> dict[str, Any]:
    """Put a result beside the columns it came from; a column of the same name becomes `input_NAME`."""
    result = value if isinstance(value, dict) else {"result": value}
    return {**kept_columns(getattr(row, "values", {}), result), **result}


def kept_columns(columns: Mapping[str, Any], result: Collection[str]) -> dict[str, Any]:
    """Return an input's columns as JSON has them; one that the result has too is called `input_NAME`."""
    return {
        (f"input_{name}" if name in result else name): plain_value(each) for name, each in columns.items()
    }


def as_rejected(row: Row, reason: str, given: Any) -> dict[str, Any]:
    """Return a rejected row as a file of rejects has it: where it stands, why, and what it holds."""
    return {"source": row.source, "line": row.line, "reason": reason, "input": given}


def plain_input(row: Row, index: int) -> dict[str, Any] | None:
    """Return the columns of a row as JSON; None of one that could not be read."""
    return plain_value(row.values) if isinstance(row, Record) else None


def _label(row: Row) -> str:
    values = getattr(row, "values", {}).values()
    return next((value for value in values if isinstance(value, str)), "")
