"""``llmkit schema``: the JSON Schema of what a command prints as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typing_extensions import TypedDict

from llmkit.cli import options
from llmkit.cli.answers import put, write_to
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import complete_shape, complete_shape_part
from llmkit.cli.examples import examples
from llmkit.cli.results import rows_writer
from llmkit.cli.shapes import SHAPES, document, schema_of
from llmkit.data.formats import chosen_format
from llmkit.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


class Listed(TypedDict):
    """A command that prints JSON, and what one object of it is."""

    command: str
    gives: str


@app.command(
    epilog=examples(
        "llmkit schema",
        "llmkit schema pipeline text-classification",
        "llmkit schema embed > embed.schema.json",
    )
)
def schema(
    command: Annotated[
        str | None,
        typer.Argument(
            metavar="COMMAND",
            help="A command that prints JSON.",
            show_default=False,
            autocompletion=complete_shape,
        ),
    ] = None,
    part: Annotated[
        str | None,
        typer.Argument(
            metavar="TASK",
            help="Of pipeline its task, of models and warm a subcommand.",
            show_default=False,
            autocompletion=complete_shape_part,
        ),
    ] = None,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Print the JSON Schema (draft 2020-12) of one result of a command's JSON; without a command, list them."""
    set_quiet(quiet)
    if command is None:
        write = rows_writer(format, output, overwrite=overwrite)
        rows = [{"command": name, "gives": given.gives} for name, given in SHAPES.items()]
        write(rows, title="What prints JSON")
        return
    chosen = chosen_format(format, output)
    if chosen not in (None, "json"):
        raise UsageError(
            f"--{f'format {format}' if format else f'output {output}'} is for the list: a schema is JSON."
        )
    found = document(schema_of(command, part))
    if output is None:
        put(found, claim_stdout())
    else:
        write_to(Path(output), found, overwrite=overwrite)
