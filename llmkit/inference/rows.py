"""From what a person gives (arguments, columns, options) to the fields of a task."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.data.records import TEXT_COLUMN, BadRecord, Record, Row, columns_of, missing_column
from llmkit.errors import DataError, UsageError, did_you_mean
from llmkit.tasks.catalogue import Field, Kind, Task
from llmkit.tasks.inputs import FieldValues, RowError

ARGUMENT = "argument"
MEDIA = (Kind.IMAGE, Kind.AUDIO, Kind.VIDEO)

_OPTION_OF_FIELD = {
    "candidate_labels": "--labels a,b,c",
    "context": "--context or --context-file",
    "image": "--image",
    "query": "--question",
    "question": "--question",
    "table": "--table FILE.csv",
}

MappedRow = tuple[Row, FieldValues | Exception]
"""A row with the values of the task's fields, or with the error that left it none."""


def open_fields(task: Task, constants: Mapping[str, Any]) -> list[Field]:
    """Return the required fields that no option has given."""
    return [field for field in task.required_fields if field.name not in constants]


def argument_rows(task: Task, arguments: Sequence[str], constants: Mapping[str, Any]) -> Iterator[Row]:
    """Make rows of the command line's arguments: one each, or as many to a row as the task has fields.

    Raises:
        UsageError: their number does not fit the task.
    """
    takes_media_beside_text = any(each.kind in MEDIA and not each.required for each in task.fields)
    if takes_media_beside_text and any(map(_is_file, arguments)):
        yield from _media_rows(task, arguments)
        return
    fields = [field for field in open_fields(task, constants) if not field.parameter]
    if (len(fields) == 1 and not fields[0].many) or (
        len(arguments) == 1 and arguments[0].lstrip().startswith("{")
    ):
        yield from _single_rows(arguments)
    elif fields and fields[-1].many:
        yield _many_row(task, fields, arguments)
    else:
        yield from _grouped_rows(task, fields, arguments)


def _single_rows(arguments: Sequence[str]) -> Iterator[Row]:
    for number, argument in enumerate(arguments, start=1):
        yield _checked_row({TEXT_COLUMN: argument}, number)


def _is_file(argument: str) -> bool:
    try:
        return Path(argument).is_file()
    except OSError:  # a text, too long for a name
        return False


def _media_rows(task: Task, arguments: Sequence[str]) -> Iterator[Row]:
    """Make a row of each text, with the files among the arguments beside it."""
    files = [argument for argument in arguments if _is_file(argument)]
    texts = [argument for argument in arguments if argument not in files]
    if not texts:
        raise UsageError(f"{task.name} needs a text beside {files[0]}.", hint=f"For example: {task.example}")
    media: dict[str, str] = {}
    for path in files:
        kind = (mimetypes.guess_type(path)[0] or "").partition("/")[0]
        name = next((each.name for each in task.fields if each.kind.value == kind), None)
        if name is None or name in media:
            raise UsageError(f"{task.name} has no place for {path}.", hint=f"For example: {task.example}")
        media[name] = path
    for number, text in enumerate(texts, start=1):
        yield _checked_row({"text": text, **media}, number)


def _checked_row(values: dict[str, Any], number: int) -> Row:
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BadRecord(ARGUMENT, number, "the argument is not UTF-8")
    return Record(values, ARGUMENT, number)


def _many_row(task: Task, fields: Sequence[Field], arguments: Sequence[str]) -> Row:
    single = fields[:-1]
    if len(arguments) <= len(single):
        wanted = ", ".join(field.name for field in single)
        raise UsageError(
            f"{task.name} takes {wanted} and then one or more {fields[-1].name}; there are {len(arguments)} arguments.",
            hint=f"For example: {task.example}",
        )
    values = {field.name: text for field, text in zip(single, arguments, strict=False)}
    return _checked_row({**values, fields[-1].name: list(arguments[len(single) :])}, 1)


