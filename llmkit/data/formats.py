"""How results are written: one formatter a format, each turning a result into bytes.

Formatters only encode. Where the bytes go, and that they get there whole, is `llmkit.data.sinks`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llmkit.data.encoding import dump_json
from llmkit.data.parquet_writing import lines_to_parquet
from llmkit.errors import UsageError, did_you_mean


class Formatter(Protocol):
    """Encodes results one by one.

    Attributes:
        state: what `encode` must remember from row to row; a resumed run restores it.
    """

    state: dict[str, Any]

    def begin(self) -> bytes: ...

    def encode(self, value: Any, index: int) -> bytes:
        """Return the bytes of one result; `index` is the row's number in the input, from 0."""
        ...

    def end(self) -> bytes: ...


class JsonLinesFormatter:
    """One result a line."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def begin(self) -> bytes:
        return b""

    def encode(self, value: Any, index: int) -> bytes:
        return f"{dump_json(value)}\n".encode()

    def end(self) -> bytes:
        return b""


class JsonFormatter:
    """One JSON document: an array of the results, or the only result itself.

    The shape follows the call, not the data: `bare` is for a call that can have one input only.
    """

    def __init__(self, *, bare: bool = False) -> None:
        self.bare = bare
        self.state: dict[str, Any] = {"rows": 0}

    def begin(self) -> bytes:
        return b"" if self.bare else b"["

    def encode(self, value: Any, index: int) -> bytes:
        text = dump_json(value)
        self.state["rows"] += 1
        if self.bare:
            return text.encode()
        return f"{',' if self.state['rows'] > 1 else ''}\n{text}".encode()

    def end(self) -> bytes:
        return b"\n" if self.bare else b"\n]\n"


class DelimitedFormatter:
    """CSV or TSV: a line a result, or a line an element where a result is a list of objects.

    Lists come with a first column `row`, the number of the input from 0. A value that is not a number or
    a text is written as JSON. The columns are those of the first result.
    """

    def __init__(self, delimiter: str) -> None:
        self.delimiter = delimiter
        self.state: dict[str, Any] = {"columns": None}

    def begin(self) -> bytes:
        return b""

    def encode(self, value: Any, index: int) -> bytes:
        lines = list(_flat_rows(value, index))
        if not lines:
            return b""
        columns, rows = self.state["columns"], []
        if columns is None:
            columns = self.state["columns"] = list(lines[0])
            rows.append(columns)
        rows += [[_cell(line.get(column)) for column in columns] for line in lines]
        return "".join(map(self._line, rows)).encode(errors="replace")

    def _line(self, cells: Sequence[Any]) -> str:
        # Only what is in the line end is put in quotes, in some releases of Python: a lone \r must be too.
        out = io.StringIO()
        csv.writer(out, delimiter=self.delimiter, lineterminator="\r\n").writerow(cells)
        return out.getvalue().removesuffix("\r\n") + "\n"

    def end(self) -> bytes:
        return b""


def _flat_rows(value: Any, index: int) -> list[dict[str, Any]]:
    if isinstance(value, Mapping):
        return [dict(value)]
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return [{"row": index, **each} for each in value]
    if isinstance(value, list) and not value:
        return []
    return [{"row": index, "result": value}]


def _cell(value: Any) -> Any:
    is_plain = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
    return value if is_plain else dump_json(value)


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table of formats.

    Attributes:
        make: makes the formatter; `bare` as in JsonFormatter.
        convert: turns the finished file of JSON Lines into this format, where it cannot be written row by row.
    """

    name: str
    endings: tuple[str, ...]
    make: Callable[[bool], Formatter]
    convert: Callable[[Path, Path], None] | None = None


FORMATS = {
    row.name: row
    for row in (
        Format("jsonl", (".jsonl", ".ndjson"), lambda bare: JsonLinesFormatter()),
        Format("json", (".json",), lambda bare: JsonFormatter(bare=bare)),
        Format("csv", (".csv",), lambda bare: DelimitedFormatter(",")),
        Format("tsv", (".tsv", ".tab"), lambda bare: DelimitedFormatter("\t")),
        Format("parquet", (".parquet",), lambda bare: JsonLinesFormatter(), lines_to_parquet),
    )
}
TABLE = "table"
FORMAT_NAMES = (TABLE, *FORMATS)


def format_of(path: str) -> str:
    """Return the format that a file's ending stands for.

    Raises:
        UsageError: the ending is none of them.
    """
    for row in FORMATS.values():
        if path.lower().endswith(row.endings):
            return row.name
    endings = ", ".join(ending for row in FORMATS.values() for ending in row.endings)
    raise UsageError(
        f"--output {path}: no format goes by this ending.", hint=f"Use one of {endings}, or say --format."
    )


def check_format(name: str) -> str:
    """Return `name` if it is a format.

    Raises:
        UsageError: it is not; the message has the nearest.
    """
    if name in FORMAT_NAMES:
        return name
    guess = did_you_mean(name, FORMAT_NAMES)
    raise UsageError(
        f"--format {name}: no such format" + (f"; {guess}" if guess else "."),
        hint=f"There are: {', '.join(FORMAT_NAMES)}.",
    )
