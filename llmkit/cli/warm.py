"""``llmkit warm``: the workers that keep models loaded for ``llmkit pipeline --warm``."""

from __future__ import annotations

import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer
from typing_extensions import TypedDict

from llmkit.cli import options
from llmkit.cli.channels import is_quiet, note, set_quiet
from llmkit.cli.examples import examples
from llmkit.cli.parameters import refuse_before_subcommand
from llmkit.cli.results import rows_writer
from llmkit.errors import LlmkitError
from llmkit.serving.place import NoPlaceError, Place, runtime_folder

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, context_settings={"help_option_names": ["-h", "--help"]}
)


class Worker(TypedDict):
    """A process that keeps models loaded; it leaves when it had nothing to do for so long."""

    process: int
    models: list[str]
    calls: int
    running: int
    begun: str
    idle_seconds: float
    leaves_after_seconds: float
    llmkit: str
    torch: str
    transformers: str


@app.callback(
    invoke_without_command=True,
    epilog=examples(
        "llmkit warm",
        "llmkit warm stop",
    ),
)
def warm(
    context: typer.Context,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List the processes that keep models loaded for `llmkit pipeline --warm`, or stop them."""
    set_quiet(quiet)
    if context.invoked_subcommand is None:
        _write_list(format, output, overwrite=overwrite)
        return
    given = {"--format": format is not None, "--output": output is not None, "--overwrite": overwrite}
    refuse_before_subcommand(context.invoked_subcommand, given)


@app.command(
    "list",
    epilog=examples(
        "llmkit warm list",
        "llmkit warm list --format json",
    ),
)
def list_workers(
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """List them: their models, how many calls they have run, how long they have had nothing to do."""
    set_quiet(quiet or is_quiet())
    _write_list(format, output, overwrite=overwrite)


def _write_list(format: str | None, output: str | None, *, overwrite: bool) -> None:  # noqa: A002
    write = rows_writer(format, output, overwrite=overwrite)
    rows = [_row(state) for _, state in _workers()]
    if not rows:
        note("there are none. `llmkit pipeline … --warm` starts one.")
    write(rows, title="Warm workers", table_rows=[_for_a_person(row) for row in rows])


@app.command(
    epilog=examples(
        "llmkit warm stop",
        "llmkit warm stop --quiet",
    )
)
def stop(quiet: options.Quiet = False, debug: options.Debug = False) -> None:
    """Stop them; calls that run go on to their end."""
    from llmkit.serving.starting import end

    set_quiet(quiet or is_quiet())
    workers = _workers()
    for place, state in workers:
        process = int(state["process"])
        if not end(place, process, signal.SIGTERM) and not end(place, process, signal.SIGKILL):
            raise LlmkitError(f"the worker {process} does not end.")
        for path in (place.socket, place.state):
            Path(path).unlink(missing_ok=True)
    note(f"{len(workers)} stopped." if workers else "there are none.")


def _workers() -> list[tuple[Place, dict[str, Any]]]:
    """Return the workers that live, with what each said of itself last.

    Raises:
        LlmkitError: the folder that they would be in is not this user's alone.
    """
    from llmkit.serving.starting import is_locked, read_state

    try:
        folder = runtime_folder()
    except NoPlaceError as error:
        raise LlmkitError(f"{error}.") from None
    places = [Place(folder, path.stem) for path in sorted(Path(folder).glob("warm-*.lock"))]
    found = [(place, read_state(place)) for place in places if is_locked(place.lock)]
    return [(place, state) for place, state in found if "process" in state]


def _row(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "process": state["process"],
        "models": state["models"],
        "calls": state["calls"],
        "running": state["running"],
        "begun": datetime.fromtimestamp(state["begun"], UTC).isoformat(timespec="seconds"),
        "idle_seconds": round(time.time() - state["last_call"], 1),
        "leaves_after_seconds": state["idle_seconds"],
        **{name: state[name] for name in ("llmkit", "torch", "transformers")},
    }


def _for_a_person(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "process": row["process"],
        "models": "\n".join(row["models"]),
        "calls": row["calls"],
        "running": row["running"],
        "idle": f"{row['idle_seconds']:.0f} s",
    }
