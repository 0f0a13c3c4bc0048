"""How results are written: one formatter a format, each turning a result into bytes.

Formatters only encode. Where the bytes go, and that they get there whole, is `llmkit.data.sinks`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llmkit.data.delimited_writing import DelimitedFormatter, FlatLinesFormatter, lines_to_delimited
from llmkit.data.encoding import dump_json
from llmkit.data.parquet_writing import lines_to_parquet
from llmkit.errors import UsageError, did_you_mean


class Formatter(Protocol):
    """Encodes results one by one.

    Attributes:
        state: what `encode` must remember from row to row; a resumed run restores it.
        lost: keys of results that came too late to have a column.
    """

    state: dict[str, Any]
    lost: list[str]

    def begin(self) -> bytes: ...

    def encode(self, value: Any, index: int) -> bytes:
        """Return the bytes of one result; `index` is the row's number in the input, from 0."""
        ...

    def end(self) -> bytes: ...


class JsonLinesFormatter:
    """One result a line."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.lost: list[str] = []

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
        self.lost: list[str] = []

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


@dataclass(frozen=True, slots=True)
class Format:
    """A row of the table of formats.

    Attributes:
        make: makes the formatter; `bare` as in JsonFormatter.
        convert: turns the finished file of JSON Lines into this format, where a file of it is not written row by row.
        make_lines: makes the formatter of those lines.
        in_stream: a stream of it can be written, row by row.
    """

    name: str
    endings: tuple[str, ...]
    make: Callable[[bool], Formatter]
    convert: Callable[[Path, Path], None] | None = None
    make_lines: Callable[[], Formatter] = JsonLinesFormatter
    in_stream: bool = True

    def make_for_file(self) -> Formatter:
        """Make the formatter of a file: of its own format, or of the lines it is made from at the end."""
        return self.make(False) if self.convert is None else self.make_lines()


def _delimited(name: str, endings: tuple[str, ...], delimiter: str) -> Format:
    return Format(
        name,
        endings,
        lambda bare: DelimitedFormatter(delimiter),
        functools.partial(lines_to_delimited, delimiter=delimiter),
        FlatLinesFormatter,
    )


FORMATS = {
    row.name: row
    for row in (
        Format("jsonl", (".jsonl", ".ndjson"), lambda bare: JsonLinesFormatter()),
        Format("json", (".json",), lambda bare: JsonFormatter(bare=bare)),
        _delimited("csv", (".csv",), ","),
        _delimited("tsv", (".tsv", ".tab"), "\t"),
        Format(
            "parquet", (".parquet",), lambda bare: JsonLinesFormatter(), lines_to_parquet, in_stream=False
        ),
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
