"""What the pages of a parquet file say of themselves, read before anything is decompressed.

A page of a few bytes may say that it is two gigabytes, and a few bytes of a dictionary's numbers may stand for a
billion values. The headers are Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md) of the struct PageHeader, as the
footer is of FileMetaData (https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

LARGEST_PAGE = (
    512_000_000  # bytes; writers make pages of a megabyte, or of a thousand values where those are large
)
MOST_VALUES = 16_000_000  # of a page in a column of lists
MOST_VALUES_OF_A_ROW = 1_000_000  # in a column of lists, on the average of a group of rows
_READ_FIRST, _LONGEST_HEADER = 1 << 13, 1 << 24
# The numbers of fields in PageHeader, FileMetaData, RowGroup, ColumnChunk and ColumnMetaData; of a type.
_SIZE, _COMPRESSED, _DATA, _DICTIONARY, _DATA_V2 = 2, 3, 5, 7, 8
_GROUPS = 4
_COLUMNS, _ROWS = 1, 3
_ABOUT_COLUMN = 3
_TYPE, _PATH, _SIZE_OF_COLUMN, _FIRST_PAGE, _DICTIONARY_PAGE = 1, 3, 7, 9, 11
_BYTES = 6


class PageError(ValueError):
    """A page that is damaged; the message says how."""


class LargePageError(PageError):
    """A page that is larger, by what it says of itself, than any that a writer makes."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    Attributes:
        size: its bytes when decompressed.
        values: how many values it stands for.
        is_dictionary: it holds what the numbers of other pages stand for.
    """

    size: int
    values: int
    is_dictionary: bool


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column in a group of rows: where its pages lie.

    Attributes:
        is_text: its values are texts or bytes of any length.
        is_list: a row may have several of them.
    """

    path: str
    start: int
    size: int
    is_text: bool
    is_list: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A group of rows."""

    rows: int
    chunks: tuple[Chunk, ...]


def read_groups(file: Any, stream: BinaryIO) -> list[Group]:
    """Return where the columns of each group of rows lie, by the file's footer.

    pyarrow would say it too, and ends the process over some footers that are damaged.

    Args:
        file: the `pyarrow.parquet.ParquetFile` that `stream` holds.

    Raises:
        PageError: the footer is damaged.
    """
    length = int.from_bytes(_bytes_at(stream, -8, 4), "little")
    lists = [file.schema.column(number).max_repetition_level > 0 for number in range(len(file.schema))]
    try:
        footer = _Compact(_bytes_at(stream, -8 - length, length)).struct(0)
        return [_group(each, lists) for each in footer.get(_GROUPS, [])]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise PageError("its footer is damaged") from error


def _bytes_at(stream: BinaryIO, at: int, length: int) -> bytes:
    stream.seek(at, 2)
    return stream.read(length)


def _group(said: dict[int, Any], lists: list[bool]) -> Group:
    chunks = []
    for column, is_list in zip(said[_COLUMNS], lists, strict=True):
        about = column[_ABOUT_COLUMN]
        path = ".".join(part.decode(errors="replace") for part in about[_PATH])
        places = [place for key in (_FIRST_PAGE, _DICTIONARY_PAGE) if (place := about.get(key))]
        chunks.append(
            Chunk(path, min(places, default=0), int(about[_SIZE_OF_COLUMN]), about[_TYPE] == _BYTES, is_list)
        )
    return Group(int(said[_ROWS]), tuple(chunks))


def check_pages(stream: BinaryIO, group: Group, columns: frozenset[int] | None = None) -> int:
    """Check the pages of a group of rows; return the bytes of the largest dictionary of texts, 0 without one.

    A value of a dictionary may stand in every row: so many bytes, and no more, may any row have of it.

    Args:
        columns: the numbers of those that are to be read; None for all.

    Raises:
        PageError: a page is damaged.
        LargePageError: a page is too large.
    """
    largest = 0
    for number, chunk in enumerate(group.chunks if group.rows else ()):
        if columns is not None and number not in columns:
            continue
        values = 0
        for page in pages_of(stream, chunk):
            values += 0 if page.is_dictionary else page.values
            if page.size > LARGEST_PAGE:
                raise LargePageError(f"a page of {chunk.path} says that it has {page.size:,} bytes")
            if chunk.is_list and page.values > MOST_VALUES:
                raise LargePageError(f"a page of {chunk.path} says that it has {page.values:,} values")
            if chunk.is_text and page.is_dictionary:
                largest = max(largest, page.size)
        if chunk.is_list and values > MOST_VALUES_OF_A_ROW * group.rows:
            raise LargePageError(f"{group.rows:,} rows of {chunk.path} have {values:,} values")
    return largest


def pages_of(stream: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """Go through the headers of a column's pages.

    Raises:
        PageError: one is damaged.
    """
    at = chunk.start
    while at < chunk.start + chunk.size:
        fields, length = _header(stream, at)
        size, compressed = fields.get(_SIZE), fields.get(_COMPRESSED)
        if not isinstance(size, int) or not isinstance(compressed, int) or size < 0 or compressed < 0:
            raise PageError(f"a page of {chunk.path} is damaged")
        heads = [fields[kind] for kind in (_DATA, _DATA_V2, _DICTIONARY) if kind in fields]
        values = heads[0].get(1, 0) if heads and isinstance(heads[0], dict) else None
        if not isinstance(values, int) or values < 0:
            raise PageError(f"a page of {chunk.path} is damaged")
        yield Page(size, values, _DICTIONARY in fields)
        at += length + compressed


def _header(stream: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """Return the fields of the page's header at a place, and how long it is."""
    if at < 0:
        raise PageError("a page lies before the beginning")
    wanted = _READ_FIRST
    while True:
        stream.seek(at)
        data = stream.read(wanted)
        try:
            reader = _Compact(data)
            return reader.struct(0), reader.at
        except IndexError:
            if len(data) < wanted or wanted >= _LONGEST_HEADER:
                raise PageError("a page's header is damaged") from None
            wanted *= 8


class _Compact:
    """Thrift's compact protocol, as far as the header of a page and the footer need it."""

    _DEEPEST = 16

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > self._DEEPEST:
            raise PageError("a page's header is damaged")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number()
            fields[number] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._number()
        if kind == 7:
            return self._skip(8)
        if kind == 8:
            length = self._varint()
            start = self.at
            self._skip(length)
            return self._data[start : self.at]
        if kind == 9:
            return self._list(depth)
        if kind == 12:
            return self.struct(depth + 1)
        raise PageError("a page's header is damaged")  # nothing else is in one

    def _list(self, depth: int) -> list[Any]:
        if depth > self._DEEPEST:
            raise PageError("a page's header is damaged")
        head = self._byte()
        count = head >> 4 if head >> 4 < 15 else self._varint()
        kind = head & 15
        if count > len(self._data):
            raise IndexError(count)
        # A truth value has a byte in a list, and none in a struct.
        return [self._byte() if kind in (1, 2) else self._value(kind, depth + 1) for _ in range(count)]

    def _byte(self) -> int:
        value = self._data[self.at]
        self.at += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise PageError("a page's header is damaged")
        return value | byte << shift

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self._data):
            raise IndexError(self.at)
