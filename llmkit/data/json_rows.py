"""jsonl and json, an object or a string a row.

- jsonl: a row a line; empty lines are passed over.
- json: an array of rows, or one object that holds one list of them. It is read block by block, never held whole.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from llmkit.data.json_text import NotJsonError, is_too_deep, object_of
from llmkit.data.lines import BLOCK, max_row_chars, not_utf8, read_lines, too_long
from llmkit.data.records import BadRecord, Record, Row, shown, text_record
from llmkit.errors import DataError


def _refuse_constant(name: str) -> NoReturn:
    raise NotJsonError(f"{name} is not JSON; write null for a number that is not there")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=object_of)
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
            raise NotJsonError("half of a surrogate pair (\\ud800 to \\udfff) is not a character") from None


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
        if is_too_deep(value, text):
            return _Unreadable(_TOO_DEEP)
    except json.JSONDecodeError as error:
        return _Unreadable(f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        return _Unreadable(_TOO_DEEP)
    except ValueError as error:
        return _Unreadable(_reason(error))
    return value


def _reason(error: ValueError) -> str:
    """Why a value is refused: in our own words, but for whole numbers, of which Python makes none of any length."""
    return str(error) if isinstance(error, NotJsonError) else "a whole number has thousands of digits"


def read_jsonl(stream: io.BufferedReader, source: str) -> Iterator[Row]:
    """An object or a string for each line; empty lines are passed over."""
    for line in read_lines(stream):
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
                return self._skip(_reason(error))
            else:
                if self._finished or end + _AHEAD <= len(self._text):
                    return self._checked(value, end)
            if len(self._text) - self._at > self._limit + _AHEAD:
                return self._skip(None)
            self._more()

    def error(self, message: str, at: int | None = None) -> DataError:
        """The error that says what is wrong, with the place `at` or where the next value begins."""
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
            return _Unreadable(too_long("row", len(text), self._limit))
        if bad := _ESCAPED_BYTE.search(text):
            line, column = self._place(start + bad.start())
            return _Unreadable(not_utf8(ord(bad[0]) & 0xFF, f"line {line}, column {column}"))
        try:
            _check_surrogates(value, text)
        except NotJsonError as error:
            return _Unreadable(str(error))
        return _Unreadable(_TOO_DEEP) if is_too_deep(value, text) else value

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
                    return _Unreadable(reason or too_long("row", length, self._limit))
            if self._finished:
                raise self.error("a row is not closed", len(self._text))
            # An escape may be cut in two: its backslash stays for the next block.
            self._at = len(self._text) - _open_escape(self._text, start)
            length += self._at - start
            self._more()

    def _more(self) -> None:
        self._line, self._column = self._place(self._at)
        # By as much as there is, so that a long value is not decoded over and over.
        block = self._stream.read(max(BLOCK, len(self._text) - self._at))
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
        if name in fields or name == list_name:
            raise text.error(f"the key {shown(name)} is there twice in one object")
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
