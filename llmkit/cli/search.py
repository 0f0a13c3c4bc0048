"""``llmkit search``: what is nearest to a query, among texts or vectors, exactly."""

from __future__ import annotations

from typing import Annotated

import typer

from llmkit.cli import options
from llmkit.cli.channels import claim_stdout, set_quiet
from llmkit.cli.examples import examples
from llmkit.cli.pipeline_call import rows_a_batch
from llmkit.data.formats import chosen_format
from llmkit.embeddings.measures import check_measure
from llmkit.embeddings.search import TOP_K, check_min_score, check_top_k
from llmkit.embeddings.settings import EmbedSettings, check_settings
from llmkit.errors import UsageError

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(
    epilog=examples(
        "llmkit search 'opening a savings account' --in notes.txt",
        "llmkit embed -i faq.csv --column question -o faq.parquet && llmkit search 'lost card' --in faq.parquet",
        "llmkit search --queries questions.txt --in vectors.npy --texts notes.txt -k 3",
    )
)
def search_texts(
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="What to look for; - is lines of stdin.", show_default=False),
    ] = None,
    model: options.SearchModel = None,
    revision: options.Revision = None,
    embedded: options.Embedded = None,
    among: options.SearchedTexts = "",
    column: options.SearchedColumn = None,
    vector_column: Annotated[
        str | None,
        typer.Option(help="The column of the vectors in --in.  [default: embedding]", show_default=False),
    ] = None,
    texts: Annotated[
        str | None,
        typer.Option(help="A file with the texts of vectors that have none, row by row.", show_default=False),
    ] = None,
    queries_file: Annotated[
        str | None,
        typer.Option("--queries", help="A file of queries, one a row; - is stdin.", show_default=False),
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", help="How many to find for each query.")] = TOP_K,
    measure: options.Measure = "cosine",
    min_score: Annotated[
        float | None,
        typer.Option(help="Leave out what is less alike (euclidean: what is farther).", show_default=False),
    ] = None,
    pooling: options.Pooling = None,
    layer: options.Layer = "-1",
    layers_merge: options.LayersMerge = "mean",
    normalize: options.Normalize = None,
    dim: options.Dim = None,
    query_prefix: options.QueryPrefix = None,
    prompt: options.SearchedPrompt = None,
    long: options.Long = "truncate",
    max_length: options.MaxLength = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    rejects: options.RejectedQueries = None,
    keep_input: options.KeepFound = False,
    overwrite: options.Overwrite = False,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Find what is nearest to a query among any number of texts or vectors, exactly and in bounded memory.

    A line of the result has the query, the rank, the score, the row (from 0) and its text.
    """
    set_quiet(quiet)
    check_measure(measure)
    check_top_k(top_k)
    check_min_score(min_score)
    settings = EmbedSettings(
        "sentence", pooling, layer, layers_merge, normalize, dim, prompt, long, max_length
    )
    check_settings(settings)
    if pooling == "none":
        raise UsageError("--pooling none gives no vector of a text to compare.")
    if not among:
        raise UsageError(
            "--in is needed: a file of texts or of vectors.",
            hint="For example: llmkit search QUERY --in notes.txt",
        )
    format = chosen_format(format, output)  # noqa: A001
    from llmkit.cli.destination import Destination
    from llmkit.cli.search_run import SearchCall, run_search
    from llmkit.models.loading import LoadOptions, check_options

    load = LoadOptions(device, dtype, trust_remote_code, allow_pickle)
    check_options(load)
    call = SearchCall(
        tuple(queries or ()),
        queries_file,
        among,
        texts,
        column,
        vector_column,
        settings,
        load,
        query_prefix,
        model,
        revision,
        top_k,
        measure,
        min_score,
        rows_a_batch(batch_size),
    )
    out = Destination(
        claim_stdout(), format, output, None, rejects, keep_input, overwrite, resume=False, has_resume=False
    )
    run_search(call, out)
