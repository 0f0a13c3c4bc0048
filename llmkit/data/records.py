"""What every reader gives: a row of the input, or where a row is and why it cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmkit.errors import DataError, did_you_mean, on_a_line

_MOST_NAMES, _LONGEST_NAME, _MOST_COMPARED = 50, 80, 1000

TEXT_COLUMN = "text"
"""The one column of a bare text: a line of a .txt file or of stdin, an argument, a JSON string."""


@dataclass(frozen=True, slots=True)
class Record:
    """One row: its values by column, and where it came from."""

    values: dict[str, Any]
    source: str
    """The file name as given, ``stdin``, ``argument`` or ``dataset NAME``."""
    line: int
    """1-based: the line the row starts at, or the row where there are no lines (parquet, json, datasets)."""

    @property
    def place(self) -> str:
        """``data.csv:17``"""
        return f"{self.source}:{self.line}"


@dataclass(frozen=True, slots=True)
class BadRecord:
    """One row that cannot be read. The rows after it can."""

    source: str
    line: int
    reason: str

    @property
    def place(self) -> str:
        """``data.csv:17``"""
        return f"{self.source}:{self.line}"


Row = Record | BadRecord


def text_record(text: str, source: str, line: int) -> Record:
    """A bare text as a row."""
    return Record({TEXT_COLUMN: text}, source, line)


def columns_of(record: Record) -> list[str]:
    """The names of the columns, in the order of the input."""
    return list(record.values)


def missing_column(name: str, record: Record) -> DataError:
    """The error to raise when `record` has no column `name`; it lists the columns there are."""
    columns = columns_of(record)
    there = f"its columns are: {_listed(columns)}" if columns else "the row has no columns"
    hint = did_you_mean(name, columns[:_MOST_COMPARED]) or _about_header(columns, record.source)
    return DataError(f"no column {name!r} in {record.source}; {there}", hint=hint)


def shown(name: str) -> str:
    """A name of the input as messages have it: in quotes, and cut where it is too long to be read."""
    return repr(name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…")


def _listed(columns: list[str]) -> str:
    names = [name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…" for name in columns]
    more = len(names) - _MOST_NAMES
    return ", ".join(map(on_a_line, names[:_MOST_NAMES])) + (f" and {more:,} more" if more > 0 else "")


def _about_header(columns: list[str], source: str) -> str | None:
    """Say that a table may have no header, where a column is called by a number: most likely that is data."""
    is_table = source.lower().removesuffix(".gz").endswith((".csv", ".tsv"))
    if not is_table or not any(column.replace(".", "", 1).isdecimal() for column in columns):
        return None
    return (
        "The first line is taken for the header; if it is data, put a line with the columns' names above it."
    )
