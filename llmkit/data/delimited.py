"""csv and tsv: a header row, then rows of cells.

- csv: cells with ``"`` around them where needed; the delimiter is ``,``, or ``;`` or a tab where the
  header has no comma.
- a column that the header gives no name is called as pandas calls it, ``Unnamed: 0`` by its place;
- tsv: cells as they stand: a quote is a quote, and no cell holds a tab or a newline.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

from llmkit.data.lines import Line, max_row_chars, read_lines
from llmkit.data.records import BadRecord, Record, Row, shown
from llmkit.errors import DataError

# csv.reader takes a bare carriage return for a line end. Text decoded from UTF-8 holds no lone surrogate,
# so one can stand in for it on the way through.
_CARRIAGE_RETURN = "\udc0d"
_CSV_REASONS = {
    "unexpected end of data": "a quote opened in this row is never closed",
    "expected after": "a closing quote must end its cell; a quote inside a quoted cell is written twice",
}


class _RowTooLongError(Exception):
    """A row that goes on over many lines: most likely a quote that is not closed."""


class _CsvLines:
    """Lines for csv.reader, which asks for another one for as long as a quote is open."""

    def __init__(self, first: Line, rest: Iterator[Line]) -> None:
        self._lines = rest
        self._next: Line | None = first
        self._limit = max_row_chars()
        self.start_row()

    def start_row(self) -> None:
        self.starts_at = self.ends_at = 0
        self.length = 0
        self.reason: str | None = None

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = self._next or next(self._lines)
        self._next = None
        self.starts_at = self.starts_at or line.number
        self.ends_at = line.number
        if line.reason is not None and self.reason is None:
            where = f" (in line {line.number})" if line.number > self.starts_at else ""
            self.reason = line.reason + where
        self.length += len(line.content)
        if self.length > self._limit:
            raise _RowTooLongError
        content = line.content
        if "\r" not in content:
            return line.text
        return content.replace("\r", _CARRIAGE_RETURN) + line.text[len(content) :]


class _CsvTable:
    """Rows of cells, each with its first line and what is wrong with it."""

    def __init__(self, stream: io.BufferedReader, source: str, delimiter: str | None) -> None:
        lines = read_lines(stream, source)
        first = next(lines, None) or Line(1, "")
        self._source = source
        self._lines = _CsvLines(first, lines)
        if delimiter is None:
            delimiter = next((mark for mark in ",;\t" if mark in first.text), ",")
            self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)
        else:
            self._reader = csv.reader(self._lines, delimiter=delimiter, quoting=csv.QUOTE_NONE)
        # The limit of the csv module is its own and for the whole process; ours is the one that counts.
        csv.field_size_limit(max(csv.field_size_limit(), min(max_row_chars() + 1, 2**31 - 1)))

    def header(self) -> list[str]:
        header = next(self._rows(), None)
        if header is None:
            return []
        if isinstance(header, BadRecord):
            raise DataError(f"{header.place}: the header cannot be read: {header.reason}")
        number, names = header
        # pandas writes its index as a column without a name, and reads it back under this one.
        names = [name or f"Unnamed: {place}" for place, name in enumerate(names)]
        twice = next((name for name, count in Counter(names).items() if count > 1), None)
        if twice is not None:
            raise DataError(f"{self._source}:{number}: the header names the column {shown(twice)} twice")
        return names

    def records(self, header: list[str]) -> Iterator[Row]:
        for row in self._rows():
            if isinstance(row, BadRecord):
                yield row
            elif len(row[1]) != len(header):
                reason = f"expected {len(header)} cells, as in the header, and found {len(row[1])}"
                yield BadRecord(self._source, row[0], reason)
            else:
                yield Record(dict(zip(header, row[1], strict=True)), self._source, row[0])

    def _rows(self) -> Iterator[tuple[int, list[str]] | BadRecord]:
        while True:
            self._lines.start_row()
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except (_RowTooLongError, csv.Error) as error:
                yield self._bad(_csv_reason(error))
            else:
                if self._lines.reason is not None:
                    yield self._bad(self._lines.reason)
                elif cells:
                    yield self._lines.starts_at, [cell.replace(_CARRIAGE_RETURN, "\r") for cell in cells]

    def _bad(self, reason: str) -> BadRecord:
        first, last = self._lines.starts_at, self._lines.ends_at
        lost = f"; lines {first} to {last} are lost" if last > first else ""
        return BadRecord(self._source, first, (self._lines.reason or reason) + lost)


def _csv_reason(error: Exception) -> str:
    if isinstance(error, _RowTooLongError) or "field larger than field limit" in str(error):
        return f"row is longer than {max_row_chars():,} characters: is a quote in it never closed?"
    return next((reason for part, reason in _CSV_REASONS.items() if part in str(error)), str(error))


def _read_table(stream: io.BufferedReader, source: str, delimiter: str | None) -> Iterator[Row]:
    table = _CsvTable(stream, source, delimiter)
    header = table.header()
    if not header:
        return
    some = False
    for row in table.records(header):
        some = True
        yield row
    if not some:
        raise DataError(f"{source} is empty: it has a header and no rows")


def read_csv(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """A row of cells for each record; ``line`` is where it starts.

    Raises:
        DataError: the header has one name twice, or no row follows it.
    """
    return _read_table(stream, source, None)


def read_tsv(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """As csv, by tabs and without quoting: tsv is seldom written with it, and a stray quote is common."""
    return _read_table(stream, source, "\t")
