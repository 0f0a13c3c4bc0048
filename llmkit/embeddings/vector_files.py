"""Files of vectors as they are read again: block by block, in the memory of a block.

.npy and .safetensors are memory-mapped; .parquet, .jsonl and .csv are gone through from the beginning each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.json_text import parse_json
from llmkit.data.parquet import explained_damage, parquet_batches
from llmkit.data.records import BadRecord, Record
from llmkit.data.sources import read_file
from llmkit.embeddings.vector_formats import TENSOR, VECTORS
from llmkit.errors import DataError

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

BLOCK_NUMBERS = 1 << 24  # 64 MB of float32: so large that threads seldom wait for each other
_ROWS_READ = 1024
_NPY_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 100_000_000  # as the library has it
_LONGEST_REASON = 200
_NUMBER_COLUMN = re.compile(r"d(\d+)")
_TENSOR_TYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "BF16": "<u2"}


@dataclass(frozen=True, slots=True)
class VectorFile:
    """Vectors in a file, one a row.

    Attributes:
        blocks: goes through them, each block (rows, dimension), float32; a row without a vector is NaN.
        rows: how many there are; None where only reading them tells.
        metadata: what the file says of how they were made.
        columns: goes through what stands beside the vectors, row by row; None where nothing does.
    """

    path: str
    dimension: int
    blocks: Callable[[], Iterator[Array]]
    rows: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    columns: Callable[[], Iterator[dict[str, Any]]] | None = None


def open_vectors(path: str, column: str = VECTORS) -> VectorFile | None:
    """Open a file of vectors; None where it is another kind of file.

    Args:
        column: the name of the vectors' column, in the formats that have columns.

    Raises:
        DataError: the file is one of vectors, and damaged, or not of one vector a row.
    """
    opener = _OPENERS.get(Path(path).suffix.lower())
    if opener is None:
        return None
    try:
        return opener(path, column)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _open_npy(path: str, column: str) -> VectorFile:
    import numpy

    with Path(path).open("rb") as file:
        if file.read(len(_NPY_MAGIC)) != _NPY_MAGIC:  # an archive of arrays, a pickle
            raise DataError(f"{path} is no .npy file of numbers: it does not begin as one.")
    try:
        # Copy on write: what nobody may write, torch complains of.
        with numpy.errstate(all="ignore"):
            array = numpy.load(path, mmap_mode="c", allow_pickle=False)
    except MemoryError:
        raise DataError(f"{path} is no .npy file of numbers: its header is longer than the memory.") from None
    except Exception as error:  # NumPy reads the header as Python's own text, and tells of that in many ways
        reason = str(error).strip().partition("\n")[0]
        raise DataError(f"{path} is no .npy file of numbers: {reason[:_LONGEST_REASON]}") from None
    return _of_array(path, array)


def _of_array(path: str, array: Array, metadata: dict[str, str] | None = None) -> VectorFile:
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(
            f"{path} holds {array.dtype} of shape {tuple(array.shape)}, not a vector a row.",
            hint="llmkit embed TEXTS -o vectors.npy makes such a file.",
        )
    return VectorFile(path, array.shape[1], lambda: array_blocks(array), len(array), metadata or {})


def array_blocks(array: Array, *, is_bfloat16: bool = False) -> Iterator[Array]:
    """Go through an array, (rows, dimension), in blocks of float32.

    Args:
        is_bfloat16: its numbers of 16 bits are such ones.
    """
    import numpy

    size = max(1, BLOCK_NUMBERS // max(1, array.shape[1]))
    for start in range(0, len(array), size):
        block = array[start : start + size]
        if is_bfloat16:
            block = (block.astype(numpy.uint32) << 16).view(numpy.float32)
        yield numpy.ascontiguousarray(block, dtype=numpy.float32)


def _open_safetensors(path: str, column: str) -> VectorFile:
    import numpy

    with Path(path).open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            if size > _LONGEST_HEADER:
                raise ValueError(size)
            header = parse_json(file.read(size))
            metadata = {str(key): str(text) for key, text in (header.pop("__metadata__", None) or {}).items()}
            tensors = {name: each for name, each in header.items() if len(each["shape"]) == 2}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DataError(f"{path} is damaged: it has no header of a safetensors file.") from None
    if TENSOR not in tensors and f"{TENSOR}.0" in tensors:
        raise DataError(f"{path} holds the vectors of tokens or words; search takes one vector a text.")
    name = TENSOR if TENSOR in tensors else next(iter(tensors), "")
    type_name = str(tensors[name].get("dtype")) if name else ""
    if (len(tensors) > 1 and name != TENSOR) or type_name not in _TENSOR_TYPES:
        raise DataError(f"{path} has no tensor '{TENSOR}' with a vector a row.")
    kind = numpy.dtype(_TENSOR_TYPES[type_name])
    shape, start, end = _place(path, tensors[name], kind.itemsize)
    start, end = 8 + size + start, 8 + size + end
    if Path(path).stat().st_size < end:
        raise DataError(f"{path} is damaged: it ends before its vectors do.")
    array = numpy.memmap(path, kind, "c", start, shape) if end > start else numpy.empty(shape, kind)
    vectors = _of_array(path, array, metadata)
    if type_name == "BF16":
        return replace(vectors, blocks=lambda: array_blocks(array, is_bfloat16=True))
    return vectors


def _place(path: str, tensor: dict[str, Any], width: int) -> tuple[tuple[int, int], int, int]:
    """Return a tensor's shape, and where it begins and ends behind the header.

    Raises:
        DataError: they are not numbers of bytes, or not of as many as the shape says.
    """
    shape, place = tensor["shape"], tensor.get("data_offsets")
    numbers = [*shape, *place] if isinstance(shape, list) and isinstance(place, list) else []
    whole = len(numbers) == 4 and all(type(number) is int and number >= 0 for number in numbers)
    if not whole or numbers[3] - numbers[2] != numbers[0] * numbers[1] * width:
        raise DataError(f"{path} is damaged: its header has shape {shape!r} at {place!r}.")
    return (numbers[0], numbers[1]), numbers[2], numbers[3]


def _open_parquet(path: str, column: str) -> VectorFile | None:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{path} is damaged: {str(error).partition(chr(10))[0]}") from None
    schema = file.schema_arrow
    if column not in schema.names or not _is_list(schema.field(column).type):
        return None
    kind = schema.field(column).type
    if _is_list(kind.value_type):
        raise DataError(f"{path} holds the vectors of tokens or words; search takes one vector a text.")
    first = next((each for each in _parquet_vectors(path, column, None) if len(each)), None)
    others = [name for name in schema.names if name != column]
    return VectorFile(
        path,
        0 if first is None else first.shape[1],
        lambda: _parquet_vectors(path, column, None if first is None else first.shape[1]),
        file.metadata.num_rows,
        {name.decode(): text.decode(errors="replace") for name, text in (schema.metadata or {}).items()},
        lambda: _parquet_columns(path, others),
    )


def _is_list(kind: Any) -> bool:
    import pyarrow

    types = pyarrow.types
    return bool(types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind))


def _parquet_vectors(path: str, column: str, dimension: int | None) -> Iterator[Array]:
    start = 0
    with Path(path).open("rb") as file, explained_damage(path, lambda: start):
        for batch in parquet_batches(file, _ROWS_READ * 8, [column]):
            vectors = batch.column(0)
            if dimension is None:
                dimension = len(vectors.flatten()) // max(1, len(vectors) - vectors.null_count)
            yield _vectors_to_block(path, vectors, dimension, start)
            start += len(vectors)


def _vectors_to_block(path: str, vectors: Any, dimension: int, start: int) -> Array:
    import numpy

    if vectors.null_count or not _all_of(vectors, dimension) or vectors.flatten().null_count:
        return _rows_to_block(path, vectors.to_pylist(), dimension, start)
    flat = vectors.flatten().to_numpy(zero_copy_only=False)
    if flat.dtype.kind not in "fiu":
        raise DataError(f"{path}: row {start} has a vector that is not of numbers.")
    return flat.astype(numpy.float32, copy=not flat.flags.writeable).reshape(len(vectors), dimension)


def _all_of(vectors: Any, dimension: int) -> bool:
    """Whether all lists of a column have so many elements."""
    import pyarrow.compute

    lengths = pyarrow.compute.min_max(pyarrow.compute.list_value_length(vectors))
    return lengths["min"].as_py() == lengths["max"].as_py() == dimension


def _parquet_columns(path: str, names: list[str]) -> Iterator[dict[str, Any]]:
    with Path(path).open("rb") as file, explained_damage(path, lambda: 0):
        for batch in parquet_batches(file, _ROWS_READ, names):
            yield from batch.to_pylist() if names else [{}] * batch.num_rows


def _open_rows(path: str, column: str) -> VectorFile | None:
    """Open a file of lines: a column of lists, or the columns d0, d1, … that `llmkit embed` writes into CSV."""
    rows = [row for row in islice(read_file(path), _ROWS_READ) if isinstance(row, Record)]
    if not rows:
        return None
    # Rows that have no vector may come first.
    first = next((row for row in rows if isinstance(row.values.get(column), list)), rows[0])
    if isinstance(first.values.get(column), list):
        if first.values[column] and isinstance(first.values[column][0], list):
            raise DataError(f"{path} holds the vectors of tokens or words; search takes one vector a text.")
        numbers, dimension = [column], len(first.values[column])
    else:
        numbers = [name for name in first.values if _NUMBER_COLUMN.fullmatch(name)]
        dimension = len(numbers)
        if not numbers or "d0" not in numbers:
            return None
    return VectorFile(
        path,
        dimension,
        lambda: _row_vectors(path, column, numbers),
        columns=lambda: _row_columns(path, set(numbers)),
    )


def _row_vectors(path: str, column: str, numbers: list[str]) -> Iterator[Array]:
    rows: list[Any] = []
    dimension = len(numbers) if numbers != [column] else None
    start = 0
    for row in read_file(path):
        values = row.values if isinstance(row, Record) else {}
        if numbers == [column]:
            rows.append(values.get(column))
            dimension = dimension or (len(rows[-1]) if isinstance(rows[-1], list) else None)
        else:
            rows.append([_number(values.get(name)) for name in numbers])
        if len(rows) >= _ROWS_READ and dimension:
            yield _rows_to_block(path, rows, dimension, start)
            start, rows = start + len(rows), []
    if rows:
        yield _rows_to_block(path, rows, dimension or 1, start)


def _number(value: Any) -> Any:
    """Return a cell, and of an empty one what is not a number."""
    return "nan" if value is None or value == "" else value


def _row_columns(path: str, numbers: set[str]) -> Iterator[dict[str, Any]]:
    for row in read_file(path):
        values = {} if isinstance(row, BadRecord) else row.values
        yield {name: value for name, value in values.items() if name not in numbers}


def _rows_to_block(path: str, rows: list[Any], dimension: int, start: int) -> Array:
    """Return lists of numbers as an array; a row without one is NaN.

    Raises:
        DataError: a row has more or fewer numbers, or something else.
    """
    import numpy

    block = numpy.full((len(rows), dimension), numpy.nan, numpy.float32)
    for number, row in enumerate(rows):
        if row is None:
            continue
        try:
            values = numpy.asarray(row, dtype=numpy.float32)
        except (ValueError, TypeError, OverflowError):
            raise DataError(f"{path}: row {start + number} has a vector that is not of numbers.") from None
        if values.shape != (dimension,):
            raise DataError(
                f"{path}: row {start + number} has a vector of {values.size:,} numbers, the first of {dimension:,}."
            )
        block[number] = values
    return block


_OPENERS: dict[str, Callable[[str, str], VectorFile | None]] = {
    ".npy": _open_npy,
    ".safetensors": _open_safetensors,
    ".parquet": _open_parquet,
    ".jsonl": _open_rows,
    ".ndjson": _open_rows,
    ".json": _open_rows,
    ".csv": _open_rows,
    ".tsv": _open_rows,
}
