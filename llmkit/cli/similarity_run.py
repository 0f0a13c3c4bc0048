"""Running one call of ``llmkit similarity``: which texts are compared with which, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.answers import Answer, checked_format, deliver, write_to
from llmkit.cli.channels import ResultStream, note
from llmkit.cli.destination import (
    Destination,
    RejectReporter,
    check_places,
    end_with_rejects,
    progress_bar,
    refuse_one_place,
    refuse_own_input,
    refuse_to_replace,
    report_rejects,
    say_how_to_resume,
)
from llmkit.cli.embed_run import TEXT_TASK, load_for_rows, say_cut
from llmkit.data.atomic import explained_write
from llmkit.data.encoding import dump_json
from llmkit.data.formats import chosen_format
from llmkit.errors import DataError, UsageError
from llmkit.tasks.catalogue import Field, Shape, Task
from llmkit.tasks.inputs import FieldValues, RowError, compose

if TYPE_CHECKING:
    from llmkit.data.records import Row
    from llmkit.embeddings.pairs import PairRow
    from llmkit.embeddings.settings import EmbedSettings
    from llmkit.inference.apply import InputChoice
    from llmkit.inference.rows import MappedRow
    from llmkit.models.loading import LoadOptions

_EXAMPLE = "llmkit similarity 'A cat sleeps.' 'A kitten naps.'"
_TEXTS = Task("similarity", "", "text", (Field("a"), Field("b", required=False)), _EXAMPLE)
_PAIRS = replace(_TEXTS, fields=(Field("a"), Field("b")), shape=Shape.PAIR)
# How the two columns of well-known sets of pairs are called.
_PAIR_COLUMNS = (
    ("a", "b"),
    ("sentence1", "sentence2"),
    ("sentence_A", "sentence_B"),
    ("text1", "text2"),
    ("text_a", "text_b"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text", "text_pair"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be compared, and how.

    Attributes:
        batch_size: most texts a batch; None for a budget of tokens.
        plot: a file for the picture.
    """

    choice: InputChoice
    settings: EmbedSettings
    load: LoadOptions
    measure: str
    model: str | None
    revision: str | None
    batch_size: int | None
    plot: str | None


def run_similarity(
    call: Call,
    results: ResultStream,
    format_name: str | None,
    output: str | None,
    rejects: str | None,
    *,
    keep_input: bool,
    overwrite: bool,
    resume: bool,
) -> None:
    """Run a call whose settings have been checked.

    Raises:
        typer.Exit: some rows were rejected (exit code 3).
        LlmkitError: it cannot be done; see `PairRun.run` and `comparing.compare`.
    """
    from llmkit.inference.apply import read_rows

    refuse_own_input(call.choice, output, rejects)
    call = replace(call, choice=_with_known_columns(call.choice))
    rows = read_rows(_TEXTS, call.choice)
    first = next(rows)
    rows = chain([first], rows)
    if call.choice.mapping.get("b") or (not isinstance(first[1], Exception) and "b" in first[1]):
        format_name = chosen_format(format_name, output, resume=resume)
        _check_pairs(call)
        _run_pairs(
            call,
            rows,
            Destination(results, format_name, output, None, rejects, keep_input, overwrite, resume),
        )
        return
    for option, given in (("--resume", resume), ("--keep-input", keep_input)):
        if given:
            raise UsageError(f"{option} is for pairs from a file; a matrix is made in one go.")
    check_places(output, rejects, resume=resume, overwrite=overwrite)
    refuse_one_place({"--output": output, "--plot": call.plot, "--rejects": rejects})
    refuse_to_replace(call.plot, call.choice.files, "--plot")
    chosen = checked_format(format_name, output, overwrite=overwrite)
    _run_matrix(call, rows, results, chosen, output, rejects, overwrite=overwrite)


