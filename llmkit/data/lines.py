"""Bytes to lines of text: encodings, byte-order marks, and the limit on one row.

Only a newline ends a line. A line that cannot be read carries the reason, and the next one follows.
"""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from llmkit.data.records import BadRecord, Row, text_record
from llmkit.errors import DataError
from llmkit.wanted import should_be

MAX_ROW_CHARS = 1_000_000
"""The longest row that is read, in characters; LLMKIT_MAX_ROW_CHARS overrides it."""

_MOST_DIGITS = 15  # of a number of characters

BLOCK = 1 << 16
"""How much is read at once, in bytes."""

# The longer ones first: the UTF-16 mark begins the UTF-32 one.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


def max_row_chars() -> int:
    """The limit on one row, in characters.

    Raises:
        UsageError: LLMKIT_MAX_ROW_CHARS is not a positive whole number.
    """
    given = os.environ.get("LLMKIT_MAX_ROW_CHARS", "").strip() or str(MAX_ROW_CHARS)
    if not given.isdecimal() or len(given) > _MOST_DIGITS or int(given) == 0:
        raise should_be(f"LLMKIT_MAX_ROW_CHARS is {given[:20]!r}", "a whole number, 1 or more")
    return int(given)


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
            chunk = self._head or self._stream.read1(BLOCK)
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
    head = source_stream.read1(BLOCK)
    while any(mark.startswith(head) and mark != head for mark in _BYTE_ORDER_MARKS) and head:
        more = source_stream.read1(BLOCK)
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
    return io.BufferedReader(_Utf8Stream(head[len(mark) :], stream, encoding, source), BLOCK)


def read_beginning(stream: BinaryIO, source: str, most: int) -> str:
    """Return the first `most` bytes of UTF-8 as one text, a character that they cut left out.

    Raises:
        DataError: it is no text, or no UTF-8; the message names the first byte of it that is wrong.
    """
    read = text_stream(stream, source).read(most)
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(read, final=len(read) < most)
    except UnicodeDecodeError as error:
        lines = read[: error.start].split(b"\n")
        where = f"line {len(lines)}, column {_characters(lines[-1]) + 1}"
        raise DataError(f"{source}: {not_utf8(read[error.start], where)}") from None


def put_back(head: bytes, stream: io.BufferedReader, source: str) -> io.BufferedReader:
    """A stream that gives `head` again and goes on with `stream`."""
    return io.BufferedReader(_Utf8Stream(head, cast(BinaryIO, stream), "utf-8", source), BLOCK)


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its number, from 1."""

    number: int
    text: str
    """With its line end; what can be decoded of it when `reason` is given."""
    reason: str | None = None

    @property
    def content(self) -> str:
        """The text without its line end."""
        return self.text[:-2] if self.text.endswith("\r\n") else self.text.removesuffix("\n")


def _characters(utf8: bytes) -> int:
    return len(utf8.translate(None, bytes(range(0x80, 0xC0))))


def _read_line(stream: io.BufferedReader, limit: int) -> tuple[bytes, int]:
    """The next line and its length in characters; of one longer than `limit` the last two blocks alone are kept."""
    piece = stream.readline(BLOCK)
    if len(piece) <= limit and (len(piece) < BLOCK or piece.endswith(b"\n")):
        return piece, len(piece)
    pieces, length = [piece], _characters(piece)
    while len(piece) == BLOCK and not piece.endswith(b"\n"):
        piece = stream.readline(BLOCK)
        length += _characters(piece)
        pieces.append(piece)
        if length > limit + len("\r\n"):
            del pieces[:-2]  # the end of it, by which `read_lines` tells what ends its lines
    return b"".join(pieces), length - (2 if piece.endswith(b"\r\n") else piece.endswith(b"\n"))


def too_long(what: str, length: int, limit: int) -> str:
    """Why `what`, a line or a row of `length` characters, is refused."""
    return f"{what} is {length:,} characters long, the limit is {limit:,} (LLMKIT_MAX_ROW_CHARS sets it)"


def not_utf8(byte: int, where: str) -> str:
    """Why a line or a row with `byte` in it is refused."""
    return f"not UTF-8: byte 0x{byte:02x} at {where}; convert with: iconv -f latin1 -t utf-8"


def read_lines(stream: io.BufferedReader, source: str | None = None) -> Iterator[Line]:
    """The lines of UTF-8 text, each in the memory of a row.

    Raises:
        DataError: carriage returns end the lines, and no newline does. Asked where there is a `source` to name; in
            JSON a carriage return is a blank.
    """
    limit = max_row_chars()
    number = 0
    while True:
        line, length = _read_line(stream, limit)
        if not length and not line:
            return
        number += 1
        if source and number == 1 and not line.endswith(b"\n") and b"\r" in line.rstrip(b"\r"):
            raise DataError(
                f"{source}: its lines end in a carriage return alone (CR), and a newline ends a line",
                hint="Convert it: tr '\\r' '\\n' < FILE",
            )
        if length > limit:
            yield Line(number, "\n", too_long("line", length, limit))
            continue
        try:
            yield Line(number, line.decode())
        except UnicodeDecodeError as error:
            where = f"column {_characters(line[: error.start]) + 1}"
            yield Line(number, line.decode(errors="replace"), not_utf8(line[error.start], where))


def read_txt(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """A text for each line; an empty line is an empty text."""
    for line in read_lines(stream, source):
        if line.reason is not None:
            yield BadRecord(source, line.number, line.reason)
        else:
            yield text_record(line.content, source, line.number)
