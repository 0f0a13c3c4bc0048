"""Which tasks a server takes: those whose inputs and results are text."""

from __future__ import annotations

from llmkit.errors import UsageError
from llmkit.tasks.catalogue import Kind, Task

_TAKEN_KINDS = (Kind.TEXT, Kind.TABLE, Kind.CHAT, Kind.JSON)


def check_servable(task: Task) -> None:
    """Raise UsageError for a task whose inputs or results are no text."""
    takes_text = all(field.kind in _TAKEN_KINDS for field in task.fields if field.required)
    if not takes_text or task.modality != "text":
        raise UsageError(f"{task.name} is not served: only tasks whose inputs and results are text are.")
