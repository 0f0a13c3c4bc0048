"""``llmkit pipeline``: any task on any input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmkit.cli import options
from llmkit.cli.channels import ResultStream, claim_stdout, note, set_quiet, warn
from llmkit.cli.parameters import parse_mapping, parse_pairs
from llmkit.cli.results import TableSink, format_for
from llmkit.data.formats import FORMATS, TABLE, check_format, format_of
from llmkit.errors import EXIT_SOME_REJECTED, UsageError
from llmkit.tasks.catalogue import TaskCall, find_task, task_names
from llmkit.tasks.parameter_values import check_types
from llmkit.tasks.parameters import parameters_of

if TYPE_CHECKING:
    from llmkit.data.sinks import Sink
    from llmkit.inference.apply import InputChoice
    from llmkit.inference.runner import RunSettings
    from llmkit.models.loading import LoadOptions

app = typer.Typer(rich_markup_mode=None, add_completion=False)

_MAX_REJECTS_SHOWN = 20
_SEEDS = 2**31  # each window of rows adds its number to the seed, and numpy ends at 2**32


@app.command(
    epilog="Examples:  llmkit pipeline sentiment-analysis 'What a day'   |   cat lines.txt | llmkit pipeline ner   |   "
    "llmkit pipeline text-classification -i reviews.csv --column review -o labels.parquet"
)
def run_task(
    task: Annotated[
        str,
        typer.Argument(
            help="A task or an alias; `llmkit tasks` lists them.", autocompletion=lambda: task_names()
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Texts, or paths of images, audio, video; - is stdin.", show_default=False),
    ] = None,
    model: options.Model = None,
    revision: options.Revision = None,
    input: options.Input = None,  # noqa: A002
    input_format: options.InputFormat = None,
    column: options.Column = None,
    map: options.Map = None,  # noqa: A002
    dataset: options.Dataset = None,
    split: options.Split = None,
    question: Annotated[
        str | None, typer.Option(help="The question, for every row.", show_default=False)
    ] = None,
    context: Annotated[
        str | None, typer.Option(help="The text that holds the answer.", show_default=False)
    ] = None,
    context_file: Annotated[
        str | None, typer.Option(help="The same, from a file.", show_default=False)
    ] = None,
    labels: Annotated[str | None, typer.Option(help="Candidate labels: a,b,c.", show_default=False)] = None,
    table: Annotated[
        str | None, typer.Option(help="The table to ask about: a CSV file.", show_default=False)
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="An image that goes with every text.", show_default=False)
    ] = None,
    text_pair: Annotated[
        str | None, typer.Option(help="The second text of a pair.", show_default=False)
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "-p",
            "--parameter",
            help="key=value, any parameter of the pipeline call. Repeatable.",
            show_default=False,
        ),
    ] = None,
    model_arg: Annotated[
        list[str] | None,
        typer.Option(help="key=value, any argument of the model's loading. Repeatable.", show_default=False),
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Give translations and other generated texts a score.")
    ] = False,
    long: Annotated[
        str, typer.Option(help="Texts longer than the model takes: chunk, truncate, error.")
    ] = "chunk",
    max_length: Annotated[
        int | None, typer.Option(help="Take at most so many tokens of a text.", show_default=False)
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    batch_size: options.BatchSize = "auto",
    seed: options.Seed = None,
    format: options.OutputFormat = None,  # noqa: A002
    output: options.Output = None,
    output_dir: options.OutputDir = None,
    rejects: options.Rejects = None,
    keep_input: options.KeepInput = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    save: Annotated[
        str | None, typer.Option(help="Keep a chat's messages in this file.", show_default=False)
    ] = None,
    trust_remote_code: options.TrustRemoteCode = False,
    allow_pickle: options.AllowPickle = False,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Run a task on texts, images, audio, tables: one line of JSON out per input.

    Inputs are arguments, lines of standard input, files (--input) or a dataset (--dataset).
    """
    set_quiet(quiet)
    call = find_task(task)
    parameters = parse_pairs(parameter or (), "-p")
    taken = parameters_of(call.task)
    taken.check(parameters, call.name)
    check_types(call.task, parameters)
    parameters = taken.arrange(parameters)
    if scores:
        parameters["return_scores"] = _has_scores_to_give(call)
    if output and not format:
        format = format_of(output)  # noqa: A001
    if format:
        check_format(format)
    _check_output(output, format, resume=resume)
    if split and not dataset:
        raise UsageError("--split needs --dataset: only a dataset has splits.")

    from llmkit.inference.apply import InputChoice
    from llmkit.inference.runner import LONG_CHOICES, RunSettings
    from llmkit.models.loading import LoadOptions, check_options

    if long not in LONG_CHOICES:
        raise UsageError(f"--long {long}: use one of {', '.join(LONG_CHOICES)}.")
    settings = RunSettings(
        parameters, _rows_a_batch(batch_size), long, _positive(max_length, "--max-length"), _checked_seed(seed)
    )
    load = LoadOptions(
        device, dtype, trust_remote_code, allow_pickle, parse_pairs(model_arg or (), "--model-arg")
    )
    check_options(load)
    given = {
        "question": question,
        "context": _context(context, context_file),
        "candidate_labels": labels,
        "table": table,
        "image": image,
        "text_pair": text_pair,
    }
    choice = InputChoice(
        arguments=tuple(inputs or ()),
        files=tuple(input or ()),
        format=input_format,
        dataset=dataset,
        split=split,
        column=column,
        mapping=parse_mapping(map),
        constants=_constants(call, given),
    )
    results = claim_stdout()
    if _is_chat(call, choice):
        from llmkit.cli.chat import chat

        chat(call, results, model=model, revision=revision, load=load, settings=settings, save=save)
        return
    if save:
        raise UsageError("--save keeps a chat at the terminal: conversational, without an input.")
    out = _Out(results, format, output, output_dir, rejects, keep_input, overwrite, resume)
    _run(call, choice, settings, load, out, model=model, revision=revision)


