"""``llmkit embed``: vectors of sentences, tokens and words, from any layer."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.pipeline_call import check_output, rows_a_batch
from llmkit.data.formats import FORMATS, check_format, format_of
from llmkit.embeddings.settings import EmbedSettings, check_settings
from llmkit.embeddings.vector_formats import vector_formats
from llmkit.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog="Examples:  llmkit embed 'He went to the bank.'   |   llmkit embed -i texts.txt -o vectors.npy   |   "
    "llmkit embed --level token --layer -4: --layers-merge sum 'The bank raised rates.'"
)
def embed_texts(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts; - is stdin.", show_default=False)
    ] = None,
    model: options.EncoderModel = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    input: options.Input = None,  # noqa: A002
    input_format: options.InputFormat = None,
    column: options.Column = None,
    dataset: options.Dataset = None,
    split: options.Split = None,
    level: options.Level = "sentence",
    pooling: options.Pooling = None,
    layer: options.Layer = "-1",
    layers_merge: options.LayersMerge = "mean",
    normalize: options.Normalize = None,
    dim: options.Dim = None,
    prompt: options.Prompt = None,
    word: options.Word = None,
    subwords: options.Subwords = "mean",
    long: options.Long = "truncate",
    max_length: options.MaxLength = None,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Embed equal texts once.")] = False,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="table, jsonl, json, csv, tsv; files also npy, safetensors, parquet."
            "  [default: table on a terminal, else jsonl]",
            show_default=False,
        ),
    ] = None,
    output: options.Output = None,
    rejects: options.Rejects = None,
    keep_input: options.KeepInput = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Turn texts into vectors: one a sentence, a token or a word, from any layer of any encoder.

    Inputs are arguments, lines of standard input, files (--input) or a dataset (--dataset).
    """
    set_quiet(quiet)
    settings = EmbedSettings(
        level, pooling, layer, layers_merge, normalize, dim, prompt, long, max_length, word, subwords
    )
    check_settings(settings)
    formats = {**FORMATS, **vector_formats({}, by_unit=settings.effective_level != "sentence")}
    if output and not format:
        format = format_of(output, formats)  # noqa: A001
    if format:
        check_format(format, formats)
    check_output(output, format, resume=resume, formats=formats)
    if split and not dataset:
        raise UsageError("--split needs --dataset: only a dataset has splits.")
    from llmkit.cli.destination import Destination
    from llmkit.cli.embed_run import run_embedding
    from llmkit.inference.apply import InputChoice
    from llmkit.models.loading import LoadOptions, check_options

    load = LoadOptions(device, dtype, trust_remote_code, allow_pickle)
    check_options(load)
    choice = InputChoice(
        arguments=tuple(texts or ()),
        files=tuple(input or ()),
        format=input_format,
        dataset=dataset,
        split=split,
        column=column,
    )
    out = Destination(claim_stdout(), format, output, None, rejects, keep_input, overwrite, resume, formats)
    run_embedding(
        choice,
        settings,
        load,
        out,
        model=model,
        revision=revision,
        dedupe=dedupe,
        batch_size=rows_a_batch(batch_size),
    )
