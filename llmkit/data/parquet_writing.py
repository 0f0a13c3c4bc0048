"""From finished rows, such as a file of JSON Lines, to parquet, whatever the rows hold.

A parquet column has one type. What it is, is only known when the last line has been read; so the rows are read
twice. A column whose values have no type in common (numbers and words, an object without keys) is written as
JSON text: after hours of work that is no reason to have no file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.data.encoding import dump_json

if TYPE_CHECKING:
    import pyarrow

_BLOCK_ROWS = 2000
_Row = dict[str, Any]
_Block = list[_Row]


class _NoTypeError(Exception):
    """The values of a column have no type in common."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


def lines_to_parquet(lines: Path, target: Path) -> None:
    """Turn a file of JSON Lines into parquet, a row a result, with bounded memory.

    A result that is not an object becomes the column `result`.
    """
    write_parquet(lambda: _lines(lines), target)


def write_parquet(
    rows: Callable[[], Iterable[_Row]],
    target: Path,
    known: Mapping[str, pyarrow.DataType] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write rows as parquet, with bounded memory.

    A column that is first seen late, or whose type changes on the way, is settled over all rows before anything
    is written.

    Args:
        rows: goes through the rows, and does so anew each time it is called.
        known: types of columns that need not be looked for.
        metadata: what the file says of itself.
    """
    types, as_text = _settled(rows, known or {})
    while True:
        try:
            return _write(rows, target, types, as_text, metadata)
        except _NoTypeError as error:  # a number that the settled type cannot hold
            as_text.add(error.column)


def _lines(lines: Path) -> Iterator[_Row]:
    with lines.open(encoding="utf-8") as file:
        for line in file:
            value = json.loads(line)
            yield value if isinstance(value, dict) else {"result": value}


def _cut(rows: Iterable[_Row]) -> Iterator[_Block]:
    remaining = iter(rows)
    while block := list(islice(remaining, _BLOCK_ROWS)):
        yield block


def _settled(
    rows: Callable[[], Iterable[_Row]], known: Mapping[str, pyarrow.DataType]
) -> tuple[dict[str, pyarrow.DataType], set[str]]:
    """Return the type of each column, and the columns that have none."""
    import pyarrow

    types: dict[str, pyarrow.DataType] = {}
    as_text: set[str] = set()
    for block in _cut(rows()):
        for column in dict.fromkeys(name for row in block for name in row):
            if column in known:
                types[column] = known[column]
                continue
            try:
                found = _array(block, column, None).type
                types[column] = _common(types.get(column, pyarrow.null()), found, column)
            except _NoTypeError:
                types.setdefault(column, pyarrow.null())
                as_text.add(column)
    return types, as_text | {column for column, kind in types.items() if not _can_be_written(kind)}


def _write(
    rows: Callable[[], Iterable[_Row]],
    target: Path,
    types: dict[str, pyarrow.DataType],
    as_text: set[str],
    metadata: Mapping[str, str] | None,
) -> None:
    import pyarrow
    import pyarrow.parquet

    final = {column: pyarrow.string() if column in as_text else kind for column, kind in types.items()}
    schema = pyarrow.schema(list(final.items()), metadata=dict(metadata) if metadata else None)
    with pyarrow.parquet.ParquetWriter(target, schema) as writer:
        for block in _cut(rows()):
            columns = [
                _array(block, column, kind, as_text=column in as_text) for column, kind in final.items()
            ]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))


def _array(
    block: _Block, column: str, kind: pyarrow.DataType | None, *, as_text: bool = False
) -> pyarrow.Array:
    import pyarrow

    values = [row.get(column) for row in block]
    if as_text:
        values = [None if value is None else dump_json(value) for value in values]
    try:
        return pyarrow.array(values, type=kind)
    except (pyarrow.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise _NoTypeError(column) from error


def _common(one: pyarrow.DataType, two: pyarrow.DataType, column: str) -> pyarrow.DataType:
    import pyarrow

    schemas = [pyarrow.schema([(column, kind)]) for kind in (one, two)]
    try:
        return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise _NoTypeError(column) from error


def _can_be_written(kind: pyarrow.DataType) -> bool:
    """Tell whether parquet has the type: it has no object without keys."""
    inner = [kind.field(number).type for number in range(kind.num_fields)]
    return (bool(inner) or not str(kind).startswith("struct")) and all(map(_can_be_written, inner))
