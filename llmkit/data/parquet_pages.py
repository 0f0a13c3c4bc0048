"""What the pages of a parquet file say of themselves, read before anything is decompressed.

A page of a few bytes may say that it is two gigabytes, and a few bytes of a dictionary's numbers may stand for a
billion values. The headers are Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md) of the struct PageHeader
(https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift).
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
_SIZE, _COMPRESSED, _DATA, _DICTIONARY, _DATA_V2 = 2, 3, 5, 7, 8


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


def check_pages(file: Any, stream: BinaryIO, group: int, columns: frozenset[int] | None = None) -> int:
    """Check the pages of a group of rows; return the bytes of the largest dictionary of texts, 0 without one.

    A value of a dictionary may stand in every row: so many bytes, and no more, may any row have of it.

    Args:
        file: the `pyarrow.parquet.ParquetFile` that `stream` holds.
        columns: the numbers of those that are to be read; None for all.

    Raises:
        PageError: a page is damaged.
        LargePageError: a page is too large.
    """
    largest = 0
    metadata = file.metadata.row_group(group)
    for number in range(metadata.num_columns if metadata.num_rows else 0):
        if columns is not None and number not in columns:
            continue
        chunk, values = metadata.column(number), 0
        is_text = chunk.physical_type == "BYTE_ARRAY"
        is_list = file.schema.column(number).max_repetition_level > 0
        for page in _pages(stream, chunk):
            values += 0 if page.is_dictionary else page.values
            if page.size > LARGEST_PAGE:
                raise LargePageError(f"a page of {chunk.path_in_schema} says that it has {page.size:,} bytes")
            if is_list and page.values > MOST_VALUES:
                raise LargePageError(
                    f"a page of {chunk.path_in_schema} says that it has {page.values:,} values"
                )
            if is_text and page.is_dictionary:
                largest = max(largest, page.size)
        if is_list and values > MOST_VALUES_OF_A_ROW * max(1, metadata.num_rows):
            raise LargePageError(
                f"{metadata.num_rows:,} rows of {chunk.path_in_schema} have {values:,} values"
            )
    return largest


def _pages(stream: BinaryIO, chunk: Any) -> Iterator[Page]:
    """Go through the headers of a column's pages."""
    starts = [chunk.data_page_offset] + (
        [chunk.dictionary_page_offset] if chunk.dictionary_page_offset else []
    )
    at, begin = min(starts), min(starts)
    while at < begin + chunk.total_compressed_size:
        fields, length = _header(stream, at)
        size, compressed = fields.get(_SIZE), fields.get(_COMPRESSED)
        if not isinstance(size, int) or not isinstance(compressed, int) or size < 0 or compressed < 0:
            raise PageError(f"a page of {chunk.path_in_schema} is damaged")
        heads = [fields[kind] for kind in (_DATA, _DATA_V2, _DICTIONARY) if kind in fields]
        values = heads[0].get(1, 0) if heads and isinstance(heads[0], dict) else None
        if not isinstance(values, int) or values < 0:
            raise PageError(f"a page of {chunk.path_in_schema} is damaged")
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
    """Thrift's compact protocol, as far as the header of a page needs it."""

    _DEEPEST = 8

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
            return self._skip(self._varint())
        if kind == 12:
            return self.struct(depth + 1)
        raise PageError("a page's header is damaged")  # nothing else is in one

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
