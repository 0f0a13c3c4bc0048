"""``llmkit runs``: the runs of finetune in a folder, as a list or side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typing_extensions import TypedDict

from llmkit.cli import options
from llmkit.cli.answers import Answer, checked_format, deliver
from llmkit.cli.channels import claim_stdout, note, set_quiet
from llmkit.cli.completion import complete_run_name, complete_sort
from llmkit.cli.examples import examples
from llmkit.cli.printable import clock
from llmkit.cli.sheets import Column, Sheet
from llmkit.errors import UsageError

if TYPE_CHECKING:
    from llmkit.training.runs import RunSummary

app = typer.Typer(rich_markup_mode=None, add_completion=False)

# What a list shows of a run, and what comparing shows beside the settings.
_LISTED = (
    "name", "state", "why", "task", "model", "steps", "total_steps", "best_metric", "best", "loss",
    "tokens_per_second", "seconds", "begun",
)  # fmt: skip
_COMPARED = ("state", "steps", "total_steps", "loss", "tokens_per_second", "seconds", "begun")


class Comparison(TypedDict):
    """Runs side by side: of each setting that differs, and of each figure, what each run has."""

    runs: list[str]
    settings: dict[str, dict[str, Any]]
    figures: dict[str, dict[str, Any]]


@app.command(
    epilog=examples(
        "llmkit runs",
        "llmkit runs runs --sort best",
        "llmkit runs runs reviews reviews-2",
    )
)
def runs(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="The folder that holds the runs.")] = "runs",
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME",
            help="Compare these runs of it.",
            show_default=False,
            autocompletion=complete_run_name,
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            help="begun, name, state, best, loss, …, or a figure such as eval_accuracy.",
            autocompletion=complete_sort,
        ),
    ] = "begun",
    format: options.ReportFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List runs with their state and figures, the broken ones with why; or compare some, setting by setting."""
    set_quiet(quiet)
    chosen = checked_format(format, output, overwrite=overwrite)
    results = claim_stdout()
    from llmkit.training.runs import find_runs, sorted_runs

    found = find_runs(Path(folder), tuple(names or ()))
    if names and len(names) == 1:
        raise UsageError(
            "one run is not compared with anything.", hint=f"List it: llmkit runs {folder}/{names[0]}"
        )
    if not found:
        note(f"there are no runs in {folder}.")
    answer = _comparison(found) if names else _list(sorted_runs(found, sort), folder)
    deliver(answer, results, chosen, output, overwrite=overwrite)


def _list(found: list[RunSummary], folder: str) -> Answer:
    return Answer(
        sheets=lambda: [_sheet(found, folder)],
        objects=lambda: [run.as_object() for run in found],
        rows=lambda: [{name: getattr(run, name) for name in _LISTED} for run in found],
    )


def _sheet(found: list[RunSummary], folder: str) -> Sheet:
    columns = (
        Column("run"),
        Column("state"),
        Column("task", gives_way=2),
        Column("model", gives_way=3),
        Column("steps", True),
        Column("best"),
        Column("loss", True, gives_way=4),
        Column("tokens/s", True, gives_way=1),
        Column("time", True, gives_way=5),
        Column("begun", gives_way=1),
    )
    return Sheet(f"Runs in {folder}", columns, tuple(_cells(run) for run in found))


def _cells(run: RunSummary) -> tuple[str, ...]:
    steps = "" if run.steps is None else f"{run.steps:,}"
    return (
        run.name,
        f"{run.state}: {run.why}" if run.why else run.state,
        run.task or "",
        run.model or "",
        f"{steps}/{run.total_steps:,}" if run.total_steps else steps,
        "" if run.best is None else f"{run.best_metric} {run.best:.4f}",
        "" if run.loss is None else f"{run.loss:.4f}",
        "" if run.tokens_per_second is None else f"{run.tokens_per_second:,.0f}",
        "" if run.seconds is None else clock(run.seconds),
        (run.begun or "").removesuffix("+00:00").replace("T", " "),
    )


def _comparison(found: list[RunSummary]) -> Answer:
    from llmkit.training.runs import differing_settings

    names = [run.name for run in found]
    settings = differing_settings(found)
    keys = dict.fromkeys(key for run in found for key in run.figures)
    figures: dict[str, list[Any]] = {name: [getattr(run, name) for run in found] for name in _COMPARED}
    figures |= {key: [run.figures.get(key) for run in found] for key in keys}
    return Answer(
        sheets=lambda: [
            _side_by_side("Settings that differ", "setting", names, settings),
            _side_by_side("Figures", "figure", names, figures),
        ],
        objects=lambda: [
            {
                "runs": names,
                "settings": {key: dict(zip(names, each, strict=True)) for key, each in settings.items()},
                "figures": {key: dict(zip(names, each, strict=True)) for key, each in figures.items()},
            }
        ],
        rows=lambda: [
            {"kind": kind, "name": key, **dict(zip(names, each, strict=True))}
            for kind, table in (("setting", settings), ("figure", figures))
            for key, each in table.items()
        ],
        single=True,
    )


def _side_by_side(title: str, label: str, names: list[str], table: dict[str, list[Any]]) -> Sheet:
    return Sheet(
        title,
        (Column(label), *(Column(name, True) for name in names)),
        tuple((key, *map(_cell, each)) for key, each in table.items()),
        notes=() if table else ("There are none.",),
        is_comparison=True,
    )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
