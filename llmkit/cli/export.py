"""``llmkit export``: a model in another form, compared with the original."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import complete_model, complete_task, one_of
from llmkit.cli.examples import examples
from llmkit.data.formats import chosen_format
from llmkit.errors import UsageError, no_such

app = typer.Typer(rich_markup_mode=None, add_completion=False)

FORMS = ("onnx", "merged", "gguf")


@app.command(
    epilog=examples(
        "llmkit export runs/reviews --to onnx",
        "llmkit export runs/adapter --to merged -o models/whole",
    )
)
def export(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="The folder of a run, or any model: folder, hub id.",
            show_default=False,
            autocompletion=complete_model,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORM",
            help="onnx: for ONNX Runtime. merged: an adapter and its base as one model. gguf: says the way there.",
            show_default=False,
            autocompletion=one_of(*FORMS),
        ),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            help="What the model is for.  [default: what it says]",
            show_default=False,
            autocompletion=complete_task,
        ),
    ] = None,
    revision: options.Revision = None,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.FolderOutput = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Write a model in another form, run it on examples, and show how far its outputs are from the original's."""
    set_quiet(quiet)
    _check_form(to, run)
    chosen = chosen_format(format, None)
    results = claim_stdout()
    from llmkit.cli.export_run import run_export

    place = Path(output) if output is not None else _beside(run, to)
    run_export(run, to, place, results, chosen, task=task, revision=revision, overwrite=overwrite)


def _beside(run: str, to: str) -> Path:
    """Return the folder that an export goes to where none is named: RUN-onnx."""
    name = re.sub(r"^\w+://", "", run).rstrip("/")
    place = Path(name).resolve() if Path(name).name in ("", "..") else Path(name.replace(":", "-"))
    return place.with_name(f"{place.name}-{to}")


def _check_form(to: str, run: str) -> None:
    if to == "gguf":
        raise UsageError(
            "--to gguf: no library writes it for every architecture.",
            hint=f"llama.cpp's own script does: python convert_hf_to_gguf.py {run} --outfile model.gguf "
            "(an adapter is merged before: --to merged).",
        )
    if to not in FORMS:
        raise no_such("--to", to, "form", FORMS)