def _with_known_columns(choice: InputChoice) -> InputChoice:
    """Return the choice with the columns of the pairs, where a file has them under a well-known name."""
    from llmkit.data.records import Record
    from llmkit.data.sources import expand_paths, read_file

    if choice.mapping or choice.column or not choice.files or choice.reads_stdin:
        return choice
    path = expand_paths(choice.files)[0]
    if not Path(path).is_file():  # a pipe is read once
        return choice
    first = next((row for row in read_file(path, format=choice.format) if isinstance(row, Record)), None)
    columns = list(first.values) if first is not None else []
    for a, b in _PAIR_COLUMNS:
        if a in columns and b in columns:
            return replace(choice, mapping={"a": a, "b": b})
    if len(columns) > 1:
        raise DataError(
            f"which columns of {path} are compared? It has {', '.join(columns)}.",
            hint="--map a=COLUMN,b=COLUMN for the pairs of each row, --column NAME for one column's texts.",
        )
    return choice


def _check_pairs(call: Call) -> None:
    if call.plot:
        raise UsageError(
            "--plot draws texts that are compared each with each other; a file of pairs has none."
        )
    if call.settings.effective_level != "sentence" and call.settings.word is None:
        raise UsageError(
            f"--level {call.settings.effective_level} gives several vectors a text; a pair takes one of each.",
            hint="--word WORD compares that word's vectors.",
        )


