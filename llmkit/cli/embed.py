"""``llmkit embed``: vectors of sentences, tokens and words, from any layer."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.examples import examples
from llmkit.cli.launch import join_launch, launch_over_files
from llmkit.cli.pipeline_call import check_split, rows_a_batch
from llmkit.data.formats import FORMATS, chosen_format
from llmkit.embeddings.settings import EmbedSettings, check_settings
from llmkit.embeddings.vector_formats import BARE_FORMATS, vector_formats
from llmkit.errors import UsageError
from llmkit.launching.plan import LaunchOptions

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit embed 'He went to the bank.'",
        "llmkit embed -i texts.txt -o vectors.npy",
        "llmkit embed --level token --layer -4: --layers-merge sum 'The bank raised rates.'",
    )
)
def embed_texts(
    texts: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="Texts; - is stdin.", show_default=False)
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
    gpus: options.Gpus = None,
    processes: options.Processes = None,
    nodes: options.Nodes = None,
    node_rank: options.NodeRank = None,
    rendezvous: options.Rendezvous = None,
    max_restarts: options.MaxRestarts = None,
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    format: options.VectorFormat = None,  # noqa: A002
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
    set_quiet(quiet or join_launch() > 0)
    settings = EmbedSettings(
        level, pooling, layer, layers_merge, normalize, dim, prompt, long, max_length, word, subwords
    )
    check_settings(settings)
    formats = {**FORMATS, **vector_formats({}, by_unit=settings.effective_level != "sentence")}
    format = chosen_format(format, output, resume=resume, formats=formats)  # noqa: A001
    check_split(split, dataset)
    if keep_input and format in BARE_FORMATS:
        raise UsageError(
            f"--keep-input: a .{format} file holds vectors alone.",
            hint="Columns ride along in .parquet, .jsonl and .csv.",
        )
    from llmkit.cli.destination import Destination, check_places
    from llmkit.cli.embed_run import EmbedCall, run_embedding
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
    rows = rows_a_batch(batch_size)
    check_places(output, rejects, resume=resume, overwrite=overwrite)
    launch_over_files(
        LaunchOptions(gpus, processes, nodes, node_rank, rendezvous, max_restarts),
        choice,
        device,
        dedupe=dedupe,
    )
    out = Destination(claim_stdout(), format, output, None, rejects, keep_input, overwrite, resume, formats)
    run_embedding(EmbedCall(choice, settings, load, model, revision, dedupe, rows), out)
