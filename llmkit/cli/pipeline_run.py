"""Running one call of ``llmkit pipeline``: the sink, the model, progress, and what is said at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.channels import note, warn
from llmkit.cli.destination import (
    Destination,
    RejectReporter,
    progress_bar,
    refuse_own_input,
    report_rejects,
    say_how_to_resume,
)
from llmkit.cli.pipeline_call import is_single
from llmkit.data.formats import TABLE
from llmkit.tasks.catalogue import TaskCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmkit.data.row_run import Summary
    from llmkit.data.shared_rows import SharedRows
    from llmkit.data.sinks import Sink
    from llmkit.inference.apply import InputChoice, PipelineRun
    from llmkit.inference.items import RunSettings
    from llmkit.inference.rows import MappedRow
    from llmkit.models.loading import LoadOptions


def run_call(
    call: TaskCall,
    choice: InputChoice,
    settings: RunSettings,
    load: LoadOptions,
    out: Destination,
    *,
    model: str | None,
    revision: str | None,
) -> None:
    """Run a call that has been checked.

    Raises:
        typer.Exit: some rows were rejected (exit code 3).
        LlmkitError: it cannot be done; see `llmkit.inference.apply.PipelineRun.run`.
    """
    from llmkit.data.shared_rows import shared_rows

    with shared_rows(said=warn) as shared:
        _run(call, choice, settings, load, out, shared, model=model, revision=revision)


def _run(
    call: TaskCall,
    choice: InputChoice,
    settings: RunSettings,
    load: LoadOptions,
    out: Destination,
    shared: SharedRows | None,
    *,
    model: str | None,
    revision: str | None,
) -> None:
    from llmkit.cli.loading import load_quietly
    from llmkit.inference.apply import PipelineRun, fingerprint, read_rows
    from llmkit.models.native_attention import compile_ahead
    from llmkit.tasks.resolve import resolve_for

    if out.is_finished:
        note(f"{out.output} is finished already.")
        return
    refuse_own_input(choice, out.output, out.rejects)
    if choice.may_be_long:
        compile_ahead(load.device)
    rows = read_rows(call.task, choice)

    resolved = resolve_for(call, model, revision, allow_pickle=load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    identity = fingerprint(
        call, resolved, load, settings, choice, format=out.format, keep_input=out.keep_input
    )
    sink, done = out.sink_of(shared, identity, bare=is_single(call, choice))
    try:
        encoder = out.encoder()
        pipe = load_quietly(call, resolved, load)
    except BaseException:
        sink.close(finished=False)
        raise
    try:
        if out.format == TABLE and call.task.streams and is_single(call, choice):
            settings, sink = _streaming(pipe, call, settings, out, sink)
        run = PipelineRun(
            call,
            settings,
            sink,
            encoder,
            keep_input=out.keep_input,
            rows_done=done,
            shared=shared,
            notes=note,
        )
        summary = _work_through(run, pipe, rows, choice, out)
    except BaseException as error:
        say_how_to_resume(error, sink)
        raise
    if encoder.files_written:
        others = "" if shared is None or out.output or out.output_dir else " and folders beside it"
        note(f"{encoder.files_written:,} files are in {encoder.folder}{others}")
    report_rejects(sink, summary, done)


def _work_through(
    run: PipelineRun, pipe: Any, rows: Iterator[MappedRow], choice: InputChoice, out: Destination
) -> Summary:
    """Run over the rows, with progress, and each row that fails named at once."""
    # Where there is one input, the error at the end says all there is to say.
    if not is_single(run.call, choice):
        run.rejected = RejectReporter()
    with progress_bar(choice, out, run.rows_done) as advance:
        run.advance = advance
        return run.run(pipe, rows, live=choice.is_live)


def _streaming(
    pipe: Any, call: TaskCall, settings: RunSettings, out: Destination, sink: Sink
) -> tuple[RunSettings, Sink]:
    """Show generated text as it comes instead of a table at the end, where it can be."""
    from dataclasses import replace

    from llmkit.cli.results import StreamedSink
    from llmkit.data.sinks import RejectsSink
    from llmkit.inference.streaming import can_stream, text_streamer

    if not can_stream(settings.parameters, pipe):
        return settings, sink
    streamed, rejects = StreamedSink(out.results), out.rejects
    skip_prompt = call.task.name == "conversational"
    streamer = text_streamer(pipe.tokenizer, streamed.show, skip_prompt=skip_prompt)
    settings = replace(settings, parameters={**settings.parameters, "streamer": streamer})
    return settings, RejectsSink(streamed, Path(rejects)) if rejects else streamed
