"""Running one call of ``llmkit tokenize``: texts in windows through one tokenizer, or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.batching import live_windows, windows
from llmkit.cli.channels import note
from llmkit.cli.destination import (
    Destination,
    RejectReporter,
    end_with_rejects,
    progress_bar,
    refuse_own_input,
    report_rejects,
    say_how_to_resume,
)
from llmkit.cli.embed_run import is_single, texts_of_rows
from llmkit.cli.loading import tokenizers_alone
from llmkit.cli.tokenize_views import CountTable, TokenTable, described
from llmkit.tasks.catalogue import find_task

if TYPE_CHECKING:
    from llmkit.data.row_run import Outcome
    from llmkit.data.sinks import Sink
    from llmkit.embeddings.run import TextRow
    from llmkit.inference.apply import InputChoice
    from llmkit.insight.tokens import ModelTokenizer
    from llmkit.models.resolved import ResolvedModel

_WINDOW_ROWS = 1024


@dataclass(frozen=True, slots=True)
class TokenizeCall:
    """What is to be tokenized, and by which models.

    Attributes:
        models: as named; none for the default.
        count: only how many tokens there are in all.
        special: with the tokens that a tokenizer adds.
    """

    choice: InputChoice
    models: tuple[str, ...]
    revision: str | None
    count: bool
    special: bool


def run_tokenize(call: TokenizeCall, out: Destination) -> None:
    """Run a call whose options have been checked.

    Raises:
        typer.Exit: some rows were rejected (exit code 3).
        LlmkitError: it cannot be done: no texts, no such column, a model without a tokenizer.
    """
    from llmkit.inference.apply import read_rows

    if out.is_finished:
        note(f"{out.output} is finished already.")
        return
    refuse_own_input(call.choice, out.output, out.rejects)
    rows = texts_of_rows(read_rows(find_task("feature-extraction").task, call.choice))
    resolved = [_find(name, call.revision) for name in call.models or (None,)]
    identity = {
        "models": [[each.location, each.revision, each.weights] for each in resolved],
        "special": call.special,
        **call.choice.identity(),
        "format": out.format,
        "keep_input": out.keep_input,
    }
    bare = len(resolved) == 1 if call.count else is_single(call.choice)
    sink = out.sink(identity, bare=bare, table=CountTable if call.count else TokenTable)
    try:
        with tokenizers_alone():
            from llmkit.insight.tokens import load_model_tokenizer

            tokenizers = [load_model_tokenizer(each) for each in resolved]
    except BaseException:
        sink.close(finished=False)
        raise
    if call.count:
        _count(call, tokenizers, rows, sink, out)
    else:
        _tokenize(call, tokenizers, rows, sink, out)


def _find(name: str | None, revision: str | None) -> ResolvedModel:
    from llmkit.embeddings.api import DEFAULT_MODEL
    from llmkit.models.resolving import ENCODER, resolve_model

    resolved = resolve_model(
        name,
        revision=revision,
        default=DEFAULT_MODEL,
        stand_in=ENCODER,
        task="tokenize",
        needs_weights=False,
    )
    if resolved.note:
        note(resolved.note)
    return resolved


def _windows(call: TokenizeCall, rows: Iterator[TextRow]) -> Iterator[list[TextRow]]:
    cut = live_windows if call.choice.is_live else windows
    return cut(rows, max_rows=_WINDOW_ROWS)


def _tokenize(
    call: TokenizeCall,
    tokenizers: Sequence[ModelTokenizer],
    rows: Iterator[TextRow],
    sink: Sink,
    out: Destination,
) -> None:
    from llmkit.data.row_run import RowRun, beside_input, plain_input
    from llmkit.data.sinks import FileSink

    done = sink.progress.rows if isinstance(sink, FileSink) else 0

    def written(outcome: Outcome, index: int) -> Any:
        value = outcome.value
        if not out.keep_input:
            return value
        return (
            [beside_input(outcome.row, each) for each in value]
            if isinstance(value, list)
            else beside_input(outcome.row, value)
        )

    run = RowRun(
        sink,
        written,
        plain_input,
        done,
        RejectReporter(),
    )
    try:
        with progress_bar(call.choice, out, done) as advance, run:
            for window in run.pending(_windows(call, rows)):
                run.put(window, _outcomes(window.rows, tokenizers, call, out))
                advance(len(window.rows))
    except BaseException as error:
        say_how_to_resume(error, sink)
        raise
    report_rejects(sink, run.summary, done)


def _outcomes(
    rows: Sequence[TextRow], tokenizers: Sequence[ModelTokenizer], call: TokenizeCall, out: Destination
) -> list[Outcome]:
    from llmkit.data.row_run import Outcome

    texts = [text for _, text in rows if isinstance(text, str)]
    found = [each.tokenize(texts, special=call.special) if texts else [] for each in tokenizers]
    values = (
        described(text, tokenizers, [tokens[number] for tokens in found], out.format)
        for number, text in enumerate(texts)
    )
    return [
        Outcome(row, next(values)) if isinstance(text, str) else Outcome(row, error=text)
        for row, text in rows
    ]


def _count(
    call: TokenizeCall,
    tokenizers: Sequence[ModelTokenizer],
    rows: Iterator[TextRow],
    sink: Sink,
    out: Destination,
) -> None:
    from llmkit.data.row_run import Summary, reject_reason
    from llmkit.insight.tokens import TokenCounts

    counts = [TokenCounts(each.limit) for each in tokenizers]
    summary, reporter = Summary(), RejectReporter()
    finished = False
    try:
        with progress_bar(call.choice, out, 0) as advance:
            for window in _windows(call, rows):
                texts = [text for _, text in window if isinstance(text, str)]
                for tokenizer, each in zip(tokenizers, counts, strict=True):
                    each.add(tokenizer.count(texts, special=call.special) if texts else [])
                for row, text in window:
                    if isinstance(text, Exception):
                        reporter(f"{row.place}: {reject_reason(text)}")
                summary.done += len(texts)
                summary.rejected += len(window) - len(texts)
                advance(len(window))
        for number, (tokenizer, each) in enumerate(zip(tokenizers, counts, strict=True)):
            sink.write({"model": tokenizer.name, **each.summary()}, number, tokenizer.name)
        finished = True
    finally:
        sink.close(finished=finished)
    # No file has them: a count has no result row by row.
    end_with_rejects(summary.rejected, summary.rejected + summary.done, None)
