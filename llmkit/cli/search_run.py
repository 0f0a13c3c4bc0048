"""Running one call of ``llmkit search``: the queries, the vectors, the model, and what is found."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.channels import note
from llmkit.cli.destination import Destination, RejectReporter, refuse_to_replace, report_rejects
from llmkit.cli.embed_run import load_for_rows
from llmkit.cli.loading import quiet_libraries
from llmkit.cli.search_corpus import Corpus, open_corpus
from llmkit.cli.search_views import SearchTable
from llmkit.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy

    from llmkit.data.records import Row
    from llmkit.embeddings.encoder import Encoder
    from llmkit.embeddings.settings import EmbedSettings
    from llmkit.embeddings.top_k import Nearest
    from llmkit.models.loading import LoadOptions
    from llmkit.models.resolved import ResolvedModel

_QUERIES_AT_ONCE = 256
_QUERY_COLUMNS = ("query", "question", "text")
_CANDIDATE_NUMBERS = 1 << 27  # numbers in the vectors of the candidates of all queries at once: 512 MB


@dataclass(frozen=True, slots=True)
class SearchCall:
    """What is looked for, where, and how.

    Attributes:
        among: a file of texts or of vectors; `texts`, one with the texts of vectors that have none.
        vector_column: where the vectors are, in a file with columns; None for where `llmkit embed` writes them.
        settings: of the texts; `query_prefix` is put before a query in place of their prompt.
    """

    queries: Sequence[str]
    queries_file: str | None
    among: str
    texts: str | None
    column: str | None
    vector_column: str | None
    settings: EmbedSettings
    load: LoadOptions
    query_prefix: str | None
    model: str | None
    revision: str | None
    top_k: int
    measure: str
    min_score: float | None
    batch_size: int | None


def run_search(call: SearchCall, out: Destination) -> None:
    """Run a call whose settings have been checked.

    Raises:
        LlmkitError: it cannot be done: no query, no such file, a model that does not fit the vectors.
    """
    from llmkit.data.row_run import Summary
    from llmkit.data.sinks import refuse_existing

    read = (call.among, call.texts, call.queries_file)
    refuse_to_replace(out.output, read)
    refuse_to_replace(out.rejects, read, "--rejects")
    if out.output:  # before the texts are embedded, which takes long
        refuse_existing(Path(out.output), overwrite=out.overwrite)
    if out.rejects:
        refuse_existing(Path(out.rejects), overwrite=out.overwrite)
    rejected = _Rejected()
    queries = _queries(call, rejected)
    first = next(queries, None)
    if first is None:
        raise DataError("there is no query that says anything.")
    corpus = open_corpus(call)
    resolved = corpus.resolved
    query_settings = replace(corpus.settings, prompt=_query_prompt(call, resolved))
    # The model is tried on the texts when these are embedded; a query alone says too little.
    load = replace(call.load, dtype="float32") if call.load.dtype == "auto" else call.load
    encoder, _ = load_for_rows(resolved, query_settings, load, iter(()))
    _check_dimension(encoder, corpus, call)
    sink = out.sink({}, bare=False, table=SearchTable)
    found: Nearest | None = None
    finished, searched, without_hits = False, 0, 0
    try:
        for window in _windows(itertools.chain([first], queries), call, encoder):
            texts, vectors = _embedded(encoder, window, rejected)
            if vectors is None:
                continue
            found = _nearest(vectors, corpus, call)
            _write(sink, texts, found, corpus, keep_input=out.keep_input)
            searched += len(texts)
            without_hits += sum(not hits for hits in found.hits)
        for row in rejected.rows:
            sink.reject(row)
        finished = True
    finally:
        sink.close(finished=finished)
    if found is not None and found.skipped:
        note(
            f"{found.skipped:,} of {found.rows:,} rows were skipped: they have no vector, or one that is not finite."
        )
    if without_hits:
        note(
            f"{without_hits:,} {'query' if without_hits == 1 else 'queries'} found nothing within --min-score."
        )
    report_rejects(sink, Summary(searched, len(rejected.rows)), 0)


class _Rejected:
    """Names queries that say nothing, and keeps them as a file of rejects has them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._report = RejectReporter()

    def __call__(self, row: Row, reason: str) -> None:
        from llmkit.data.row_run import as_rejected, plain_input

        self._report(f"{row.place}: {reason}")
        self.rows.append(as_rejected(row, reason, plain_input(row, len(self.rows))))


