"""What ``llmkit search`` looks through: a file of vectors, or one of texts whose vectors are made once and kept."""

from __future__ import annotations

import atexit
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.cli.channels import note, warn
from llmkit.cli.destination import RejectReporter
from llmkit.cli.embed_run import load_for_rows, say_cut, texts_of_rows
from llmkit.cli.loading import quiet_libraries
from llmkit.cli.progress import estimate_rows, progress
from llmkit.embeddings.vector_formats import VECTORS
from llmkit.errors import DataError, OutputError, UsageError
from llmkit.models.embedded import EMBEDDED_NAME
from llmkit.tasks.catalogue import find_task

if TYPE_CHECKING:
    from llmkit.cli.search_run import SearchCall
    from llmkit.embeddings.settings import EmbedSettings
    from llmkit.embeddings.vector_files import VectorFile
    from llmkit.inference.apply import InputChoice
    from llmkit.models.resolved import ResolvedModel

Beside = tuple[str | None, dict[str, Any]]
_SAME_MODEL = {"sentence-transformers/all-MiniLM-L6-v2": EMBEDDED_NAME}
_TEXT_PROMPTS = ("document", "passage", "corpus")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Vectors with the model that made them and what stands beside them.

    Attributes:
        rows: goes through each row's text (None where there is none) and columns.
    """

    vectors: VectorFile
    resolved: ResolvedModel
    settings: EmbedSettings
    rows: Callable[[], Iterable[Beside]] | None

    def beside(self, wanted: set[int]) -> dict[int, Beside]:
        """Return the texts and columns of some rows.

        Raises:
            DataError: the file of the texts has fewer rows than there are vectors.
        """
        from llmkit.embeddings.search import rows_at

        if self.rows is None:
            return {}
        found = dict(rows_at(self.rows(), wanted))
        missing = wanted - found.keys()
        if missing:
            raise DataError(
                f"there is no text of row {min(missing)}: --texts has fewer rows than {self.vectors.path}."
            )
        return found


def open_corpus(call: SearchCall) -> Corpus:
    """Open what a call looks through; texts are embedded where that has not been done.

    Raises:
        DataError: the file is not there, damaged, or holds neither texts nor vectors.
        UsageError: options that do not fit it, or another model than the one that made the vectors.
        ModelError: the model cannot be had.
    """
    from llmkit.data.sources import expand_paths
    from llmkit.embeddings.vector_files import open_vectors

    if call.among == "-":
        raise UsageError("--in - : standard input is for the queries; --in is a file.")
    paths = expand_paths([call.among])
    if len(paths) > 1:
        raise UsageError(f"--in {call.among}: that are {len(paths):,} files; search looks through one.")
    vectors = open_vectors(paths[0], call.vector_column or VECTORS)
    if vectors is not None:
        return _of_vectors(call, vectors)
    if call.vector_column:
        raise DataError(f"{paths[0]} has no column {call.vector_column!r} of vectors.")
    return _of_texts(call, paths[0])


def _of_vectors(call: SearchCall, vectors: VectorFile) -> Corpus:
    from llmkit.embeddings.search import made_with

    if vectors.rows == 0 or not vectors.dimension:
        raise DataError(f"{vectors.path} has no vectors.")
    settings = made_with(call.settings, vectors)
    made_by = vectors.metadata.get("model")
    resolved = _resolve(call, made_by)
    if made_by and call.model and not _is_same(made_by, resolved.name):
        raise UsageError(
            f"{vectors.path} was made by {made_by}, and --model is {resolved.name}: their vectors cannot be compared.",
            hint="Leave --model out, or embed the texts anew.",
        )
    return Corpus(vectors, resolved, settings, _rows_beside(call, vectors))


def _resolve(call: SearchCall, made_by: str | None) -> ResolvedModel:
    from llmkit.embeddings.api import find_encoder

    resolved = find_encoder(call.model or made_by, call.revision, allow_pickle=call.load.allow_pickle)
    if resolved.note:
        note(resolved.note)
    return resolved


def _is_same(one: str, other: str) -> bool:
    """Whether two names are of the same model: the embedded one has two, and a folder may be written in many ways."""
    first, second = (_SAME_MODEL.get(name, name) for name in (one, other))
    return first == second or (Path(first).is_dir() and Path(first).resolve() == Path(second).resolve())


def _rows_beside(call: SearchCall, vectors: VectorFile) -> Callable[[], Iterable[Beside]] | None:
    if call.texts:
        if (
            vectors.columns is not None
            and call.column is None
            and "text" in next(iter(vectors.columns()), {})
        ):
            raise UsageError(f"--texts: {vectors.path} has the texts beside its vectors.")
        choice = _text_choice(call, call.texts)
        return lambda: _text_rows(choice)
    if vectors.columns is None:
        return None
    columns = vectors.columns
    name = call.column or "text"
    if call.column and call.column not in next(iter(columns()), {}):
        raise DataError(f"no column {call.column!r} in {vectors.path}.")
    return lambda: ((_as_text(row.get(name)), row) for row in columns())


def _as_text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)


def _text_choice(call: SearchCall, path: str) -> InputChoice:
    from llmkit.inference.apply import InputChoice

    return InputChoice(files=(path,), column=call.column)


def _text_rows(choice: InputChoice) -> Iterator[Beside]:
    from llmkit.inference.apply import read_rows

    for row, values in read_rows(find_task("feature-extraction").task, choice):
        text = None if isinstance(values, Exception) else _as_text(values.get("text"))
        yield text, getattr(row, "values", {})


def _of_texts(call: SearchCall, path: str) -> Corpus:
    """Return the vectors of a file of texts: those that are kept, or made now."""
    from llmkit.embeddings.kept_vectors import kept_path, mark_used
    from llmkit.embeddings.vector_files import open_vectors
    from llmkit.inference.apply import read_rows
    from llmkit.models.loading import model_identity

    if not Path(path).is_file():
        raise UsageError(
            f"--in {path} is a pipe, and its rows are read twice.", hint="Write it to a file first."
        )
    if call.texts:
        raise UsageError(f"--texts is for vectors that have none; {path} is a file of texts.")
    choice = _text_choice(call, path)
    # A column that is not there shows now, before a model is loaded.
    rows = read_rows(find_task("feature-extraction").task, choice)
    resolved = _resolve(call, None)
    settings = call.settings
    if settings.prompt is None:
        settings = replace(settings, prompt=_text_prompt(resolved))
    identity = {
        **model_identity(resolved, call.load),
        **asdict(settings),
        **replace(choice, files=(str(Path(path).resolve()),)).identity(),
        "batch_size": call.batch_size,
    }
    kept = kept_path(identity)
    if kept.exists():
        note(f"the vectors of {path} are kept from before, in {kept}")
    else:
        try:
            _embed(call, rows, resolved, settings, kept, identity)
            note(f"the vectors of {path} are kept in {kept}")
        except OutputError as error:  # the cache is a convenience
            warn(f"the vectors of {path} are not kept: {error.message}")
            kept = _place_of_one_call() / kept.name
            rows = read_rows(find_task("feature-extraction").task, choice)
            _embed(call, rows, resolved, settings, kept, identity)
    mark_used(kept)
    vectors = open_vectors(str(kept))
    assert vectors is not None
    return Corpus(vectors, resolved, settings, lambda: _text_rows(choice))


def _place_of_one_call() -> Path:
    """Make a folder for vectors that nothing keeps; it goes when the command ends."""
    folder = tempfile.TemporaryDirectory(prefix="llmkit-search-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _text_prompt(resolved: ResolvedModel) -> str | None:
    with quiet_libraries():
        from llmkit.models.sentence_modules import model_prompts

        prompts = model_prompts(resolved)
    return next((prompts[name] for name in _TEXT_PROMPTS if name in prompts), None)


def _embed(
    call: SearchCall,
    rows: Iterator[Any],
    resolved: ResolvedModel,
    settings: EmbedSettings,
    kept: Path,
    identity: dict[str, Any],
) -> None:
    """Embed the texts into the file where their vectors are kept; what a killed run began is gone on with."""
    from llmkit.data.sinks import FileSink
    from llmkit.embeddings.run import EmbedRun
    from llmkit.embeddings.vector_formats import vector_formats
    from llmkit.models.native_attention import compile_ahead

    format_ = vector_formats({}, by_unit=False)["npy"]
    is_begun = kept.with_name(f"{kept.name}.progress").exists()
    sink = FileSink(kept, format_, call=identity, overwrite=not is_begun, resume=is_begun, has_resume=False)
    compile_ahead(call.load.device)
    try:
        encoder, texts = load_for_rows(resolved, settings, call.load, texts_of_rows(rows))
    except BaseException:
        sink.close(finished=False)
        raise
    done = sink.progress.rows
    with progress(estimate_rows([call.among]), done) as advance:
        run = EmbedRun(
            encoder,
            sink,
            lambda embedding, row: embedding.vectors,
            dedupe=True,
            batch_size=call.batch_size,
            rows_done=done,
            advance=advance,
            rejected=RejectReporter(),
            counts=sink.progress.counts,
        )
        run.run(texts)
    say_cut(run.cut, encoder, of=sink.progress.rows - sink.progress.rejected)
