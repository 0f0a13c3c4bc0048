"""What every command that makes one result of one row does with its results: where they go, and what is said."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llmkit.cli.channels import ResultStream, warn
from llmkit.cli.results import TableSink, format_for
from llmkit.data.atomic import behind_links, check_place
from llmkit.data.formats import FORMATS, TABLE, Format
from llmkit.errors import EXIT_SOME_REJECTED, UsageError
from llmkit.launching.worker import is_begun_again

if TYPE_CHECKING:
    from llmkit.data.encoding import ResultEncoder
    from llmkit.data.row_run import Summary
    from llmkit.data.shared_rows import SharedRows
    from llmkit.data.sinks import Sink
    from llmkit.inference.apply import InputChoice

_MAX_REJECTS_SHOWN = 20
_FOLDER = "llmkit-files"


def refuse_two_ways_on(*, resume: bool, overwrite: bool) -> None:
    """Say that a run is gone on with, or replaced.

    Raises:
        UsageError: both were asked for.
    """
    if resume and overwrite:
        raise UsageError("--resume goes on with a run, and --overwrite replaces it: give one of them.")


_WHAT = {
    "--output": "the output",
    "--plot": "the picture",
    "--html": "the page",
    "--rejects": "that of the rejects",
}


def check_places(output: str | None, rejects: str | None, *, resume: bool, overwrite: bool) -> None:
    """Check what the options say of files, before several processes are started that would each say it.

    Raises:
        UsageError: two of them do not go together, or a folder, a device or a pipe is in the place of a file.
    """
    refuse_two_ways_on(resume=resume, overwrite=overwrite)
    for path in (output, rejects):
        if path:
            check_place(Path(path))
    refuse_one_place({"--output": output, "--rejects": rejects})


def refuse_one_place(files: Mapping[str, str | None]) -> None:
    """Raise UsageError where two options, each with the file it names, would write one file."""
    taken: dict[str, str] = {}
    for option, path in files.items():
        if path:
            # Path.resolve raises where links lead in a circle.
            other = taken.setdefault(os.path.realpath(path), option)
            if other != option:
                raise UsageError(f"{option} {path} is {_WHAT[other]}.", hint="Name another file.")


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
        formats: Mapping[str, Format] = FORMATS,
        *,
        has_resume: bool = True,
    ) -> None:
        check_places(output, rejects, resume=resume, overwrite=overwrite)
        self.results = results
        self.format = format or format_for(results, None)
        self.output = str(behind_links(Path(output))) if output else output
        self.output_dir = output_dir
        self.rejects = rejects
        self.keep_input = keep_input
        self.overwrite = overwrite
        self.resume = resume or is_begun_again()
        self.formats = formats
        self.has_resume = has_resume

    @property
    def is_finished(self) -> bool:
        """Whether a run that is to be resumed has nothing left to do."""
        from llmkit.data.sinks import is_finished

        return bool(self.output) and self.resume and is_finished(Path(self.output or ""))

    def sink(
        self,
        call: dict[str, Any],
        *,
        bare: bool,
        table: Callable[[ResultStream], Sink] = TableSink,
    ) -> Sink:
        """Open the sink; `table` makes the one that draws on a terminal."""
        from llmkit.data.sinks import FileSink, RejectsSink, StreamSink, refuse_existing

        rejects = Path(self.rejects) if self.rejects else None
        if self.output:
            return FileSink(
                Path(self.output),
                self.formats[self.format],
                call=call,
                rejects=rejects,
                overwrite=self.overwrite,
                resume=self.resume,
                has_resume=self.has_resume,
            )
        sink: Sink = (
            table(self.results)
            if self.format == TABLE
            else StreamSink(self.results.file, self.formats[self.format].make(bare), warn=warn)
        )
        if rejects is None:
            return sink
        refuse_existing(rejects, overwrite=self.overwrite)
        return RejectsSink(sink, rejects)

    def sink_of(
        self,
        shared: SharedRows | None,
        call: dict[str, Any],
        *,
        bare: bool,
        table: Callable[[ResultStream], Sink] = TableSink,
    ) -> tuple[Sink, int]:
        """Open the sink of one of several processes, and return it with how many rows are done already."""
        from llmkit.data.shared_rows import NoSink
        from llmkit.data.sinks import FileSink

        if shared is not None and not shared.is_first:
            return NoSink(), shared.begin(0)
        sink = self.sink(call, bare=bare, table=table)
        done = sink.progress.rows if isinstance(sink, FileSink) else 0
        return sink, done if shared is None else shared.begin(done)

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


def refuse_own_input(choice: InputChoice, output: str | None, rejects: str | None = None) -> None:
    """Raise UsageError where the output or the rejects, by their own name or the usual one, would replace the input."""
    from llmkit.data.sinks import rejects_beside

    if output and not rejects:
        rejects = str(rejects_beside(Path(output)))
    if any(each and os.path.exists(each) for each in (output, rejects)):  # noqa: PTH110
        read = choice.read_files
        refuse_to_replace(output, read)
        refuse_to_replace(rejects, read, "--rejects")


def refuse_to_replace(written: str | None, read: Iterable[str | None], option: str = "--output") -> None:
    """Raise UsageError where what an option names would replace one of the files that are read."""
    if not written or not os.path.exists(written):  # noqa: PTH110 - Path.exists raises for a name that is too long
        return
    for path in filter(None, read):
        with suppress(OSError):
            inside = list(Path(path).iterdir()) if os.path.isdir(path) else glob.glob(path)  # noqa: PTH112, PTH207
            if any(os.path.exists(each) and os.path.samefile(each, written) for each in (path, *inside)):  # noqa: PTH110, PTH121
                raise UsageError(f"{option} {written} is the input.", hint="Name another file.")


def progress_bar(
    choice: InputChoice, out: Destination, done: int
) -> AbstractContextManager[Callable[[int], None]]:
    """Show progress over files and datasets, unless results appear on the same terminal and show it themselves."""
    from llmkit.cli.progress import estimate_rows, progress
    from llmkit.data.sources import expand_paths

    files = expand_paths(choice.files) if choice.files and not choice.reads_stdin else []
    if not (files or choice.dataset) or (out.results.is_terminal and not out.output):
        return nullcontext(lambda rows: None)
    return progress(estimate_rows(files) if files else None, done)


class RejectReporter:
    """Names rejected rows on standard error, the first of them one by one."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, text: str) -> None:
        self.count += 1
        if self.count <= _MAX_REJECTS_SHOWN:
            warn(f"rejected: {text}")
        elif self.count == _MAX_REJECTS_SHOWN + 1:
            warn("more rows are rejected; they are not named here.")