def _windows(
    queries: Iterator[tuple[Row, str]], call: SearchCall, encoder: Encoder
) -> Iterator[list[tuple[Row, str]]]:
    most = max(1, min(_QUERIES_AT_ONCE, _CANDIDATE_NUMBERS // (encoder.dimension * (call.top_k + 16))))
    while window := list(itertools.islice(queries, most)):
        yield window


def _queries(call: SearchCall, rejected: _Rejected) -> Iterator[tuple[Row, str]]:
    """Go through the queries that say something, each with its row; `rejected` hears of the others.

    Raises:
        UsageError: there is none, or they are given twice.
        DataError: their file cannot be read.
    """
    from llmkit.data.records import BadRecord, text_record
    from llmkit.data.sources import expand_paths, read_file, read_stdin

    from_stdin = list(call.queries) == ["-"] or call.queries_file == "-"
    if call.queries and call.queries_file:
        raise UsageError("the queries are given twice: as arguments and by --queries.")
    rows: Iterator[Row]
    if call.queries and not from_stdin:
        rows = (text_record(text, "query", number) for number, text in enumerate(call.queries, 1))
    else:
        if call.queries_file and not from_stdin:
            rows = itertools.chain(*map(read_file, expand_paths([call.queries_file])))
        elif sys.stdin is None or (sys.stdin.isatty() and not from_stdin):
            raise UsageError(
                "there is no query.", hint="For example: llmkit search 'a savings account' --in notes.txt"
            )
        else:
            rows = read_stdin(sys.stdin.buffer)
        rows = _with_query(rows, call.queries_file)
    for row in rows:
        text = "" if isinstance(row, BadRecord) else _query_of(row.values)
        if text.strip():
            yield row, text
        else:
            rejected(row, row.reason if isinstance(row, BadRecord) else "the query is empty")


def _with_query(rows: Iterator[Row], file: str | None) -> Iterator[Row]:
    """Go through rows whose first has a column that is a query.

    Raises:
        DataError: it has several columns, and none is known for one.
    """
    from llmkit.data.records import BadRecord

    is_first = True
    for row in rows:
        if is_first and not isinstance(row, BadRecord):
            is_first = False
            columns = list(row.values)
            if len(columns) > 1 and not set(columns) & set(_QUERY_COLUMNS):
                raise DataError(
                    f"which column of {_place(file)} is the query? It has {', '.join(columns)}.",
                    hint=f"Call it {', '.join(_QUERY_COLUMNS[:-1])} or {_QUERY_COLUMNS[-1]}, or leave only that one.",
                )
        yield row


def _place(file: str | None) -> str:
    return "standard input" if file in (None, "-") else file


def _query_of(values: dict[str, Any]) -> str:
    for name in _QUERY_COLUMNS:
        if name in values:
            return str(values[name] or "")
    if len(values) == 1:
        return str(next(iter(values.values())) or "")
    return ""


def _query_prompt(call: SearchCall, resolved: ResolvedModel) -> str | None:
    """Return what is put before a query: what was said, else the model's own prompt for queries."""
    with quiet_libraries():
        from llmkit.models.sentence_modules import model_prompts

        prompts = model_prompts(resolved)
    if call.query_prefix is not None:
        return prompts.get(call.query_prefix, call.query_prefix)
    return prompts.get("query")


def _check_dimension(encoder: Encoder, corpus: Corpus, call: SearchCall) -> None:
    if encoder.dimension != corpus.vectors.dimension:
        raise UsageError(
            f"the vectors in {call.among} have {corpus.vectors.dimension:,} numbers, and those of "
            f"{corpus.resolved.name} {encoder.dimension:,}.",
            hint="--model names the model that made them, --dim how many numbers were kept.",
        )


def _embedded(
    encoder: Encoder, window: Sequence[tuple[Row, str]], rejected: _Rejected
) -> tuple[list[str], numpy.ndarray[Any, Any] | None]:
    """Return the queries that have a vector, and the vectors, None where none has; `rejected` hears of the others."""
    import numpy

    from llmkit.embeddings.embedding import Embedding, embed_texts

    texts = [text for _, text in window]
    queries, vectors = [], []
    for (row, text), each in zip(
        window, embed_texts(encoder, texts, encoder.tokenizer.tokenize(texts)), strict=True
    ):
        if not isinstance(each, Embedding):
            rejected(row, each.message)
        elif not numpy.isfinite(each.vectors).all():
            rejected(row, "its vector is not finite")
        else:
            queries.append(text)
            vectors.append(each.vectors)
    return queries, numpy.stack(vectors) if vectors else None


def _nearest(vectors: numpy.ndarray[Any, Any], corpus: Corpus, call: SearchCall) -> Nearest:
    from llmkit.embeddings.top_k import nearest

    found = nearest(vectors, corpus.vectors.blocks(), call.top_k, call.measure, min_score=call.min_score)
    if found.skipped == found.rows:
        raise DataError(
            f"no row of {call.among} has a vector of finite numbers: there is nothing to compare with."
        )
    return found


def _write(sink: Any, queries: Sequence[str], found: Nearest, corpus: Corpus, *, keep_input: bool) -> None:
    from llmkit.data.row_run import kept_columns

    beside = corpus.beside({hit.row for hits in found.hits for hit in hits})
    for query, hits in zip(queries, found.hits, strict=True):
        for rank, hit in enumerate(hits, start=1):
            text, columns = beside.get(hit.row, (None, {}))
            value = {"query": query, "rank": rank, "score": hit.score, "row": hit.row}
            if text is not None:
                value["text"] = text
            if keep_input:
                value |= kept_columns(
                    {name: each for name, each in columns.items() if each is not text}, value
                )
            sink.write(value, rank - 1, query)
    sink.commit(0)
