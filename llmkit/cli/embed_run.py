"""Running one call of ``llmkit embed``: the rows, the sink, the model, and what is said at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from llmkit.cli.channels import note, warn
from llmkit.cli.destination import (
    Destination,
    RejectReporter,
    progress_bar,
    refuse_own_input,
    report_rejects,
    say_how_to_resume,
)
from llmkit.cli.embed_views import EmbeddingTable, shaper_for
from llmkit.cli.loading import quiet_libraries
from llmkit.embeddings.vector_formats import vector_formats
from llmkit.tasks.catalogue import find_task
from llmkit.tasks.inputs import RowError, compose

if TYPE_CHECKING:
    from llmkit.data.row_run import Summary
    from llmkit.data.shared_rows import SharedRows
    from llmkit.data.sinks import Sink
    from llmkit.embeddings.encoder import Encoder
    from llmkit.embeddings.run import TextRow
    from llmkit.embeddings.settings import EmbedSettings
    from llmkit.inference.apply import InputChoice
    from llmkit.inference.rows import MappedRow
    from llmkit.models.loading import LoadOptions
    from llmkit.models.resolved import ResolvedModel

R = TypeVar("R")
T = TypeVar("T")


TEXT_TASK = replace(find_task("feature-extraction").task, example="llmkit embed 'He went to the bank.'")


def run_embedding(
    choice: InputChoice,
    settings: EmbedSettings,
    load: LoadOptions,
    out: Destination,
    *,
    model: str | None,
    revision: str | None,
    dedupe: bool,
    batch_size: int | None,
) -> None:
    """Run a call that has been checked.

    Raises:
        typer.Exit: some rows were rejected (exit code 3).
        LlmkitError: it cannot be done; see `llmkit.embeddings.run.EmbedRun.run`.
    """
    from llmkit.data.shared_rows import shared_rows

    with shared_rows(said=warn) as shared:
        _run(
            choice,
            settings,
            load,
            out,
            shared,
            model=model,
            revision=revision,
            dedupe=dedupe,
            batch_size=batch_size,
        )


def _run(
    choice: InputChoice,
    settings: EmbedSettings,
    load: LoadOptions,
    out: Destination,
    shared: SharedRows | None,
    *,
    model: str | None,
    revision: str | None,
    dedupe: bool,
    batch_size: int | None,
) -> None:
    from llmkit.data.sinks import FileSink
    from llmkit.embeddings.api import find_encoder
    from llmkit.embeddings.seen import forget, seen_path
    from llmkit.inference.apply import read_rows
    from llmkit.models.loading import model_identity

    if out.is_finished:
        note(f"{out.output} is finished already.")
        return
    refuse_own_input(out.output, choice)
    rows = texts_of_rows(read_rows(TEXT_TASK, choice))
    resolved = find_encoder(model, revision, allow_pickle=load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    call = {
        **model_identity(resolved, load),
        **asdict(settings),
        **choice.identity(),
        "dedupe": dedupe,
        "batch_size": batch_size,
        "format": out.format,
        "keep_input": out.keep_input,
    }
    by_unit = settings.effective_level != "sentence" and settings.word is None
    out.formats = {**out.formats, **vector_formats(_metadata(resolved, settings), by_unit=by_unit)}
    sink, done = out.sink_of(
        shared, call, bare=_is_single(choice), table=lambda results: EmbeddingTable(results, settings)
    )
    try:
        encoder, rows = load_for_rows(resolved, settings, load, rows, live=choice.is_live)
    except BaseException:
        sink.close(finished=False)
        raise
    seen = seen_path(sink.path) if isinstance(sink, FileSink) else None
    from llmkit.embeddings.run import EmbedRun

    try:
        with progress_bar(choice, out, done) as advance:
            run = EmbedRun(
                encoder,
                sink,
                shaper_for(out.format, settings, out.formats, keep_input=out.keep_input),
                dedupe=dedupe,
                seen_file=seen,
                batch_size=batch_size,
                rows_done=done,
                shared=shared,
                advance=advance,
                rejected=(lambda text: None) if _is_single(choice) else RejectReporter(),
                counts=sink.progress.counts if isinstance(sink, FileSink) else {},
            )
            summary = run.run(rows, live=choice.is_live)
    except BaseException as error:
        say_how_to_resume(error, sink)
        raise
    finally:
        if seen is not None and not (isinstance(sink, FileSink) and sink.is_unfinished):
            forget(seen)
    if run.cut:
        note(_about_cut(run.cut, _rows_done(sink, summary), encoder))
    report_rejects(sink, summary, done)


def _rows_done(sink: Sink, summary: Summary) -> int:
    """Return how many rows have vectors, those of the run that was resumed included."""
    from llmkit.data.sinks import FileSink

    if isinstance(sink, FileSink):
        return sink.progress.rows - sink.progress.rejected
    return summary.done


def _about_cut(cut: int, done: int, encoder: Encoder) -> str:
    """Return what is said of texts that were longer than a model takes."""
    were = "was" if cut == 1 else "were"
    text = f"{cut:,} of {done:,} texts {were} cut to {encoder.tokenizer.limit:,} tokens."
    return text if encoder.settings.by_token else f"{text} --long split-mean counts every token of a text."


def texts_of_rows(rows: Iterator[MappedRow]) -> Iterator[TextRow]:
    """Go through rows with the text of each, or why it has none."""
    for row, values in rows:
        if isinstance(values, Exception):
            yield row, values
            continue
        try:
            yield row, str(compose(TEXT_TASK, values).value)
        except RowError as error:
            yield row, error


def load_for_rows(
    resolved: ResolvedModel,
    settings: EmbedSettings,
    load: LoadOptions,
    rows: Iterator[tuple[R, T]],
    *,
    live: bool = False,
    texts_of: Callable[[T], Iterable[str]] = lambda value: [value] if isinstance(value, str) else [],
) -> tuple[Encoder, Iterator[tuple[R, T]]]:
    """Load the model, tried on the first texts where that is wanted; return it and all the rows.

    Args:
        texts_of: the texts in what a row has.
    """
    with quiet_libraries():
        from llmkit.embeddings.reduced import TRIAL_TEXTS, load_trusted_encoder

        # A live stream gives its first text now, and the next ones when somebody writes them.
        first = list(islice(rows, 1 if live else TRIAL_TEXTS)) if load.dtype == "auto" else []
        trial = [text for _, value in first for text in texts_of(value)]
        return load_trusted_encoder(resolved, settings, load, trial, note), chain(first, rows)


def _metadata(resolved: ResolvedModel, settings: EmbedSettings) -> dict[str, str]:
    """Return what a file of vectors says of them: how they were made."""
    made = {name: str(value) for name, value in asdict(settings).items() if value is not None}
    return {"model": resolved.name, "revision": resolved.revision or "", **made}


def _is_single(choice: InputChoice) -> bool:
    """Tell whether the call can have one text only, by its form: then JSON is that text's, not an array."""
    return len(choice.arguments) == 1 and not choice.reads_stdin