class _Out:
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
        self.folder = Path(output_dir or (f"{output}.files" if output else "llmkit-files"))
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
        return StreamSink(self.results.file, FORMATS[self.format].make(bare), rejects)


def _run(
    call: TaskCall,
    choice: InputChoice,
    settings: RunSettings,
    load: LoadOptions,
    out: _Out,
    *,
    model: str | None,
    revision: str | None,
) -> None:
    from llmkit.cli.loading import load_quietly
    from llmkit.data.encoding import ResultEncoder
    from llmkit.data.sinks import FileSink, is_finished
    from llmkit.data.sources import expand_paths
    from llmkit.inference.apply import PipelineRun, fingerprint, read_rows
    from llmkit.tasks.resolve import resolve_for

    if out.output and out.resume and is_finished(Path(out.output)):
        note(f"{out.output} is finished already.")
        return
    rows = read_rows(call.task, choice)

    resolved = resolve_for(call, model, revision, allow_pickle=load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    identity = fingerprint(
        call, resolved, load, settings, choice, format=out.format, keep_input=out.keep_input
    )
    sink = out.sink(identity, bare=_is_single(call, choice))
    done = sink.progress.rows if isinstance(sink, FileSink) else 0
    files = expand_paths(choice.files) if choice.files and not choice.reads_stdin else []
    rejected = _RejectReporter()
    # Where there is one input, or none but the arguments, the error at the end says all there is to say.
    names_rows = bool(choice.files or choice.is_live or choice.dataset) and not _is_single(call, choice)
    try:
        pipe = load_quietly(call, resolved, load)
    except BaseException:
        sink.close(finished=False)
        raise
    try:
        if out.format == TABLE and call.task.streams and _is_single(call, choice):
            settings, sink = _streaming(pipe, call, settings, out.results, sink)
        with _bar(files, choice, out, done) as advance:
            run = PipelineRun(
                call,
                settings,
                sink,
                ResultEncoder(out.folder),
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
    if run.encoder.files_written:
        note(f"{run.encoder.files_written:,} files are in {out.folder}")
    earlier = sink.progress.rejected - summary.rejected if isinstance(sink, FileSink) else 0
    if summary.rejected or earlier:
        where = f"; they are in {sink.rejects_path}" if isinstance(sink, FileSink) else ""
        warn(
            f"{summary.rejected + earlier:,} of {summary.rejected + summary.done + done:,} rows were rejected{where}."
        )
        raise typer.Exit(EXIT_SOME_REJECTED)


def _bar(
    files: Sequence[str], choice: InputChoice, out: _Out, done: int
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


def _say_how_to_resume(error: BaseException, sink: Sink, out: _Out) -> None:
    from llmkit.data.sinks import FileSink

    if isinstance(sink, FileSink) and not isinstance(error, Exception) and sink.progress.rows:
        error.add_note(
            f"{sink.progress.rows:,} rows are done and kept; run the same command with --resume to go on."
        )


def _check_output(output: str | None, format: str | None, *, resume: bool) -> None:  # noqa: A002
    if resume and not output:
        raise UsageError("--resume needs --output: only a file can be gone on with.")
    if output and format == TABLE:
        raise UsageError("--format table is for a terminal; a file takes jsonl, json, csv, tsv or parquet.")
    if not output and format in FORMATS and FORMATS[format].convert is not None:
        raise UsageError(f"--format {format} needs a file.", hint=f"Name one: --output results.{format}")


def _rows_a_batch(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--batch-size {text}: use auto, or a number from 1.")
    return int(text)


def _positive(number: int | None, option: str) -> int | None:
    if number is not None and number < 1:
        raise UsageError(f"{option} {number}: use a number from 1.")
    return number


def _checked_seed(seed: int | None) -> int | None:
    if seed is not None and not 0 <= seed < _SEEDS:
        raise UsageError(f"--seed {seed}: use a number from 0 to {_SEEDS - 1}.")
    return seed


def _has_scores_to_give(call: TaskCall) -> bool:
    if "return_scores" not in parameters_of(call.task).own:
        raise UsageError(f"--scores is for generated texts; {call.name} has a score in its result, or none.")
    return True


def _context(text: str | None, path: str | None) -> str | None:
    if path is None:
        return text
    if text is not None:
        raise UsageError("the context is given twice: by --context and by --context-file.")
    from llmkit.data.media import load_text

    return load_text(path)


_FIELD_OF_OPTION = {"question": ("question", "query")}
_OPTION_OF_FIELD = {
    "candidate_labels": "--labels",
    "table": "--table",
    "image": "--image",
    "text_pair": "--text-pair",
    "context": "--context",
    "question": "--question",
}


def _constants(call: TaskCall, given: dict[str, str | None]) -> dict[str, str]:
    """Match options to the task's fields.

    Raises:
        UsageError: the task has no such field.
    """
    constants = {}
    fields = {each.name for each in call.task.fields}
    for name, value in given.items():
        if value is None:
            continue
        target = next((each for each in _FIELD_OF_OPTION.get(name, (name,)) if each in fields), None)
        if target is None:
            raise UsageError(
                f"{_OPTION_OF_FIELD[name]}: {call.name} takes no {name.replace('_', ' ')}.",
                hint=f"It takes: {', '.join(sorted(fields))}.",
            )
        constants[target] = value
    return constants


def _is_single(call: TaskCall, choice: InputChoice) -> bool:
    """Tell whether the call can have one input only, by its form: then JSON is that result, not an array."""
    if choice.files or choice.dataset or choice.is_live:
        return (
            bool(choice.constants) and not choice.arguments and _gives_all(call, choice) and not choice.files
        )
    from llmkit.inference.rows import argument_rows

    return len(list(argument_rows(call.task, choice.arguments, choice.constants))) == 1


def _gives_all(call: TaskCall, choice: InputChoice) -> bool:
    from llmkit.inference.rows import open_fields

    return not open_fields(call.task, choice.constants)


def _is_chat(call: TaskCall, choice: InputChoice) -> bool:
    """A conversation with nobody's words yet, at a terminal, is a chat."""
    import sys

    return (
        call.task.name == "conversational"
        and not choice.arguments
        and not choice.files
        and not choice.dataset
        and sys.stdin is not None
        and sys.stdin.isatty()
    )
