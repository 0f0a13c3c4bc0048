"""The formats rows are read from: a registry, and one reader for each.

A reader takes a stream and gives its rows one by one, in the memory of a row. A row that cannot be read
is given as a `BadRecord` and the next one follows; what makes the whole input unreadable is a `DataError`.

- txt: a line each; only a newline ends a line, an empty line is an empty text.
- csv: a header row, then cells with ``"`` around them where needed; the delimiter is ``,``, or ``;`` or a tab
  where the header has no comma.
- tsv: a header row, then cells as they stand: a quote is a quote, and no cell holds a tab or a newline.
- jsonl: an object or a string a line; empty lines are passed over.
- json: an array of objects or strings, or one object that holds one list of them.
- parquet: by batches.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn, cast

from llmkit.data.records import BadRecord, Record, Row, text_record
from llmkit.errors import DataError, UsageError, did_you_mean

MAX_ROW_CHARS = 1_000_000
"""The longest row that is read, in characters; LLMKIT_MAX_ROW_CHARS overrides it."""

_BLOCK = 1 << 16
_BATCH_ROWS = 128
_PARQUET_MAGIC = b"PAR1"
# The longer ones first: the UTF-16 mark begins the UTF-32 one.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_NOT_UTF8 = "not UTF-8: byte 0x{byte:02x} at column {column}; convert with: iconv -f latin1 -t utf-8"


def max_row_chars() -> int:
    """The limit on one row, in characters.

    Raises:
        UsageError: LLMKIT_MAX_ROW_CHARS is not a positive whole number.
    """
    given = os.environ.get("LLMKIT_MAX_ROW_CHARS", "").strip() or str(MAX_ROW_CHARS)
    if not given.isdecimal() or int(given) == 0:
        raise UsageError(f"LLMKIT_MAX_ROW_CHARS is {given!r}, which is not a positive whole number")
    return int(given)


# ---- bytes to lines of text


class _Utf8Stream(io.RawIOBase):
    """`head` and then the rest of `stream`, as UTF-8 whatever its encoding.

    It gives what there is, never waiting for a full block: a line of ``tail -f`` is due when it is written.
    """

    def __init__(self, head: bytes, stream: BinaryIO, encoding: str, source: str) -> None:
        self._head = head
        self._stream = cast(io.BufferedIOBase, stream)
        self._encoding = encoding
        self._decoder = None if encoding == "utf-8" else codecs.getincrementaldecoder(encoding)()
        self._source = source
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            chunk = self._head or self._stream.read1(_BLOCK)
            self._head = b""
            self._ready = self._recoded(chunk)
            if not chunk:
                break
        given = self._ready[: len(buffer)]
        self._ready = self._ready[len(given) :]
        buffer[: len(given)] = given
        return len(given)

    def _recoded(self, chunk: bytes) -> bytes:
        if self._decoder is None:
            return chunk
        try:
            return self._decoder.decode(chunk, final=not chunk).encode()
        except UnicodeDecodeError as error:
            name = self._encoding[:6].upper()
            raise DataError(
                f"{self._source} begins as {name} and is damaged further on: {error.reason}"
            ) from None


def text_stream(stream: BinaryIO, source: str) -> io.BufferedReader:
    """`stream` as UTF-8 without a byte-order mark; UTF-16 and UTF-32 are told by theirs.

    Raises:
        DataError: the first block holds NUL bytes, so this is no text.
    """
    source_stream = cast(io.BufferedIOBase, stream)
    head = source_stream.read1(_BLOCK)
    while any(mark.startswith(head) and mark != head for mark in _BYTE_ORDER_MARKS) and head:
        more = source_stream.read1(_BLOCK)
        if not more:
            break
        head += more
    mark = next((mark for mark in _BYTE_ORDER_MARKS if head.startswith(mark)), b"")
    encoding = _BYTE_ORDER_MARKS.get(mark, "utf-8")
    if encoding == "utf-8" and b"\0" in head:
        raise DataError(
            f"{source} is not a text file: it holds NUL bytes",
            hint="If it is UTF-16 without a byte-order mark, convert it: iconv -f utf-16le -t utf-8",
        )
    return io.BufferedReader(_Utf8Stream(head[len(mark) :], stream, encoding, source), _BLOCK)


def put_back(head: bytes, stream: io.BufferedReader, source: str) -> io.BufferedReader:
    """A stream that gives `head` again and goes on with `stream`."""
    return io.BufferedReader(_Utf8Stream(head, cast(BinaryIO, stream), "utf-8", source), _BLOCK)


@dataclass(frozen=True, slots=True)
class _Line:
    number: int
    text: str
    """With its line end; what can be decoded of it when `reason` is given."""
    reason: str | None = None

    @property
    def content(self) -> str:
        return self.text[:-2] if self.text.endswith("\r\n") else self.text.removesuffix("\n")


def _characters(utf8: bytes) -> int:
    return len(utf8.translate(None, bytes(range(0x80, 0xC0))))


def _read_line(stream: io.BufferedReader, limit: int) -> tuple[bytes, int]:
    """The next line and its length in characters; of a longer line no more than `limit` is ever held."""
    piece = stream.readline(_BLOCK)
    if len(piece) <= limit and (len(piece) < _BLOCK or piece.endswith(b"\n")):
        return piece, len(piece)
    pieces, length = [piece], _characters(piece)
    while len(piece) == _BLOCK and not piece.endswith(b"\n"):
        piece = stream.readline(_BLOCK)
        length += _characters(piece)
        pieces.append(piece)
        if length > limit + len("\r\n"):
            pieces.clear()
    return b"".join(pieces), length - (2 if piece.endswith(b"\r\n") else piece.endswith(b"\n"))


def _too_long(what: str, length: int, limit: int) -> str:
    return f"{what} is {length:,} characters long, the limit is {limit:,} (LLMKIT_MAX_ROW_CHARS sets it)"


def _not_utf8(line: bytes, error: UnicodeDecodeError) -> str:
    column = _characters(line[: error.start]) + 1
    return _NOT_UTF8.format(byte=line[error.start], column=column)


def _lines(stream: io.BufferedReader) -> Iterator[_Line]:
    limit = max_row_chars()
    number = 0
    while True:
        line, length = _read_line(stream, limit)
        if not length and not line:
            return
        number += 1
        if length > limit:
            yield _Line(number, "\n", _too_long("line", length, limit))
            continue
        try:
            yield _Line(number, line.decode())
        except UnicodeDecodeError as error:
            yield _Line(number, line.decode(errors="replace"), _not_utf8(line, error))


# ---- txt


def read_txt(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """A text for each line."""
    for line in _lines(stream):
        if line.reason is not None:
            yield BadRecord(source, line.number, line.reason)
        else:
            yield text_record(line.content, source, line.number)


# ---- csv and tsv

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

    def __init__(self, first: _Line, rest: Iterator[_Line]) -> None:
        self._lines = rest
        self._next: _Line | None = first
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
        lines = _lines(stream)
        first = next(lines, None) or _Line(1, "")
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
        if "" in names:
            raise DataError(
                f"{self._source}:{number}: column {names.index('') + 1} of the header has no name",
                hint="Name it, or leave it out; pandas writes such a column unless told to_csv(index=False).",
            )
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{self._source}:{number}: the header names the column {twice!r} twice")
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
            except _RowTooLongError:
                yield self._bad(
                    f"row is longer than {max_row_chars():,} characters: is a quote in it never closed?"
                )
            except csv.Error as error:
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


def _csv_reason(error: csv.Error) -> str:
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
        DataError: the header has an empty name or one name twice, or no row follows it.
    """
    return _read_table(stream, source, None)


