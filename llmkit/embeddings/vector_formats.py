"""Files of vectors: .npy, .safetensors and .parquet, each written row by row and whole at the end.

.npy and .safetensors of one vector a row are written in place: a header of fixed size first, the rows as they
come, and at the end the number of rows into the header. So they are never in memory, and a run that was killed
goes on where it was. A row that was rejected is a row of NaN there, so that rows keep their numbers.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from llmkit.data.formats import Format
from llmkit.data.formatter import Formatter
from llmkit.data.packed_rows import PackedFormatter, read_packed
from llmkit.data.parquet_writing import write_parquet
from llmkit.errors import UsageError

if TYPE_CHECKING:
    import numpy

VECTORS = "embedding"
TENSOR = "embeddings"
BARE_FORMATS = ("npy", "safetensors")
"""What holds vectors alone: no text, no column of the input."""
_NPY_HEADER = 128
_SAFETENSORS_HEADER = 4096  # or a multiple of it, where what is said of the vectors is long
_TENSOR_ENTRY = 256  # bytes that the entry of the one tensor needs at most


class DenseFormatter(Formatter):
    """Writes vectors of float32 after room for a header: one a row, or those of all tokens of a single text."""

    def __init__(self, header: int, *, by_unit: bool) -> None:
        super().__init__()
        self._header = header
        self._by_unit = by_unit
        # Owed are rows that were rejected before a vector has said how long they are.
        self.state |= {"rows": 0, "dimension": None, "owed": 0}

    def begin(self) -> bytes:
        return b"\0" * self._header

    def encode(self, value: numpy.ndarray[Any, Any], index: int) -> bytes:
        if self._by_unit and self.state["rows"]:
            raise UsageError(
                "a .npy file holds one array: the tokens or words of one text.",
                hint="Several texts go into .parquet, .safetensors, .jsonl or .csv.",
            )
        self.state["dimension"] = value.shape[-1]
        owed, self.state["owed"] = self.state["owed"], 0
        head = b"".join(self.missing() for _ in range(owed))
        self.state["rows"] += value.shape[0] if self._by_unit else 1
        return head + value.tobytes()

    def missing(self) -> bytes:
        import numpy

        if self._by_unit:
            return b""
        if self.state["dimension"] is None:
            self.state["owed"] += 1
            return b""
        self.state["rows"] += 1
        return numpy.full(self.state["dimension"], numpy.nan, numpy.float32).tobytes()


def vector_formats(metadata: dict[str, str], *, by_unit: bool) -> dict[str, Format]:
    """Return the formats of files of vectors, by name.

    Args:
        metadata: what a safetensors or parquet file says of its vectors.
        by_unit: a row has a vector for each token or word, not one.
    """
    header = _safetensors_header(metadata)
    formats = (
        Format(
            "npy",
            (".npy",),
            lambda bare: DenseFormatter(_NPY_HEADER, by_unit=by_unit),
            seal=_seal_npy,
            in_stream=False,
        ),
        Format(
            "safetensors",
            (".safetensors",),
            lambda bare: DenseFormatter(header, by_unit=by_unit),
            functools.partial(_packed_to_safetensors, metadata=metadata) if by_unit else None,
            PackedFormatter,
            seal=None if by_unit else functools.partial(_seal_safetensors, metadata=metadata),
            in_stream=False,
        ),
        Format(
            "parquet",
            (".parquet",),
            lambda bare: PackedFormatter(),
            functools.partial(_packed_to_parquet, by_unit=by_unit, metadata=metadata),
            PackedFormatter,
            in_stream=False,
        ),
    )
    return {each.name: each for each in formats}


def _seal_npy(file: BinaryIO, state: dict[str, Any]) -> None:
    """Write the header of NumPy's format, version 1.0, into the room for it."""
    shape = f"({state['rows']}, {state['dimension'] or 0})"
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    magic = b"\x93NUMPY\x01\x00" + (_NPY_HEADER - 10).to_bytes(2, "little")
    file.seek(0)
    file.write(magic + text.ljust(_NPY_HEADER - 11) + b"\n")


def _safetensors_header(metadata: dict[str, str]) -> int:
    """Return how many bytes a header with this metadata has room for."""
    needed = 8 + len(json.dumps(metadata)) + _TENSOR_ENTRY
    return -(-needed // _SAFETENSORS_HEADER) * _SAFETENSORS_HEADER


def _seal_safetensors(file: BinaryIO, state: dict[str, Any], metadata: dict[str, str]) -> None:
    shape = [state["rows"], state["dimension"] or 0]
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * shape[0] * shape[1]]}
    text = json.dumps({"__metadata__": metadata, TENSOR: tensor}).encode()
    file.seek(0)
    size = _safetensors_header(metadata) - 8
    file.write(size.to_bytes(8, "little") + text.ljust(size))


def _packed_to_safetensors(packed: Path, target: Path, metadata: dict[str, str]) -> None:
    """Write a tensor a text, ``embeddings.N`` by its row's number, and where its tokens stand, ``offsets.N``."""
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for index, columns, array in read_packed(packed):
        offsets = _offsets(columns)
        units = len(offsets)
        for name, dtype, shape, size in (
            (f"{TENSOR}.{index}", "F32", [units, array.size // max(units, 1)], array.nbytes),
            (f"offsets.{index}", "I32", [units, 2], offsets.nbytes),
        ):
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
            end += size
    text = json.dumps(header).encode()
    text = text.ljust(-len(text) % 8 + len(text))
    with target.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, columns, array in read_packed(packed):
            file.write(array.tobytes() + _offsets(columns).tobytes())


def _offsets(columns: dict[str, Any]) -> numpy.ndarray[Any, Any]:
    """Return where a text's tokens stand, (units, 2)."""
    import numpy

    return numpy.asarray(columns["offsets"], dtype=numpy.int32).reshape(-1, 2)


def _packed_to_parquet(packed: Path, target: Path, by_unit: bool, metadata: dict[str, str]) -> None:
    """Write a row a text; its vector is a list of fixed size, or a list of those for tokens and words."""
    import pyarrow

    first = next(iter(read_packed(packed)), None)
    if first is None:
        return write_parquet(list, target)
    _, columns, array = first
    dimension = array.size // (len(columns["offsets"]) if by_unit else 1)
    vector = pyarrow.list_(pyarrow.float32(), dimension)

    def rows() -> Iterator[dict[str, Any]]:
        for _, columns, array in read_packed(packed):
            yield {**columns, VECTORS: list(array.reshape(-1, dimension)) if by_unit else array}

    return write_parquet(rows, target, {VECTORS: pyarrow.list_(vector) if by_unit else vector}, metadata)
