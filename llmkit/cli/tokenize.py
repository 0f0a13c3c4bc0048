"""``llmkit tokenize``: what a model's tokenizer makes of texts, and how many tokens files have."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.examples import examples
from llmkit.cli.pipeline_call import check_split
from llmkit.data.formats import chosen_format
from llmkit.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit tokenize 'unbelievably good'",
        "llmkit tokenize -m minilm -m gpt2 'Zürich, naïve café'",
        "llmkit tokenize -i reviews.csv --column review --count",
    )
)
def tokenize_texts(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Texts; - is stdin.", show_default=False)
    ] = None,
    model: options.SeveralModels = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    input: options.Input = None,  # noqa: A002
    input_format: options.InputFormat = None,
    column: options.Column = None,
    dataset: options.Dataset = None,
    split: options.Split = None,
    count: Annotated[
        bool,
        typer.Option(
            "--count",
            help="Only how many: rows, tokens, mean, median, p95, max, longer than the model takes.",
        ),
    ] = False,
    special: Annotated[
        bool, typer.Option("--special/--no-special", help="With the tokens that the tokenizer adds.")
    ] = True,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    rejects: options.Rejects = None,
    keep_input: options.KeepInput = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show the tokens of texts: their ids, where they stand, which are special, and how many there are.

    Only the tokenizer is loaded: the model's weights are not needed. Several models are shown side by side.
    """
    set_quiet(quiet)
    format = chosen_format(format, output, resume=resume)  # noqa: A001
    check_split(split, dataset)
    models = tuple(model or ())
    if revision is not None and len(models) > 1:
        raise UsageError("--revision is of one model, and there are several.")
    for option, given in (("--keep-input", keep_input), ("--resume", resume), ("--rejects", bool(rejects))):
        if count and given:
            raise UsageError(f"{option} is for results row by row; --count gives one for all.")
    from llmkit.cli.destination import Destination
    from llmkit.cli.tokenize_run import TokenizeCall, run_tokenize
    from llmkit.inference.apply import InputChoice

    choice = InputChoice(
        arguments=tuple(texts or ()),
        files=tuple(input or ()),
        format=input_format,
        dataset=dataset,
        split=split,
        column=column,
    )
    out = Destination(claim_stdout(), format, output, None, rejects, keep_input, overwrite, resume)
    run_tokenize(TokenizeCall(choice, models, revision, count, special), out)
