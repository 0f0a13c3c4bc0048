"""``llmkit similarity``: how alike texts are, as a matrix and a picture, or pair by pair from a file."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.examples import examples
from llmkit.cli.parameters import parse_mapping
from llmkit.cli.pipeline_call import check_split, rows_a_batch
from llmkit.data.pictures import check_picture
from llmkit.embeddings.measures import check_measure
from llmkit.embeddings.settings import EmbedSettings, check_settings

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit similarity 'A cat sleeps.' 'A kitten naps.' 'Stocks fell.'",
        "llmkit similarity --word bank 'He went to the bank.' 'The bank of the river.' --plot bank.png",
        "llmkit similarity -i pairs.csv --map a=sentence1,b=sentence2 -o scored.csv --keep-input",
    )
)
def compare_texts(
    texts: Annotated[
        list[str] | None,
        typer.Argument(metavar="TEXT", help="Texts to compare, each with each other.", show_default=False),
    ] = None,
    model: options.EncoderModel = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    input: options.Input = None,  # noqa: A002
    input_format: options.InputFormat = None,
    column: options.ComparedColumn = None,
    map: options.PairColumns = None,  # noqa: A002
    dataset: options.Dataset = None,
    split: options.Split = None,
    measure: options.Measure = "cosine",
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
    plot: Annotated[
        str | None,
        typer.Option(help="Draw the vectors in two dimensions: FILE.png, .svg, .pdf.", show_default=False),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    format: options.SimilarityFormat = None,  # noqa: A002
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
    """Compare texts: each with each other, or the two texts of each row of a file.

    Several texts give a matrix, and on a terminal a picture of their vectors; a file with two columns of texts gives
    a number a row. With --word the vectors of that word are compared, with --level word or token all of them.
    """
    set_quiet(quiet)
    check_measure(measure)
    settings = EmbedSettings(
        level, pooling, layer, layers_merge, normalize, dim, prompt, long, max_length, word, subwords
    )
    check_settings(settings)
    if plot:
        check_picture(plot)
    check_split(split, dataset)
    from llmkit.cli.similarity_run import Call, run_similarity
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
        mapping=parse_mapping(map),
    )
    run_similarity(
        Call(choice, settings, load, measure, model, revision, rows_a_batch(batch_size), plot),
        claim_stdout(),
        format,
        output,
        rejects,
        keep_input=keep_input,
        overwrite=overwrite,
        resume=resume,
    )