def _grouped_rows(task: Task, fields: Sequence[Field], arguments: Sequence[str]) -> Iterator[Row]:
    names = [field.name for field in fields]
    if not names:
        raise UsageError(
            f"the options give all that {task.name} takes; the argument {arguments[0]!r} has no place."
        )
    if len(arguments) % len(names):
        raise UsageError(
            f"{task.name} takes {len(names)} arguments ({', '.join(names)}); there are {len(arguments)}.",
            hint=f"For example: {task.example}",
        )
    for start in range(0, len(arguments), len(names)):
        group = arguments[start : start + len(names)]
        yield _checked_row(dict(zip(names, group, strict=True)), start // len(names) + 1)


@dataclass
class RowMapper:
    """Finds a task's fields in the columns of each row.

    Attributes:
        constants: values that options gave, the same for every row.
        column: the column that holds the (first) field no option gave: ``--column``.
        mapping: field -> column: ``--map``.
    """

    task: Task
    constants: Mapping[str, Any] = field(default_factory=dict)
    column: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    _sole: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [each.name for each in self.task.fields]
        for name in self.mapping:
            if name not in names:
                guess = did_you_mean(name, names)
                raise UsageError(
                    f"--map {name}=…: {self.task.name} has no such field" + (f"; {guess}" if guess else "."),
                    hint=f"Its fields are: {', '.join(names)}.",
                )

    def values(self, record: Record) -> FieldValues:
        """Return field name -> value.

        Raises:
            DataError: a column that is needed is not there.
            RowError: a bare text that should have been an object.
        """
        record = self._expanded(record)
        values = FieldValues(self.constants)
        for each in self.task.fields:
            if each.name in values:
                continue
            column = self._column_of(each, record)
            if column is not None:
                values[each.name] = record.values[column]
                if column != each.name and record.source != ARGUMENT:
                    values.columns[each.name] = column
        return values

    def _expanded(self, record: Record) -> Record:
        """A bare text that is a JSON object with the task's own fields stands for a row with those columns."""
        text = record.values.get(TEXT_COLUMN)
        if len(record.values) != 1 or not isinstance(text, str) or not text.lstrip().startswith("{"):
            return record
        try:
            value = parse_json(text)
        except ValueError:
            return record
        names = {each.name for each in self.task.fields}
        if isinstance(value, dict) and names & set(value):
            return Record(value, record.source, record.line)
        return record

    def _column_of(self, wanted: Field, record: Record) -> str | None:
        columns = columns_of(record)
        # A file whose first row has one column has the texts there; another column of a later row is none of it.
        sole = self._sole.setdefault(record.source, columns[0] if len(columns) == 1 else None)
        if wanted.name in self.mapping:
            return self._there(self.mapping[wanted.name], record)
        needed = open_fields(self.task, {**self.constants, **self.mapping})
        is_first = bool(needed) and needed[0].name == wanted.name
        if is_first and self.column is not None:
            return self._there(self.column, record)
        if wanted.name in columns:
            return wanted.name
        if not wanted.required or (wanted.name == "text" and self._has_messages(record)):
            return None
        if is_first and sole is not None:
            return self._there(sole, record)
        raise self._missing(wanted, record)

    def _has_messages(self, record: Record) -> bool:
        return any(each.name == "messages" for each in self.task.fields) and "messages" in record.values

    def _there(self, column: str, record: Record) -> str:
        if column not in record.values:
            raise missing_column(column, record)
        return column

    def _missing(self, wanted: Field, record: Record) -> DataError:
        if wanted.parameter or record.source == ARGUMENT or list(record.values) == [TEXT_COLUMN]:
            option = _OPTION_OF_FIELD.get(wanted.name)
            hint = f"Give it with {option}." if option else f"For example: {self.task.example}"
            return DataError(f"{self.task.name} needs {wanted.name}.", hint=hint)
        error = missing_column(wanted.name, record)
        where = (
            f"--map {wanted.name}=COLUMN"
            if len(open_fields(self.task, self.constants)) > 1
            else "--column NAME"
        )
        return DataError(
            error.message, hint=f"Say where it is: {where}." + (f" ({error.hint})" if error.hint else "")
        )


def mapped(rows: Iterable[Row], mapper: RowMapper) -> Iterator[MappedRow]:
    """Give each row with its fields, or with the error that left it none.

    A column that the first row lacks is the call's fault and raises; one that a later row lacks is the row's.

    Raises:
        DataError: a column that is needed is not in the first row.
    """
    is_first = True
    for row in rows:
        if isinstance(row, BadRecord):
            yield row, RowError(row.reason)
            continue
        try:
            yield row, mapper.values(row)
        except DataError as error:
            if is_first and not isinstance(error, RowError):
                raise
            yield row, error
        is_first = False
