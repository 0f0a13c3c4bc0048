"""How `params`, `evaluate`, `runs` and others write an answer: the formats, and where the bytes go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.channels import ResultStream
from llmkit.cli.drawing import look_of
from llmkit.data.atomic import explained_write, write_whole
from llmkit.data.formats import check_format, format_of

if TYPE_CHECKING:
    from llmkit.cli.sheets import Sheet


@dataclass(frozen=True, slots=True)
class Answer:
    """What was asked for, in the three shapes that formats are made of.

    Attributes:
        sheets: makes it for a person.
        objects: makes it for a program, an object a model; `single` says that the call can have only one.
        rows: makes it as rows of one table.
        drawing: makes what a terminal shows, where that is more than the sheets.
        kept: returns the text that is kept for a format (and a width), or makes it.
    """

    sheets: Callable[[], Sequence[Sheet]]
    objects: Callable[[], Iterable[Mapping[str, Any]]]
    rows: Callable[[], Iterable[Mapping[str, Any]]]
    single: bool = False
    drawing: Callable[[], Any] | None = None
    kept: Callable[[str, Callable[[], str]], str] = lambda look, make: make()


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """A row of the table of formats: its name, the endings of its files, and how it is made."""

    name: str
    endings: tuple[str, ...]
    make: Callable[[Answer, ResultStream], str]


def _table(answer: Answer, results: ResultStream) -> str:
    from llmkit.cli.drawing import rendered
    from llmkit.cli.sheets import drawn

    shown = drawn(answer.sheets()) if answer.drawing is None else answer.drawing()
    return rendered(shown, results).decode()


def _markdown(answer: Answer, results: ResultStream) -> str:
    from llmkit.cli.sheets import as_markdown

    return as_markdown(answer.sheets())


def _latex(answer: Answer, results: ResultStream) -> str:
    from llmkit.cli.sheets import as_latex

    return as_latex(answer.sheets())


def _structured(name: str, part: str) -> Callable[[Answer, ResultStream], str]:
    def make(answer: Answer, results: ResultStream) -> str:
        from llmkit.data.formats import FORMATS

        values = getattr(answer, part)()
        formatter = FORMATS[name].make(answer.single and part == "objects")
        encoded = b"".join(formatter.encode(value, index) for index, value in enumerate(values))
        return (formatter.begin() + encoded + formatter.end()).decode()

    return make


FORMATS = {
    row.name: row
    for row in (
        AnswerFormat("table", (".txt",), _table),
        AnswerFormat("jsonl", (".jsonl", ".ndjson"), _structured("jsonl", "objects")),
        AnswerFormat("json", (".json",), _structured("json", "objects")),
        AnswerFormat("csv", (".csv",), _structured("csv", "rows")),
        AnswerFormat("tsv", (".tsv", ".tab"), _structured("tsv", "rows")),
        AnswerFormat("markdown", (".md", ".markdown"), _markdown),
        AnswerFormat("latex", (".tex",), _latex),
    )
}


def checked_format(name: str | None, output: str | None, *, overwrite: bool) -> str | None:
    """Return the format that was named, or that the output's ending stands for; None where nothing says.

    Raises:
        UsageError: there is no such format, or none goes by the ending.
        OutputExistsError: the file is there already.
    """
    chosen = format_of(output, FORMATS) if name is None and output is not None else name
    if name is not None:
        check_format(name, FORMATS)
    if output is not None:
        _refuse_existing(Path(output), overwrite=overwrite)
    return chosen


def deliver(
    answer: Answer, results: ResultStream, format_name: str | None, output: str | None, *, overwrite: bool
) -> None:
    """Write an answer to standard output, or to a file that is whole or not there.

    Raises:
        OutputExistsError: the file is there already; `checked_format` says it before what takes long.
        OutputError: it cannot be written.
    """
    chosen = FORMATS[format_name or ("table" if results.is_terminal and output is None else "jsonl")]
    place = results if output is None else ResultStream(results.file, False)
    look = f"{chosen.name} {look_of(place)}" if chosen.name == "table" else chosen.name
    content = answer.kept(look, lambda: chosen.make(answer, place)).encode()
    if output is None:
        put(content, results)
    else:
        write_to(Path(output), content, overwrite=overwrite)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    from llmkit.data.sinks import refuse_existing

    refuse_existing(path, overwrite=overwrite)


def write_to(path: Path, content: bytes, *, overwrite: bool) -> None:
    """Write a file in one step.

    Raises:
        OutputExistsError: it is there already.
        OutputError: it cannot be written.
    """
    _refuse_existing(path, overwrite=overwrite)
    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def put(content: bytes, results: ResultStream) -> None:
    """Write to standard output.

    Raises:
        OutputError: it cannot be written; a closed pipe passes through as BrokenPipeError.
    """
    with explained_write("standard output"):
        results.file.write(content)
        results.file.flush()
