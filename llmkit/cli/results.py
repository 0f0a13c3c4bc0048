"""How results look: Rich tables on a terminal, JSON Lines elsewhere."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.channels import ResultStream, claim_stdout
from llmkit.cli.drawing import rendered
from llmkit.cli.printable import shortened, without_commands
from llmkit.data.formats import FORMATS, TABLE, Format, check_format, chosen_format
from llmkit.data.sinks import FileSink, StreamSink, refuse_existing

if TYPE_CHECKING:
    from rich.table import Table

_MAX_CELL = 400
_MAX_INLINE = 16


def format_for(results: ResultStream, name: str | None) -> str:
    """Return the format to write: the one named, else a table for a person and JSON Lines for a program."""
    if name is not None:
        return check_format(name)
    return TABLE if results.is_terminal else "jsonl"


def write_rows(
    results: ResultStream,
    rows: Sequence[Mapping[str, Any]],
    name: str | None,
    *,
    title: str,
    single: bool = False,
    table_rows: Sequence[Mapping[str, Any]] | None = None,
    output: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a small list of objects that is complete: what `llmkit tasks` shows.

    Args:
        single: there is one object by the nature of the call; JSON gives it bare.
        table_rows: what the table shows of the rows, where that is not all.
        output: a file to write instead, as `rows_writer` checked it.

    Raises:
        OutputExistsError: the file is there already.
        OutputError: it cannot be written.
    """
    if output is not None:
        _write_file(Path(output), rows, FORMATS[name or "jsonl"], single=single, overwrite=overwrite)
        return
    chosen = format_for(results, name)
    if chosen == TABLE:
        table = fields_table(rows[0], title) if single else _rows_table(table_rows or rows, whole_first=True)
        results.file.write(rendered(table, results))
        results.file.flush()
        return
    sink = StreamSink(results.file, FORMATS[chosen].make(single))
    for index, row in enumerate(rows):
        sink.write(dict(row), index)
    sink.close(finished=True)


def rows_writer(name: str | None, output: str | None, *, overwrite: bool) -> Callable[..., None]:
    """Return `write_rows` for a file or standard output, which is claimed; what is wrong is said before the work.

    Raises:
        UsageError: no such format, or it is none of where the rows go.
        OutputExistsError: the file is there already.
    """
    chosen = chosen_format(name, output)
    if output is not None:
        refuse_existing(Path(output), overwrite=overwrite)
    return functools.partial(write_rows, claim_stdout(), name=chosen, output=output, overwrite=overwrite)


def _write_file(
    path: Path, rows: Sequence[Mapping[str, Any]], format_: Format, *, single: bool, overwrite: bool
) -> None:
    bare = replace(format_, make=lambda _: format_.make(single))
    sink = FileSink(path, bare, call={}, overwrite=overwrite, has_resume=False)
    for index, row in enumerate(rows):
        sink.write(dict(row), index)
    sink.close(finished=True)


def _result_table(value: Any) -> Any:
    """Return something Rich can draw for one result of any task."""
    if isinstance(value, Mapping) and isinstance(value.get("messages"), list):
        return _rows_table(value["messages"])
    if isinstance(value, Mapping):
        return _rows_table([value])
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return _rows_table(value)
    return _cell(value)


def _rows_table(rows: Sequence[Mapping[str, Any]], *, whole_first: bool = False) -> Table:
    """Return a table with a column a key; `whole_first` never breaks the first column."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        numbers = all(isinstance(row.get(column), int | float) for row in rows)
        whole = whole_first and column == columns[0]
        table.add_column(
            Text(str(column)), justify="right" if numbers else "left", overflow="fold", no_wrap=whole
        )
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))
    return table


def fields_table(row: Mapping[str, Any], title: str) -> Table:
    """Return a table of one object, a line a key, for a terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, show_header=False, pad_edge=False, title_justify="left")
    table.add_column()
    table.add_column(overflow="fold")
    for key, text in fields(row):
        table.add_row(key, Text(text))
    return table


def fields(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the keys of an object, and its values for a person."""
    return tuple((key, _cell(value)) for key, value in row.items())


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, str):
        text = value
    elif isinstance(value, list) and _is_short(value):
        text = ", ".join(_cell(each) for each in value)
    elif shape := _shape(value):
        text = f"shape {tuple(shape)}: {_first_numbers(value)}"
    elif isinstance(value, Mapping):
        text = ", ".join(f"{key} {_cell(each)}" for key, each in value.items())
    else:
        text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_CELL else f"{text[: _MAX_CELL - 1]}…"


def _is_short(values: list[Any]) -> bool:
    return len(values) <= _MAX_INLINE and all(isinstance(each, str | int | float) for each in values)


def _shape(value: Any) -> list[int]:
    """Return the shape of nested lists of numbers, [] for anything else."""
    shape = []
    vector: list[Any] = []
    while isinstance(value, list) and value:
        shape.append(len(value))
        vector, value = value, value[0]
    are_numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in vector)
    return shape if are_numbers else []


def _first_numbers(value: Any) -> str:
    while isinstance(value[0], list):
        value = value[0]
    shown = ", ".join(f"{number:.4f}" for number in value[:4])
    return f"[{shown}{', …' if len(value) > 4 else ''}]"


class TableSink:
    """Draws each window of results on the terminal: objects as rows of one table, anything else one by one."""

    def __init__(self, results: ResultStream) -> None:
        self._results = results
        self._waiting: list[tuple[str, Any]] = []

    def write(self, value: Any, index: int, label: str = "") -> None:
        self._waiting.append((label, value))

    def reject(self, row: dict[str, Any]) -> None:
        pass

    def commit(self, rows_done: int) -> None:
        # Taken away first: an interruption while they are drawn draws them no second time.
        waiting, self._waiting = self._waiting, []
        for drawing in _drawings(waiting):
            self._results.file.write(rendered(drawing, self._results))
        self._results.file.flush()

    def close(self, *, finished: bool) -> None:
        self.commit(0)


def _drawings(waiting: Sequence[tuple[str, Any]]) -> list[Any]:
    several = len(waiting) > 1
    if several and all(_fits_a_row(value) for _, value in waiting):
        return [_rows_table([_as_row(label, value) for label, value in waiting])]
    drawings = []
    for label, value in waiting:
        drawings += [f"\n{shortened(label, 48)}"] if several and label else []
        drawings.append(_result_table(value))
    return drawings


def _fits_a_row(value: Any) -> bool:
    """Tell whether a result is one row of a table: an object, or a few numbers."""
    if isinstance(value, Mapping):
        return "messages" not in value
    return isinstance(value, list) and bool(value) and _is_short(value)


def _as_row(label: str, value: Any) -> dict[str, Any]:
    row = dict(value) if isinstance(value, Mapping) else {"result": value}
    return row if label in row.values() else {"input": shortened(label, 48), **row}


class StreamedSink:
    """For text that was shown as it came: nothing is left to draw but the end of the line."""

    def __init__(self, results: ResultStream) -> None:
        self._results = results

    def show(self, text: str) -> None:
        """Show a part of the text at once."""
        self._results.file.write(without_commands(text).encode(errors="replace"))
        self._results.file.flush()

    def write(self, value: Any, index: int, label: str = "") -> None:
        self.show("\n")

    def reject(self, row: dict[str, Any]) -> None:
        pass

    def commit(self, rows_done: int) -> None:
        pass

    def close(self, *, finished: bool) -> None:
        pass
