"""``llmkit attention``: what each token of a text attends to, and how that is computed."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.attention_formats import attention_format, check_page
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.completion import one_of
from llmkit.cli.examples import examples
from llmkit.data.pictures import check_picture
from llmkit.errors import UsageError, no_such

app = typer.Typer(rich_markup_mode=None, add_completion=False)
_KINDS = ("encoder", "decoder", "cross")


@app.command(
    epilog=examples(
        "llmkit attention 'Your cat is a lovely cat'",
        "llmkit attention 'The cat sat.' --explain cat",
        "llmkit attention 'I love eating' -m gpt2 --html gpt2.html",
    )
)
def show_attention(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A text; - is stdin.", show_default=False)],
    model: options.EncoderModel = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    text_pair: Annotated[
        str | None,
        typer.Option(
            help="A second text, which the model reads together with the first.", show_default=False
        ),
    ] = None,
    layer: options.AttentionLayer = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="1 is the first, -1 the last; several: 1,2; all; mean: over all of a layer."
            "  [default: mean in tables and plots, else all]",
            show_default=False,
        ),
    ] = None,
    which: Annotated[
        str | None,
        typer.Option(
            help="Of an encoder-decoder: encoder, decoder, or cross (decoder to encoder).  [default: all]",
            show_default=False,
            autocompletion=one_of(*_KINDS),
        ),
    ] = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            help="The calculation for this token, step by step; #5 is the fifth.",
            show_default=False,
        ),
    ] = None,
    plot: Annotated[
        str | None, typer.Option(help="Draw a heat map: FILE.png, .svg, .pdf.", show_default=False)
    ] = None,
    html: Annotated[
        str | None,
        typer.Option(help="Write a page to look into every head: FILE.html.", show_default=False),
    ] = None,
    device: options.Device = "auto",
    dtype: options.ExactDtype = None,
    format: options.ReportFormat = None,  # noqa: A002
    output: options.ArrayOutput = None,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Show what each token of a text attends to: the weights of every layer and head, each row summing to 1.

    In a text, ___ is a blank that a model like BERT fills. Of a language model the next token is shown too.
    """
    set_quiet(quiet)
    chosen = attention_format(format, output, is_explained=explain is not None, overwrite=overwrite)
    if which is not None and which not in _KINDS:
        raise no_such("--which", which, "attention", _KINDS)
    if plot:
        check_picture(plot)
    if html:
        check_page(html)
    for option, given in (("--plot", plot), ("--html", html)):
        if explain is not None and given:
            raise UsageError(
                f"{option} draws the weights, and --explain shows a calculation: take one of them."
            )
    if explain is not None and dtype not in (None, "float32"):
        raise UsageError("--explain calculates in float32: leave out --dtype.")
    from llmkit.cli.attention_run import AttentionCall, run_attention
    from llmkit.models.loading import LoadOptions, check_options

    load = LoadOptions(device, dtype, trust_remote_code, allow_pickle)
    check_options(load)
    call = AttentionCall(text, text_pair, model, revision, load, layer, head, which, explain, plot, html)
    run_attention(call, claim_stdout(), chosen, output, overwrite=overwrite)
