"""``llmkit params``: what a model is made of, and what it costs."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.answers import checked_format
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import complete_catalogue, complete_head, complete_model_type
from llmkit.cli.examples import examples
from llmkit.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit params bert-large",
        "llmkit params llama-2-7b --lora r=8 --fits 24GB",
        "llmkit params --list mixtral",
    )
)
def show_parameters(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="A name of the catalogue, a folder, a config.json (- for standard input), or a hub id. "
            "Several are compared.",
            show_default=False,
            autocompletion=complete_catalogue,
        ),
    ] = None,
    revision: options.Revision = None,
    model_types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            help="The defaults of a model type, such as bert. Repeatable.",
            show_default=False,
            autocompletion=complete_model_type,
        ),
    ] = None,
    settings: options.ModelSet = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="masked-lm, sequence-classification, …, none; checkpoint: what the config's architectures say."
            "  [default: as the paper counts]",
            show_default=False,
            autocompletion=complete_head,
        ),
    ] = None,
    total: Annotated[bool, typer.Option("--total", help="The number alone, a line a model.")] = False,
    tree: Annotated[bool, typer.Option("--tree", help="The modules, as they are inside each other.")] = False,
    depth: Annotated[
        int | None, typer.Option(help="So many levels of them; 1 is the model's own.", show_default=False)
    ] = None,
    formula: Annotated[bool, typer.Option("--formula", help="The algebra down to every tensor.")] = False,
    lora: Annotated[
        str | None,
        typer.Option(help="Adapters on it: r=8,targets=query,value.", show_default=False),
    ] = None,
    fits: Annotated[
        str | None, typer.Option(help="Whether it fits a memory, and how: 24GB.", show_default=False)
    ] = None,
    sequence_length: Annotated[
        int | None,
        typer.Option(help="Tokens an input, for the costs.  [default: 512 at most]", show_default=False),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Tokens the KV cache holds.  [default: all the model takes]", show_default=False
        ),
    ] = None,
    batch_size: options.CostBatchSize = 1,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Hold the headers of its safetensors against the config.")
    ] = False,
    checkpoint_file: Annotated[
        str | None,
        typer.Option(help="The same for weights elsewhere: a file, a folder, a hub id.", show_default=False),
    ] = None,
    list_: Annotated[
        bool, typer.Option("--list", help="List the catalogue; words after it narrow the list.")
    ] = False,
    format: options.ReportFormat = None,  # noqa: A002
    output: options.Output = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Count a model's parameters, show where each number comes from, and what it costs to run and to train.

    No weights are loaded, and for the models of the catalogue no network is asked.
    """
    set_quiet(quiet)
    chosen = checked_format(format, output, overwrite=overwrite)
    if total and format is None:  # the number alone, whatever the file's ending
        chosen = None
    from llmkit.cli.params_run import Asked, list_catalogue, run_params

    asked = Asked(
        models=tuple(models or ()),
        model_types=tuple(model_types or ()),
        settings=tuple(settings or ()),
        head=head,
        revision=revision,
        lora=lora,
        fits=fits,
        batch_size=batch_size,
        sequence_length=sequence_length,
        context=context,
        checkpoint=checkpoint or checkpoint_file is not None,
        checkpoint_file=checkpoint_file,
        is_total=total,
        is_tree=tree or depth is not None,
        depth=depth,
        is_formula=formula,
    )
    if list_:
        list_catalogue(asked, claim_stdout(), chosen, output, overwrite=overwrite)
        return
    if not asked.models and not asked.model_types:
        raise UsageError("name a model.", hint="`llmkit params --list` has those that need no network.")
    run_params(asked, claim_stdout(), chosen, output, overwrite=overwrite)