def read_tsv(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """As csv, by tabs and without quoting: tsv is seldom written with it, and a stray quote is common."""
    return _read_table(stream, source, "\t")


# ---- jsonl and json


class _NotJsonError(ValueError):
    """What Python's json would let through and other readers would not."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotJsonError(f"{name} is not JSON; write null for a number that is not there")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
_BLANK = re.compile(r"[ \t\r\n]*")
_STRUCTURE = re.compile(r'\\.|["\[\]{},]', re.DOTALL)
# The longest word of JSON, -Infinity, may be cut in two by the end of a block.
_LONGEST_WORD = 9
# A number at the end of a block may go on in the next one, the 1 of 1e-9: so much is to be seen after a value.
_AHEAD = len("e-9")
_TOO_DEEP = "nested too deeply to be read"


def _check_surrogates(value: Any, text: str) -> None:
    """Refuse half of a surrogate pair: it can be neither tokenized nor written."""
    if _SURROGATE_ESCAPE.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _NotJsonError("half of a surrogate pair (\\ud800 to \\udfff) is not a character") from None


def _json_row(value: Any, source: str, line: int) -> Row:
    if isinstance(value, _Unreadable):
        return BadRecord(source, line, value.reason)
    if isinstance(value, dict):
        return Record(value, source, line)
    if isinstance(value, str):
        return text_record(value, source, line)
    kind = {list: "an array", bool: "a truth value", type(None): "null"}.get(type(value), "a number")
    return BadRecord(source, line, f"a row is an object or a string, and this is {kind}")


@dataclass(frozen=True, slots=True)
class _Unreadable:
    reason: str


def _json_line(text: str) -> Any:
    """The value of one line, or why there is none."""
    try:
        value = _DECODER.decode(text)
        _check_surrogates(value, text)
    except json.JSONDecodeError as error:
        return _Unreadable(f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return _Unreadable(_TOO_DEEP)
    except ValueError as error:
        return _Unreadable(str(error))
    return value


def read_jsonl(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """An object or a string for each line; empty lines are passed over."""
    for line in _lines(stream):
        if line.reason is not None:
            yield BadRecord(source, line.number, line.reason)
        elif not line.content.isspace() and line.content:
            yield _json_row(_json_line(line.content), source, line.number)


class _JsonText:
    """A JSON text read block by block, from which one value after the other is taken."""

    def __init__(self, stream: io.BufferedReader, source: str) -> None:
        self._stream = stream
        self._source = source
        self._limit = max_row_chars()
        # A byte that is not UTF-8 spoils only the row it is in: it is let in here and told in `value`.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text, self._at = "", 0
        self._line, self._column = 1, 1
        self._finished = False

    def peek(self) -> str:
        """The next character that is not blank; nothing at the end."""
        while True:
            self._at = cast(re.Match[str], _BLANK.match(self._text, self._at)).end()
            if self._at < len(self._text):
                return self._text[self._at]
            if self._finished:
                return ""
            self._more()

    def take(self, mark: str) -> None:
        """Step over `mark`, which must be next."""
        if self.peek() != mark:
            raise self.error(f"Expecting {mark!r}")
        self._at += 1

    def value(self) -> Any:
        """The next value; `_Unreadable` for one that is well bounded and cannot be used."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if self._finished or not self._is_cut(error):
                    raise self.error(error.msg, error.pos) from None
            except RecursionError:
                return self._skip(_TOO_DEEP)
            except ValueError as error:
                return self._skip(str(error))
            else:
                if self._finished or end + _AHEAD <= len(self._text):
                    return self._checked(value, end)
            if len(self._text) - self._at > self._limit + _AHEAD:
                return self._skip(None)
            self._more()

    def error(self, message: str, at: int | None = None) -> DataError:
        at = self._at if at is None else at
        line, column = self._place(at)
        message = f"{message}, and the file ends" if self._finished and at >= len(self._text) else message
        return DataError(f"{self._source} is not valid JSON at line {line}, column {column}: {message}")

    def end(self) -> None:
        """Raises DataError unless nothing follows."""
        if self.peek():
            raise self.error("something follows the end")

    def _is_cut(self, error: json.JSONDecodeError) -> bool:
        near_end = error.pos >= len(self._text.rstrip(" \t\r\n")) - _LONGEST_WORD
        return near_end or error.msg.startswith("Unterminated string")

    def _checked(self, value: Any, end: int) -> Any:
        start, self._at = self._at, end
        text = self._text[start:end]
        if len(text) > self._limit:
            return _Unreadable(_too_long("row", len(text), self._limit))
        if bad := _ESCAPED_BYTE.search(text):
            line, column = self._place(start + bad.start())
            reason = _NOT_UTF8.format(byte=ord(bad[0]) & 0xFF, column=column)
            return _Unreadable(reason.replace(" at column", f" at line {line}, column"))
        try:
            _check_surrogates(value, text)
        except _NotJsonError as error:
            return _Unreadable(str(error))
        return value

    def _skip(self, reason: str | None) -> _Unreadable:
        """Step over a value without holding it, by its brackets and quotes alone."""
        depth, quoted, length = 0, False, 0
        while True:
            start = self._at
            for mark in _STRUCTURE.finditer(self._text, start):
                found = mark[0]
                if found == '"':
                    quoted = not quoted
                elif quoted or found[0] == "\\":
                    continue
                elif found in "[{":
                    depth += 1
                elif depth:
                    depth -= found in "]}"
                else:
                    self._at = mark.start()
                    length += self._at - start
                    return _Unreadable(reason or _too_long("row", length, self._limit))
            if self._finished:
                raise self.error("a row is not closed", len(self._text))
            # An escape may be cut in two: its backslash stays for the next block.
            self._at = len(self._text) - _open_escape(self._text, start)
            length += self._at - start
            self._more()

    def _more(self) -> None:
        self._line, self._column = self._place(self._at)
        # By as much as there is, so that a long value is not decoded over and over.
        block = self._stream.read(max(_BLOCK, len(self._text) - self._at))
        self._text = self._text[self._at :] + self._decoder.decode(block, final=not block)
        self._at = 0
        self._finished = not block

    def _place(self, at: int) -> tuple[int, int]:
        newlines = self._text.count("\n", 0, at)
        if not newlines:
            return self._line, self._column + at
        return self._line + newlines, at - self._text.rfind("\n", 0, at)


def _open_escape(text: str, start: int) -> int:
    tail = text[start:]
    return (len(tail) - len(tail.rstrip("\\"))) % 2


def _array_values(text: _JsonText, source: str) -> Iterator[Any]:
    text.take("[")
    if text.peek() == "]":
        text.take("]")
        return
    while True:
        yield text.value()
        if text.peek() == "]":
            text.take("]")
            return
        text.take(",")


def _object_values(text: _JsonText, source: str) -> Iterator[Any]:
    """The values of the one list in an object; the object itself where there is no list in it."""
    fields: dict[str, Any] = {}
    list_name: str | None = None
    text.take("{")
    while text.peek() != "}":
        if fields or list_name is not None:
            text.take(",")
        if text.peek() != '"':
            text.take('"')
        name = text.value()
        if not isinstance(name, str):
            raise text.error("a name that cannot be read")
        text.take(":")
        if text.peek() != "[":
            fields[name] = text.value()
        elif list_name is None:
            list_name = name
            yield from _array_values(text, source)
        else:
            raise DataError(f"{source} holds two lists, {list_name!r} and {name!r}: which one are the rows?")
    text.take("}")
    if list_name is None:
        yield next((value for value in fields.values() if isinstance(value, _Unreadable)), fields)


def _is_jsonl(stream: io.BufferedReader) -> bool:
    """Many files of JSON lines are called .json: a whole object on the first line, another one below."""
    first, _, rest = stream.peek().partition(b"\n")
    if not first.lstrip().startswith(b"{") or not rest.lstrip().startswith(b"{"):
        return False
    return isinstance(_json_line(first.decode(errors="replace")), dict)


def read_json(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """The elements of an array, or of the one list in an object; JSON lines are known by their second line.

    Raises:
        DataError: the text is not JSON; the rows before that place have been given.
    """
    if _is_jsonl(stream):
        yield from read_jsonl(stream, source)
        return
    text = _JsonText(stream, source)
    values = {"[": _array_values, "{": _object_values}.get(text.peek())
    if not text.peek():
        return
    if values is None:
        raise text.error("expecting an array of rows")
    for number, value in enumerate(values(text, source), start=1):
        yield _json_row(value, source, number)
    text.end()


# ---- parquet


def _seekable(stream: BinaryIO) -> BinaryIO:
    """Parquet is read from its end, so a pipe goes through a file on disk first."""
    if stream.seekable():
        return stream
    spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it lives as long as its reader
    shutil.copyfileobj(stream, spool)
    spool.seek(0)
    return spool


def read_parquet(stream: BinaryIO, source: str) -> Iterator[Row]:
    """A row for each row, nested values as Python values.

    Raises:
        DataError: the file is damaged, cut off, or not parquet.
    """
    import pyarrow
    import pyarrow.parquet

    stream = _seekable(stream)
    magic = stream.read(len(_PARQUET_MAGIC))
    if not magic:
        return
    if magic != _PARQUET_MAGIC:
        raise DataError(f"{source} is not a parquet file")
    number = 0
    try:
        table = pyarrow.parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_BLOCK)
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            for values in batch.to_pylist():
                number += 1
                yield Record(values, source, number)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{source} is damaged, after {number:,} rows: {reason}") from None


# ---- the registry


@dataclass(frozen=True, slots=True)
class Format:
    """A format: its name for ``--input-format``, the endings of its files, its reader."""

    name: str
    endings: tuple[str, ...]
    reader: Callable[[Any, str], Iterator[Row]]
    """Takes the stream and the name to give as the source."""
    is_text: bool = True
    """Text is decoded before the reader sees it, and may be compressed as ``.gz``."""

    def read(self, stream: BinaryIO, source: str) -> Iterator[Row]:
        """The rows of a binary stream.

        Raises:
            DataError: there is no row in it, or it cannot be read as this format.
        """
        empty = True
        for row in self.reader(text_stream(stream, source) if self.is_text else stream, source):
            empty = False
            yield row
        if empty:
            raise DataError(f"{source} is empty")


FORMATS = {
    entry.name: entry
    for entry in (
        Format("txt", (".txt", ".text"), read_txt),
        Format("csv", (".csv",), read_csv),
        Format("tsv", (".tsv",), read_tsv),
        Format("json", (".json",), read_json),
        Format("jsonl", (".jsonl", ".ndjson"), read_jsonl),
        Format("parquet", (".parquet",), read_parquet, is_text=False),
    )
}


def format_named(name: str) -> Format:
    """The format called `name`, or the one with that ending.

    Raises:
        DataError: there is no such format.
    """
    known = {ending.lstrip("."): entry for entry in FORMATS.values() for ending in entry.endings} | FORMATS
    found = known.get(name.lower().lstrip("."))
    if found is None:
        hint = did_you_mean(name, known)
        raise DataError(f"no input format {name!r}; there are: {', '.join(FORMATS)}", hint=hint)
    return found


def format_of_ending(path: str) -> Format | None:
    """The format that the ending of `path` tells, ``.gz`` aside; None when it tells none."""
    name = path.lower()
    zipped = name.endswith(".gz")
    for entry in FORMATS.values():
        if name.removesuffix(".gz").endswith(entry.endings) and (entry.is_text or not zipped):
            return entry
    return None
