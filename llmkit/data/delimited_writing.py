"""Results as CSV and TSV: a line a result, or a line an element where a result is a list of objects.

Lists come with a first column `row`, the number of the input from 0. A value that is not a number or a text is
written as JSON.

The header comes first, and a result may bring a column that none before had. So a file is written when its last
row is known: until then it is JSON Lines. A stream has the columns of its first result, and says what it leaves
out.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from llmkit.data.encoding import dump_json
from llmkit.data.formatter import Formatter


class DelimitedFormatter(Formatter):
    """Writes a stream, under the columns of the first result."""

    def __init__(self, delimiter: str) -> None:
        super().__init__()
        self.delimiter = delimiter
        self.state["columns"] = None

    def encode(self, value: Any, index: int) -> bytes:
        lines = _flat_rows(value, index)
        if not lines:
            return b""
        columns, head = self.state["columns"], b""
        if columns is None:
            columns = self.state["columns"] = _columns(lines)
            head = _line(columns, self.delimiter)
        self.lost = [*dict.fromkeys((*self.lost, *(name for name in _columns(lines) if name not in columns)))]
        return head + b"".join(_row(line, columns, self.delimiter) for line in lines)


class FlatLinesFormatter(Formatter):
    """Writes the rows of a table as JSON Lines, for `lines_to_delimited`."""

    def encode(self, value: Any, index: int) -> bytes:
        return "".join(f"{dump_json(row)}\n" for row in _flat_rows(value, index)).encode()


def lines_to_delimited(lines: Path, target: Path, delimiter: str) -> None:
    """Turn a file of rows as JSON Lines into CSV or TSV with every row's columns, with bounded memory."""
    columns = _columns(_rows(lines))
    with target.open("wb") as file:
        if columns:
            file.write(_line(columns, delimiter))
        file.writelines(_row(row, columns, delimiter) for row in _rows(lines))


def _rows(lines: Path) -> Iterator[dict[str, Any]]:
    with lines.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _columns(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _flat_rows(value: Any, index: int) -> list[dict[str, Any]]:
    if isinstance(value, Mapping):
        return [dict(value)]
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return [
            {"row": index, **{("input_row" if name == "row" else name): cell for name, cell in each.items()}}
            for each in value
        ]
    if isinstance(value, list) and not value:
        return []
    return [{"row": index, "result": value}]


def _row(row: Mapping[str, Any], columns: Iterable[str], delimiter: str) -> bytes:
    return _line((_cell(row.get(column)) for column in columns), delimiter)


def _line(cells: Iterable[Any], delimiter: str) -> bytes:
    # Only what is in the line end is put in quotes, in some releases of Python: a lone \r must be too.
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return (out.getvalue().removesuffix("\r\n") + "\n").encode(errors="replace")


def _cell(value: Any) -> Any:
    is_plain = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
    return value if is_plain else dump_json(value)
