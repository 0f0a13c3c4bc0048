"""Running one call of ``llmkit pipeline``: the sink, the model, progress, and what is said at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llmkit.cli.channels import ResultStream, note, warn
from llmkit.cli.pipeline_call import is_single
from llmkit.cli.results import TableSink, format_for
from llmkit.data.formats import FORMATS, TABLE
from llmkit.errors import EXIT_SOME_REJECTED, UsageError
from llmkit.tasks.catalogue import TaskCall

if TYPE_CHECKING:
    from llmkit.data.encoding import ResultEncoder
    from llmkit.data.sinks import Sink
    from llmkit.inference.apply import InputChoice
    from llmkit.inference.runner import RunSettings
    from llmkit.models.loading import LoadOptions

_MAX_REJECTS_SHOWN = 20
_FOLDER = "llmkit-files"


class Destination:
    """Where the results of one call go, as the options said."""

    def __init__(
        self,
        results: ResultStream,
        format: str | None,  # noqa: A002
        output: str | None,
        output_dir: str | None,
        rejects: str | None,
        keep_input: bool,
        overwrite: bool,
        resume: bool,
    ) -> None:
        self.results = results
        self.format = format or format_for(results, None)
        self.output = output
        self.output_dir = output_dir
        self.rejects = rejects
        self.keep_input = keep_input
        self.overwrite = overwrite
        self.resume = resume

    def sink(self, call: dict[str, Any], *, bare: bool) -> Sink:
        """Open the sink."""
        from llmkit.data.sinks import StreamSink, open_file_sink, refuse_existing

        if self.output:
            return open_file_sink(
                self.output,
                self.format,
                call=call,
                rejects=self.rejects,
                overwrite=self.overwrite,
                resume=self.resume,
            )
        if self.format == TABLE:
            return TableSink(self.results)
        rejects = Path(self.rejects) if self.rejects else None
        if rejects:
            refuse_existing(rejects, overwrite=self.overwrite)
        return StreamSink(self.results.file, FORMATS[self.format].make(bare), rejects, warn=warn)

    def encoder(self) -> ResultEncoder:
        """Return what makes results JSON, with a folder of its own for images, audio and arrays.

        Raises:
            OutputExistsError: the folder holds what an earlier run made.
        """
        from llmkit.data.encoding import ResultEncoder, refuse_files_of_another_run

        if not self.output and not self.output_dir:
            return ResultEncoder(Path(_FOLDER), numbered=not self.overwrite)
        folder = Path(self.output_dir or f"{self.output}.files")
        if not self.overwrite and not self.resume:
            refuse_files_of_another_run(folder)
        return ResultEncoder(folder)


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
    from llmkit.cli.loading import load_quietly
    from llmkit.data.sinks import FileSink, is_finished
    from llmkit.data.sources import expand_paths
    from llmkit.inference.apply import PipelineRun, fingerprint, read_rows
    from llmkit.tasks.resolve import resolve_for

    if out.output and out.resume and is_finished(Path(out.output)):
        note(f"{out.output} is finished already.")
        return
    _refuse_own_input(out.output, choice)
    rows = read_rows(call.task, choice)

    resolved = resolve_for(call, model, revision, allow_pickle=load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    identity = fingerprint(
        call, resolved, load, settings, choice, format=out.format, keep_input=out.keep_input
    )
    sink = out.sink(identity, bare=is_single(call, choice))
    done = sink.progress.rows if isinstance(sink, FileSink) else 0
    files = expand_paths(choice.files) if choice.files and not choice.reads_stdin else []
    rejected = _RejectReporter()
    # Where there is one input, the error at the end says all there is to say.
    names_rows = not is_single(call, choice)
    try:
        encoder = out.encoder()
        pipe = load_quietly(call, resolved, load)
    except BaseException:
        sink.close(finished=False)
        raise
    try:
        if out.format == TABLE and call.task.streams and is_single(call, choice):
            settings, sink = _streaming(pipe, call, settings, out.results, sink)
        with _bar(files, choice, out, done) as advance:
            run = PipelineRun(
                call,
                settings,
                sink,
                encoder,
                keep_input=out.keep_input,
                rows_done=done,
                notes=note,
                advance=advance,
                rejected=rejected if names_rows else lambda text: None,
            )
            summary = run.run(pipe, rows, live=choice.is_live)
    except BaseException as error:
        _say_how_to_resume(error, sink, out)
        raise
    if encoder.files_written:
        note(f"{encoder.files_written:,} files are in {encoder.folder}")
    earlier = sink.progress.rejected - summary.rejected if isinstance(sink, FileSink) else 0
    if summary.rejected or earlier:
        where = f"; they are in {sink.rejects_path}" if isinstance(sink, FileSink) else ""
        warn(
            f"{summary.rejected + earlier:,} of {summary.rejected + summary.done + done:,} rows were rejected{where}."
        )
        raise typer.Exit(EXIT_SOME_REJECTED)


def _refuse_own_input(output: str | None, choice: InputChoice) -> None:
    """Raise UsageError where the output would replace the input."""
    from llmkit.data.sources import expand_paths

    if not output or not choice.files or choice.reads_stdin or not Path(output).exists():
        return
    for path in expand_paths(choice.files):
        if Path(path).samefile(output):
            raise UsageError(f"--output {output} is the input.", hint="Name another file.")


def _bar(
    files: Sequence[str], choice: InputChoice, out: Destination, done: int
) -> AbstractContextManager[Callable[[int], None]]:
    """Show progress over files and datasets, unless results appear on the same terminal and show it themselves."""
    from llmkit.cli.progress import estimate_rows, progress

    if not (files or choice.dataset) or (out.results.is_terminal and not out.output):
        return nullcontext(lambda rows: None)
    return progress(estimate_rows(files) if files else None, done)


def _streaming(
    pipe: Any, call: TaskCall, settings: RunSettings, results: ResultStream, sink: Sink
) -> tuple[RunSettings, Sink]:
    """Show generated text as it comes instead of a table at the end, where it can be."""
    from dataclasses import replace

    from llmkit.cli.results import StreamedSink
    from llmkit.inference.streaming import can_stream, text_streamer

    if not can_stream(settings.parameters, pipe):
        return settings, sink
    streamed = StreamedSink(results)
    skip_prompt = call.task.name == "conversational"
    streamer = text_streamer(pipe.tokenizer, streamed.show, skip_prompt=skip_prompt)
    return replace(settings, parameters={**settings.parameters, "streamer": streamer}), streamed


class _RejectReporter:
    """Names rejected rows on standard error, the first of them one by one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: str) -> None:
        self.count += 1
        if self.count <= _MAX_REJECTS_SHOWN:
            warn(f"rejected: {text}")
        elif self.count == _MAX_REJECTS_SHOWN + 1:
            warn("more rows are rejected; they are not named here.")


def _say_how_to_resume(error: BaseException, sink: Sink, out: Destination) -> None:
    from llmkit.data.sinks import FileSink

    if isinstance(sink, FileSink) and not isinstance(error, Exception) and sink.progress.rows:
        error.add_note(
            f"{sink.progress.rows:,} rows are done and kept; run the same command with --resume to go on."
        )