def _find(call: Call) -> Any:
    from llmkit.embeddings.api import find_encoder

    resolved = find_encoder(call.model, call.revision, allow_pickle=call.load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    return resolved


def _run_pairs(call: Call, rows: Iterator[MappedRow], out: Destination) -> None:
    from llmkit.data.sinks import FileSink
    from llmkit.embeddings.pairs import PairRun
    from llmkit.models.loading import model_identity
    from llmkit.models.native_attention import compile_ahead

    if out.is_finished:
        note(f"{out.output} is finished already.")
        return
    resolved = _find(call)
    identity = {
        **model_identity(resolved, call.load),
        **asdict(call.settings),
        **call.choice.identity(),
        "measure": call.measure,
        "batch_size": call.batch_size,
        "format": out.format,
        "keep_input": out.keep_input,
    }
    sink = out.sink(identity, bare=False)
    live = call.choice.is_live
    if call.choice.may_be_long:
        compile_ahead(call.load.device)
    try:
        pairs = _pairs(rows)
        encoder, pairs = load_for_rows(resolved, call.settings, call.load, pairs, live=live, texts_of=_both)
    except BaseException:
        sink.close(finished=False)
        raise
    done = sink.progress.rows if isinstance(sink, FileSink) else 0
    try:
        with progress_bar(call.choice, out, done) as advance:
            run = PairRun(
                encoder,
                sink,
                call.measure,
                call.batch_size,
                out.keep_input,
                done,
                advance,
                RejectReporter(),
            )
            summary = run.run(pairs, live=live)
    except BaseException as error:
        say_how_to_resume(error, sink)
        raise
    say_cut(run.cut, encoder)
    report_rejects(sink, summary, done)


def _both(pair: tuple[str, str] | Exception) -> tuple[str, ...]:
    return () if isinstance(pair, Exception) else pair


def _pairs(rows: Iterator[MappedRow]) -> Iterator[PairRow]:
    for row, values in rows:
        if isinstance(values, Exception):
            yield row, values
            continue
        try:
            one, other = compose(_PAIRS, values).value
            yield row, (one, other)
        except RowError as error:
            yield row, error


def _run_matrix(
    call: Call,
    rows: Iterator[MappedRow],
    results: ResultStream,
    format_name: str | None,
    output: str | None,
    rejects: str | None,
    *,
    overwrite: bool,
) -> None:
    from llmkit.cli.similarity_views import matrix_object, matrix_rows, matrix_sheets, pair_objects, picture
    from llmkit.data.sinks import refuse_existing, rejects_beside
    from llmkit.embeddings.comparing import compare

    rejects_path = Path(rejects) if rejects else rejects_beside(Path(output)) if output else None
    for path in (call.plot, rejects_path):
        if path:
            refuse_existing(Path(path), overwrite=overwrite)

    def keep(rows: list[dict[str, Any]]) -> None:  # also where nothing is left to compare
        if rejects_path is not None and rows:
            lines = "".join(f"{dump_json(row)}\n" for row in rows)
            write_to(rejects_path, lines.encode(), overwrite=overwrite)

    embeddings, rejected = _embedded(call, rows, keep)
    comparison = compare(embeddings, call.measure)
    chosen = format_name or ("table" if results.is_terminal and output is None else "jsonl")
    is_document = chosen == "json"
    answer = Answer(
        lambda: matrix_sheets(comparison, results if chosen == "table" else None),
        (lambda: [matrix_object(comparison)]) if is_document else (lambda: pair_objects(comparison)),
        lambda: matrix_rows(comparison),
        single=is_document,
    )
    if call.plot:
        content = picture(comparison, Path(call.plot))
        write_to(Path(call.plot), content, overwrite=overwrite)
    deliver(answer, results, chosen, output, overwrite=overwrite)
    if rejects_path is not None and not rejected:  # what an earlier call left is no longer true
        with explained_write(rejects_path):
            rejects_path.unlink(missing_ok=True)
    end_with_rejects(len(rejected), len(embeddings) + len(rejected), rejects_path)


def _embedded(
    call: Call, rows: Iterator[MappedRow], keep: Callable[[list[dict[str, Any]]], None]
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the vectors of all rows, and the rows that have none, which `keep` takes before anything else fails."""
    from llmkit.data.row_run import as_rejected, failure_of, plain_input, reject_reason
    from llmkit.embeddings.comparing import MOST_COMPARED
    from llmkit.embeddings.embedding import Embedding, embed_texts

    given: list[tuple[Row, str | Exception]] = []
    for row, values in rows:
        try:
            given.append((row, values if isinstance(values, Exception) else _text(values)))
        except RowError as error:
            given.append((row, error))
        if len(given) > MOST_COMPARED:
            raise UsageError(
                f"more than {MOST_COMPARED:,} texts are too many to compare each with each other.",
                hint="llmkit search finds the nearest of any number; --map a=COLUMN,b=COLUMN compares pairs.",
            )
    texts = [text for _, text in given if isinstance(text, str)]
    if given and not texts:
        failed = [(row, text) for row, text in given if isinstance(text, Exception)]
        keep(
            [
                as_rejected(row, reject_reason(error), plain_input(row, index))
                for index, (row, error) in enumerate(failed)
            ]
        )
        raise failure_of([(row.place, error) for row, error in failed])
    if len(given) < 2 and call.settings.effective_level == "sentence":
        raise UsageError(
            "there is one text, and nothing to compare it with.", hint=f"For example: {_EXAMPLE}"
        )
    encoder, _ = load_for_rows(_find(call), call.settings, call.load, iter([(None, each) for each in texts]))
    found = iter(embed_texts(encoder, texts, encoder.tokenizer.tokenize(texts), batch_size=call.batch_size))
    outcomes = [(row, next(found) if isinstance(text, str) else text) for row, text in given]
    embeddings = [each for _, each in outcomes if isinstance(each, Embedding)]
    reporter, rejected = RejectReporter(), []
    for index, (row, each) in enumerate(outcomes):
        if isinstance(each, Exception):
            reporter(f"{row.place}: {reject_reason(each)}")
            rejected.append(as_rejected(row, reject_reason(each), plain_input(row, index)))
    keep(rejected)
    say_cut(sum(each.cut > 0 for each in embeddings), encoder, of=len(embeddings))
    return embeddings, rejected


def _text(values: FieldValues) -> str:
    text = FieldValues({"text": values.get("a")}, {"text": values.columns.get("a", "text")})
    return str(compose(TEXT_TASK, text).value)
