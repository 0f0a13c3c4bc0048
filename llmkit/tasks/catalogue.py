"""Every task there is here: our table joined with what the installed transformers offers; and how a name finds one.

Nothing here imports torch or transformers: ``llmkit tasks``, help, completion and usage errors read it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from llmkit.errors import unknown
from llmkit.plugins import Table
from llmkit.tasks.table import AUDIO, IMAGE, ROWS, T5_BASE, TEXT, VIDEO
from llmkit.tasks.task import Batching, Field, Kind, Long, Shape, Task
from llmkit.tasks.upstream import upstream_aliases, upstream_tasks

__all__ = [
    "Batching",
    "Field",
    "Kind",
    "Long",
    "Shape",
    "Task",
    "TaskCall",
    "find_task",
    "task_names",
    "tasks",
]

_FIELD_BY_MODALITY = {"image": IMAGE, "audio": AUDIO, "video": VIDEO}
_TRANSLATION = re.compile(r"translation_([^_]+)_to_([^_]+)")
TRANSLATION_DEFAULTS = {("en", "fr"): T5_BASE, ("en", "de"): T5_BASE, ("en", "ro"): T5_BASE}


@functools.cache
def tasks() -> Mapping[str, Task]:
    """Return every task there is here, by name in alphabetical order, and then those of other packages.

    llmkit's own rows, joined with what the installed transformers offers: a task that it adds appears
    with a row made from its own table, and one that it does not have yet does not appear.
    """
    upstream = upstream_tasks()
    aliases: dict[str, list[str]] = {}
    for alias, target in upstream_aliases().items():
        aliases.setdefault(target, []).append(alias)
    table = {row.name: row for row in ROWS if row.provider == "llmkit"}
    known = {row.name: row for row in ROWS}
    for name, found in upstream.items():
        if name in table:  # ours: image-to-text would be redirected to a pipeline that drops the image
            continue
        field = _FIELD_BY_MODALITY.get(found.modality, TEXT)
        row = known.get(name) or Task(
            name,
            f"See transformers' documentation of {name}",
            found.modality,
            (field,),
            f"llmkit pipeline {name} INPUT",
        )
        table[name] = replace(
            row,
            impl=found.impl,
            heads=found.heads,
            default_model=found.default_model,
            aliases=tuple(aliases.get(name, ())),
        )
    return Table("llmkit.tasks", dict(sorted(table.items())), Task)


@dataclass(frozen=True, slots=True)
class TaskCall:
    """A task as the user named it: ``translation_en_to_fr`` is `translation` with two languages."""

    task: Task
    name: str
    source_language: str | None = None
    target_language: str | None = None

    @property
    def default_model(self) -> tuple[str, str | None] | None:
        """Return the model for this call, or None when there is none for this pair of languages."""
        if self.task.name != "translation":
            return self.task.default_model
        return TRANSLATION_DEFAULTS.get((self.source_language or "", self.target_language or ""))


def find_task(name: str) -> TaskCall:
    """Return the task that `name`, an alias or a translation pair stands for.

    Raises:
        UsageError: no such task; the message has the nearest name.
    """
    table = tasks()
    if name in table:
        return TaskCall(table[name], name)
    if (pair := _TRANSLATION.fullmatch(name)) and pair[1] != "XX":
        return TaskCall(table["translation"], name, pair[1], pair[2])
    for task in table.values():
        if name in task.aliases:
            return TaskCall(task, task.name)
    raise unknown("task", name, task_names(), near=_by_initials(name), hint="`llmkit tasks` lists them all.")


def _by_initials(name: str) -> str | None:
    """Return ``did you mean X?`` for what is called by its initials elsewhere: qa, tts, asr."""
    known = [
        each
        for each in task_names()
        if "-" in each and name.lower() == "".join(word[0] for word in each.split("-"))
    ]
    return f"did you mean {' or '.join(known)}?" if known else None


def task_names() -> list[str]:
    """Return every name a task can be called by: names and aliases."""
    return sorted({*tasks(), *(alias for task in tasks().values() for alias in task.aliases)})
