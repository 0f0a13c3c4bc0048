"""parquet, batch by batch, in the memory of a batch."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from llmkit.data.atomic import explained_write
from llmkit.data.lines import BLOCK
from llmkit.data.parquet_pages import LargePageError, check_pages, read_groups
from llmkit.data.records import BadRecord, Record, Row, shown
from llmkit.errors import DataError

_BATCH_ROWS = 128
_BATCH_BYTES = 64_000_000  # that one value of a dictionary may come to in all rows of a batch
_MAGIC = b"PAR1"
_PART = 1 << 20  # bytes


def _seekable(stream: BinaryIO) -> BinaryIO:
    """Parquet is read from its end, so a pipe goes through a file on disk first."""
    if stream.seekable():
        return stream
    with explained_write(tempfile.gettempdir()):
        spool = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it lives as long as its reader
    while part := stream.read(_PART):
        with explained_write(tempfile.gettempdir()):
            spool.write(part)
    with explained_write(tempfile.gettempdir()):
        spool.seek(0)
    return spool


def read_parquet(stream: BinaryIO, source: str) -> Iterator[Row]:
    """A row for each row, nested values as Python values; one with a value that Python does not have is a `BadRecord`.

    Raises:
        DataError: the file is damaged, cut off, not parquet, or has pages larger than any writer makes.
    """
    stream = _seekable(stream)
    magic = stream.read(len(_MAGIC))
    if not magic:
        return
    if magic != _MAGIC:
        raise DataError(f"{source} is not a parquet file")
    number = 0
    _check_names(stream, source)
    with explained_damage(source, lambda: number):
        for batch in parquet_batches(stream, _BATCH_ROWS):
            for values in _rows(batch):
                number += 1
                if isinstance(values, str):
                    yield BadRecord(source, number, values)
                else:
                    yield Record(values, source, number)


def _check_names(stream: BinaryIO, source: str) -> None:
    import pyarrow.parquet

    with explained_damage(source, lambda: 0):
        names = pyarrow.parquet.ParquetFile(stream).schema_arrow.names
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise DataError(f"{source} has the column {shown(twice)} twice")


def parquet_batches(stream: BinaryIO, rows: int, columns: Sequence[str] | None = None) -> Iterator[Any]:
    """Go through the record batches of a file, each of so many rows or fewer.

    Raises:
        PageError: a page is damaged, or larger than any writer makes; known before it is decompressed.
        ArrowException, OSError: pyarrow cannot read the file.
    """
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(stream, pre_buffer=False, buffer_size=BLOCK)
    wanted = _numbers(file, columns)
    for number, group in enumerate(read_groups(file, stream)):
        dictionary = check_pages(stream, group, wanted)
        size = max(1, min(rows, _BATCH_BYTES // max(1, dictionary)))
        yield from file.iter_batches(size, row_groups=[number], columns=columns, use_threads=False)


def _numbers(file: Any, columns: Sequence[str] | None) -> frozenset[int] | None:
    if columns is None:
        return None
    paths = [file.schema.column(number).path for number in range(len(file.schema))]
    return frozenset(number for number, path in enumerate(paths) if path.partition(".")[0] in columns)


def _rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    """Give the rows of a batch; of one that has no form in Python why not."""
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError, LookupError) as error:
        if batch.num_rows == 1:
            yield _reason(error)
            return
    for number in range(batch.num_rows):
        yield from _rows(batch.slice(number, 1))


@contextmanager
def explained_damage(source: str, rows_read: Any) -> Iterator[None]:
    """Turn what pyarrow says of a file into one message.

    Raises:
        DataError: the file is damaged, or has pages larger than any writer makes.
    """
    import pyarrow

    try:
        yield
    except LargePageError as error:
        raise DataError(
            f"{source} is damaged, after {rows_read():,} rows: {error}.",
            hint="No writer makes such pages: the file is not read further.",
        ) from None
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        raise DataError(f"{source} is damaged, after {rows_read():,} rows: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).partition("\n")[0][:200]
