"""``llmkit tasks``: the tasks there are, or one of them explained."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout
from llmkit.cli.results import write_rows
from llmkit.models.embedded import EMBEDDED_NAME, MEASURED, embedded_adapter, has_embedded_adapter
from llmkit.tasks.catalogue import Task, find_task, task_names, tasks
from llmkit.tasks.parameters import parameters_of

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog="Examples:  llmkit tasks   |   llmkit tasks question-answering   |   llmkit tasks --format json"
)
def list_tasks(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK", help="Explain this task.", show_default=False, autocompletion=lambda: task_names()
        ),
    ] = None,
    format: options.OutputFormat = None,  # noqa: A002
    debug: options.Debug = False,
) -> None:
    """List the tasks with what they take, their default model and who provides them, or explain one."""
    results = claim_stdout()
    if name is None:
        rows = [describe(task) for task in tasks().values()]
        shown = [_for_a_person(row) for row in rows]
        write_rows(results, rows, format, title="Tasks", table_rows=shown)
        return
    call = find_task(name)
    explained = describe(call.task) | {
        "embedded_quality": _quality(call.task),
        "summary": call.task.summary,
        "parameters": list(parameters_of(call.task).own),
        "example": call.task.example,
    }
    write_rows(results, [explained], format, title=call.task.name, single=True)


def describe(task: Task) -> dict[str, Any]:
    """Return a task as the list shows it."""
    return {
        "task": task.name,
        "aliases": list(task.aliases),
        "modality": task.modality,
        "inputs": [each.name if each.required else f"[{each.name}]" for each in task.fields],
        "default_model": task.default_model[0] if task.default_model else None,
        "revision": task.default_model[1] if task.default_model else None,
        "provider": task.provider,
        "embedded": embedded_model(task),
    }


def _quality(task: Task) -> str | None:
    if task.embedded and embedded_model(task):
        return embedded_adapter(task.embedded).quality
    return MEASURED.get(task.name)


def embedded_model(task: Task) -> str | None:
    """Return the embedded model that stands in for a task's default, where there is one in this release."""
    if task.embedded is None or (task.embedded and not has_embedded_adapter(task.embedded)):
        return None
    return f"{EMBEDDED_NAME}:{task.embedded}" if task.embedded else EMBEDDED_NAME


def _for_a_person(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row narrow enough for a terminal: JSON has the rest."""
    return {
        "task": "\n  or ".join([row["task"], *row["aliases"]]),
        "modality": row["modality"],
        "inputs": ", ".join(row["inputs"]),
        "default model": row["default_model"] or "",
        "embedded": row["embedded"] or "",
        "by": row["provider"],
    }
