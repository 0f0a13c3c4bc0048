"""How results are written: one formatter a format, each turning a result into bytes.

Formatters only encode. Where the bytes go, and that they get there whole, is `llmkit.data.sinks`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from llmkit.data.atomic import check_place
from llmkit.data.delimited_writing import DelimitedFormatter, FlatLinesFormatter, lines_to_delimited
from llmkit.data.encoding import dump_json
from llmkit.data.formatter import Formatter
from llmkit.data.parquet_writing import lines_to_parquet
from llmkit.errors import UsageError, no_such
from llmkit.plugins import Table


class JsonLinesFormatter(Formatter):
    """One result a line."""

    def encode(self, value: Any, index: int) -> bytes:
        return f"{dump_json(value)}\n".encode()


class JsonFormatter(Formatter):
    """One JSON document: an array of the results, or the only result itself.

    The shape follows the call, not the data: `bare` is for a call that can have one input only.
    """

    def __init__(self, *, bare: bool = False) -> None:
        super().__init__()
        self.bare = bare
        self.state["rows"] = 0

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
        seal: puts what is only known at the end into the finished file, given it and the formatter's state.
        in_stream: a stream of it can be written, row by row.
    """

    name: str
    endings: tuple[str, ...]
    make: Callable[[bool], Formatter]
    convert: Callable[[Path, Path], None] | None = None
    make_lines: Callable[[], Formatter] = JsonLinesFormatter
    seal: Callable[[BinaryIO, dict[str, Any]], None] | None = None
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


_OWN = {
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
FORMATS = Table("llmkit.formats", _OWN, Format)
TABLE = "table"


class Named(Protocol):
    """What a table of formats has of each: its name, and the endings of its files."""

    @property
    def name(self) -> str: ...

    @property
    def endings(self) -> tuple[str, ...]: ...


def format_of(path: str, formats: Mapping[str, Named] = FORMATS) -> str:
    """Return the format that a file's ending stands for.

    Raises:
        UsageError: the ending is none of them, or no file can be there.
    """
    check_place(Path(path))
    for row in formats.values():
        if path.lower().endswith(row.endings):
            return row.name
    endings = ", ".join(ending for row in formats.values() for ending in row.endings)
    raise UsageError(
        f"--output {path}: no format goes by this ending.", hint=f"Use one of {endings}, or say --format."
    )


def check_format(name: str, formats: Mapping[str, Named] = FORMATS) -> str:
    """Return `name` if it is a format.

    Raises:
        UsageError: it is not; the message has the nearest.
    """
    if name == TABLE or name in formats:
        return name
    raise no_such("--format", name, "format", tuple(dict.fromkeys((TABLE, *formats))))


def chosen_format(
    format: str | None,  # noqa: A002
    output: str | None,
    *,
    resume: bool = False,
    formats: Mapping[str, Format] = FORMATS,
) -> str | None:
    """Return the format that --format names or the ending of --output tells; None where the place decides.

    Raises:
        UsageError: no such format, or --output, --format and --resume do not go together.
    """
    name = format_of(output, formats) if output and not format else format
    if name:
        check_format(name, formats)
    if resume and not output:
        raise UsageError("--resume needs --output: only a file can be gone on with.")
    if output and name == TABLE:
        raise UsageError(f"--format table is for a terminal; a file takes {', '.join(formats)}.")
    if not output and name is not None and name in formats and not formats[name].in_stream:
        raise UsageError(f"--format {name} needs a file.", hint=f"Name one: --output results.{name}")
    return name