def say_how_to_resume(error: BaseException, sink: Sink) -> None:
    """Add to an interruption that what is done is kept."""
    from llmkit.data.sinks import FileSink

    if isinstance(sink, FileSink) and not isinstance(error, Exception) and sink.is_unfinished:
        error.add_note(
            f"{sink.progress.rows:,} rows are done and kept; run the same command with --resume to go on."
        )


def report_rejects(sink: Sink, summary: Summary, done: int) -> None:
    """Say at the end how many rows were rejected, those of the run that was resumed included.

    Args:
        done: rows that the resumed run had done.

    Raises:
        typer.Exit: some were (exit code 3).
    """
    from llmkit.data.sinks import FileSink, RejectsSink

    earlier = sink.progress.rejected - summary.rejected if isinstance(sink, FileSink) else 0
    where = sink.rejects_path if isinstance(sink, FileSink | RejectsSink) else None
    end_with_rejects(summary.rejected + earlier, summary.rejected + summary.done + done, where)


def end_with_rejects(rejected: int, rows: int, where: Path | None) -> None:
    """Say how many of all rows were rejected, and which file has them.

    Raises:
        typer.Exit: some were (exit code 3).
    """
    if rejected:
        they_are = "" if where is None else f"; they are in {where}"
        warn(f"{rejected:,} of {rows:,} rows were rejected{they_are}.")
        raise typer.Exit(EXIT_SOME_REJECTED)
