"""Running one call of ``llmkit embed``: the rows, the sink, the model, and what is said at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
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


@dataclass(frozen=True, slots=True)
class EmbedCall:
    """What is to be embedded, and how.

    Attributes:
        dedupe: embed equal texts once.
        batch_size: most texts a batch; None for a budget of tokens.
    """

    choice: InputChoice
    settings: EmbedSettings
    load: LoadOptions
    model: str | None
    revision: str | None
    dedupe: bool
    batch_size: int | None


def run_embedding(call: EmbedCall, out: Destination) -> None:
    """Run a call that has been checked.

    Raises:
        typer.Exit: some rows were rejected (exit code 3).
        LlmkitError: it cannot be done; see `llmkit.embeddings.run.EmbedRun.run`.
    """
    from llmkit.data.shared_rows import shared_rows

    with shared_rows(said=warn) as shared:
        _run(call, out, shared)


def _run(call: EmbedCall, out: Destination, shared: SharedRows | None) -> None:
    from llmkit.embeddings.api import find_encoder
    from llmkit.inference.apply import read_rows
    from llmkit.models.native_attention import compile_ahead

    if out.is_finished:
        note(f"{out.output} is finished already.")
        return
    refuse_own_input(call.choice, out.output, out.rejects)
    if call.choice.may_be_long:
        compile_ahead(call.load.device)
    rows = texts_of_rows(read_rows(TEXT_TASK, call.choice))
    resolved = find_encoder(call.model, call.revision, allow_pickle=call.load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    sink, done = _sink(call, resolved, out, shared)
    try:
        encoder, rows = load_for_rows(resolved, call.settings, call.load, rows, live=call.choice.is_live)
    except BaseException:
        sink.close(finished=False)
        raise
    _embed_rows(call, encoder, rows, sink, out, shared, done)


def _sink(
    call: EmbedCall, resolved: ResolvedModel, out: Destination, shared: SharedRows | None
) -> tuple[Sink, int]:
    """Open what the vectors go into, and return it with the rows that a run begun by the same call has done."""
    from llmkit.models.loading import model_identity

    settings = call.settings
    identity = {
        **model_identity(resolved, call.load),
        **asdict(settings),
        **call.choice.identity(),
        "dedupe": call.dedupe,
        "batch_size": call.batch_size,
        "format": out.format,
        "keep_input": out.keep_input,
    }
    by_unit = settings.effective_level != "sentence" and settings.word is None
    out.formats = {**out.formats, **vector_formats(_metadata(resolved, settings), by_unit=by_unit)}
    return out.sink_of(
        shared, identity, bare=is_single(call.choice), table=lambda results: EmbeddingTable(results, settings)
    )


def _embed_rows(
    call: EmbedCall,
    encoder: Encoder,
    rows: Iterator[TextRow],
    sink: Sink,
    out: Destination,
    shared: SharedRows | None,
    done: int,
) -> None:
    from llmkit.data.sinks import FileSink
    from llmkit.embeddings.run import EmbedRun
    from llmkit.embeddings.seen import forget, seen_path

    file = sink if isinstance(sink, FileSink) else None
    seen = seen_path(file.path) if file else None
    try:
        with progress_bar(call.choice, out, done) as advance:
            run = EmbedRun(
                encoder,
                sink,
                shaper_for(out.format, call.settings, out.formats, keep_input=out.keep_input),
                dedupe=call.dedupe,
                seen_file=seen,
                batch_size=call.batch_size,
                rows_done=done,
                shared=shared,
                advance=advance,
                rejected=(lambda text: None) if is_single(call.choice) else RejectReporter(),
                counts=file.progress.counts if file else {},
            )
            summary = run.run(rows, live=call.choice.is_live)
    except BaseException as error:
        say_how_to_resume(error, sink)
        raise
    finally:
        if seen is not None and not (file and file.is_unfinished):
            forget(seen)
    say_cut(run.cut, encoder, of=file.progress.rows - file.progress.rejected if file else summary.done)
    report_rejects(sink, summary, done)


def say_cut(cut: int, encoder: Encoder, *, of: int | None = None) -> None:
    """Say how many texts were longer than a model takes, where some were.

    Args:
        of: how many texts there are, if that is known.
    """
    if not cut:
        return
    counted = f"{cut:,} {'text' if cut == 1 else 'texts'}" if of is None else f"{cut:,} of {of:,} texts"
    text = f"{counted} {'was' if cut == 1 else 'were'} cut to {encoder.tokenizer.limit:,} tokens."
    note(text if encoder.settings.by_token else f"{text} --long split-mean counts every token of a text.")


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


def is_single(choice: InputChoice) -> bool:
    """Tell whether the call can have one text only, by its form: then JSON is that text's, not an array."""
    return len(choice.arguments) == 1 and not choice.reads_stdin
