"""``llmkit tasks``: the tasks there are, or one of them explained."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typing_extensions import TypedDict

from llmkit.cli import options
from llmkit.cli.channels import set_quiet
from llmkit.cli.completion import complete_task
from llmkit.cli.examples import examples
from llmkit.cli.results import rows_writer
from llmkit.models.embedded import EMBEDDED_NAME, embedded_adapter, embedded_names, measured
from llmkit.tasks.catalogue import Task, find_task, tasks
from llmkit.tasks.parameters import parameters_of

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Listed(TypedDict):
    """A task; inputs in brackets need not be given."""

    task: str
    aliases: list[str]
    modality: str
    inputs: list[str]
    default_model: str | None
    revision: str | None
    provider: str
    embedded: str | None


class Explained(Listed):
    """A task explained: what is known of its embedded model, the parameters of its call, an example."""

    embedded_quality: str | None
    summary: str
    parameters: list[str]
    example: str


TASK = Listed | Explained


@app.command(
    epilog=examples(
        "llmkit tasks",
        "llmkit tasks question-answering",
        "llmkit tasks --format json",
    )
)
def list_tasks(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK", help="Explain this task.", show_default=False, autocompletion=complete_task
        ),
    ] = None,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List the tasks with what they take, their default model and who provides them, or explain one."""
    set_quiet(quiet)
    write = rows_writer(format, output, overwrite=overwrite)
    if name is None:
        rows = [describe(task) for task in tasks().values()]
        shown = [_for_a_person(row) for row in rows]
        write(rows, title="Tasks", table_rows=shown)
        return
    call = find_task(name)
    explained = describe(call.task) | {
        "embedded_quality": _quality(call.task),
        "summary": call.task.summary,
        "parameters": list(parameters_of(call.task).own),
        "example": call.task.example,
    }
    write([explained], title=call.task.name, single=True)


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
    return measured(task.name)


def embedded_model(task: Task) -> str | None:
    """Return the embedded model that stands in for a task's default, where there is one in this release."""
    if task.embedded is None or (task.embedded and task.embedded not in embedded_names()):
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
