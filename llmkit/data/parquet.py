"""parquet, batch by batch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from llmkit.data.lines import BLOCK
from llmkit.data.records import Record, Row
from llmkit.errors import DataError

_BATCH_ROWS = 128
_MAGIC = b"PAR1"


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
    magic = stream.read(len(_MAGIC))
    if not magic:
        return
    if magic != _MAGIC:
        raise DataError(f"{source} is not a parquet file")
    number = 0
    try:
        table = pyarrow.parquet.ParquetFile(stream, pre_buffer=False, buffer_size=BLOCK)
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            for values in batch.to_pylist():
                number += 1
                yield Record(values, source, number)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(f"{source} is damaged, after {number:,} rows: {reason}") from None
