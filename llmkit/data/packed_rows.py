"""Rows with an array each, packed one after the other: what becomes a file of another format at the end."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.encoding import dump_json
from llmkit.data.formatter import Formatter

if TYPE_CHECKING:
    import numpy

_SIZES = struct.Struct("<II")  # bytes of the columns as JSON, bytes of the array


class PackedFormatter(Formatter):
    """Writes pairs of a row's columns and its array of float32, (…, dimension)."""

    def encode(self, value: tuple[dict[str, Any], numpy.ndarray[Any, Any]], index: int) -> bytes:
        """Return the bytes of one row; all arrays have the same dimension."""
        columns, array = value
        self.state["dimension"] = array.shape[-1]
        text = dump_json({"index": index, "columns": columns}).encode()
        return _SIZES.pack(len(text), array.nbytes) + text + array.tobytes()


def read_packed(path: Path) -> Iterator[tuple[int, dict[str, Any], numpy.ndarray[Any, Any]]]:
    """Go through packed rows: the row's number, its columns and its array, (numbers,)."""
    import numpy

    with path.open("rb") as file:
        while head := file.read(_SIZES.size):
            text, array = _SIZES.unpack(head)
            row = json.loads(file.read(text))
            yield row["index"], row["columns"], numpy.frombuffer(file.read(array), numpy.float32)
