"""From the columns of a record to what a pipeline is called with."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.errors import DataError
from llmkit.tasks.catalogue import Field, Kind, Shape, Task

Values = Mapping[str, Any]


class FieldValues(dict[str, Any]):
    """The values of a task's fields.

    Attributes:
        columns: field -> what the input calls it, where that is another name.
    """

    def __init__(self, values: Values | None = None, columns: Mapping[str, str] | None = None) -> None:
        super().__init__(values or {})
        self.columns = dict(columns or {})


class RowError(DataError):
    """One row cannot be used; the others can."""


@dataclass(frozen=True, slots=True)
class TaskInput:
    """One call's worth of input.

    Attributes:
        value: what the pipeline gets for this row.
        parameters: what goes into the call beside it (the candidate labels of a zero-shot task).
        texts: the texts in it, by which its length is measured.
    """

    value: Any
    parameters: dict[str, Any]
    texts: tuple[str, ...]


def compose(task: Task, values: Values) -> TaskInput:
    """Make the pipeline's input for one row.

    Args:
        values: field name -> value, media already loaded; errors name a field as its input does.

    Raises:
        RowError: a required field is missing or empty.
    """
    if task.shape is Shape.CHAT:
        return _compose_chat(task, values)
    given = {field.name: _checked(field, values) for field in task.fields if _is_given(field, values)}
    parameters = {field.name: given.pop(field.name) for field in task.fields if field.parameter}
    if "messages" in given:  # a chat where a text would do: text-generation
        return TaskInput(given["messages"], parameters, ())
    return TaskInput(_SHAPES[task.shape](given), parameters, _texts(task, given))


def _is_given(field: Field, values: Values) -> bool:
    if field.required and not (field.name == "text" and values.get("messages")):
        return True
    value = values.get(field.name)
    return value is not None and not (isinstance(value, str) and not value)


def _checked(field: Field, values: Values) -> Any:
    name = values.columns.get(field.name, field.name) if isinstance(values, FieldValues) else field.name
    value = values.get(field.name)
    if value is None:
        raise RowError(f"no value for '{name}'")
    if field.kind is Kind.TEXT:
        return [_text(name, each) for each in _as_list(name, value)] if field.many else _text(name, value)
    if field.kind is Kind.CHAT:
        return chat_messages(value)
    if field.kind is Kind.JSON:
        return _json(field, name, value)
    return value


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool | list | dict | bytes):
        raise RowError(f"'{name}' should be a text, not {type(value).__name__}")
    text = value if isinstance(value, str) else str(value)
    if not text.strip():
        raise RowError(f"'{name}' is empty")
    return text


def _as_list(name: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return list(parse_json(value))
            except ValueError:
                pass
        if parts := [part.strip() for part in value.split(",") if part.strip()]:
            return parts
        raise RowError(f"'{name}' is empty")
    if isinstance(value, list | tuple) and value:
        return list(value)
    raise RowError(f"'{name}' should be a list, or a text with commas")


def _json(field: Field, name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        if field.name in {"state"}:  # a plain text is a state too
            return value
        raise RowError(f"'{name}' is not valid JSON") from None


def chat_messages(value: Any) -> list[dict[str, Any]]:
    """Return chat messages from a text (one user message), JSON text, a list of messages, or ``{"messages": …}``.

    Raises:
        RowError: a message without role or content.
    """
    if isinstance(value, str) and value.lstrip()[:1] in "[{":
        with contextlib.suppress(ValueError):
            value = parse_json(value)
    if isinstance(value, str):
        if not value.strip():
            raise RowError("the message is empty")
        return [{"role": "user", "content": value}]
    if isinstance(value, Mapping):
        value = value.get("messages", [value])
    if not isinstance(value, list) or not value:
        raise RowError('\'messages\' should be a list of {"role": …, "content": …}')
    for number, message in enumerate(value, start=1):
        if not isinstance(message, Mapping) or "role" not in message or "content" not in message:
            raise RowError(f"message {number} needs 'role' and 'content'")
        if not isinstance(message["role"], str) or not isinstance(message["content"], str | list | None):
            raise RowError(f"message {number}: its role is a text, and its content a text or a list of parts")
    return [dict(message) for message in value]


def _compose_chat(task: Task, values: Values) -> TaskInput:
    messages = values.get("messages")
    if messages is not None:
        return TaskInput(chat_messages(messages), {}, ())
    if any(field.name == "messages" and field.required for field in task.fields):
        raise RowError("no value for 'messages'")
    text_field = next(field for field in task.fields if field.name == "text")
    content = [
        {"type": field.kind.value, field.kind.value: values[field.name]}
        for field in task.fields
        if field.kind in (Kind.IMAGE, Kind.AUDIO, Kind.VIDEO) and values.get(field.name) is not None
    ]
    text = _checked(text_field, values)
    return TaskInput([{"role": "user", "content": [*content, {"type": "text", "text": text}]}], {}, (text,))


def _single_value(given: dict[str, Any]) -> Any:
    return given if len(given) > 1 else next(iter(given.values()))


_SHAPES: dict[Shape, Callable[[dict[str, Any]], Any]] = {
    Shape.VALUE: _single_value,
    Shape.MAPPING: dict,
    Shape.PAIR: lambda given: list(given.values()),
}


def _texts(task: Task, given: dict[str, Any]) -> tuple[str, ...]:
    names = [field.name for field in task.fields if field.kind is Kind.TEXT and field.name in given]
    flat = [given[name] if isinstance(given[name], list) else [given[name]] for name in names]
    return tuple(text for texts in flat for text in texts)
