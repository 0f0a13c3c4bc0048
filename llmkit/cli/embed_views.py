"""How vectors look: in lines of JSON and CSV, in files, and on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from llmkit.cli.channels import ResultStream
from llmkit.cli.drawing import rendered
from llmkit.cli.printable import shortened
from llmkit.data.formats import TABLE, Format
from llmkit.data.records import Row
from llmkit.data.row_run import beside_input
from llmkit.embeddings.vector_formats import VECTORS

if TYPE_CHECKING:
    import numpy

    from llmkit.embeddings.embedding import Embedding
    from llmkit.embeddings.settings import EmbedSettings


class _OfText(TypedDict):
    text: str
    token_count: int
    cut: int


class TextVector(_OfText):
    """A text's vector; `cut` tells how many of its tokens did not count, as the model takes no more."""

    embedding: list[float]


class WordVector(TextVector):
    """The vector of one word of a text (--word), with its place in characters."""

    word: str
    start: int
    end: int


class TokenVectors(_OfText):
    """A vector for each token of a text (--level token); `offsets` are characters, `special` what was added."""

    tokens: list[str]
    ids: list[int]
    offsets: list[list[int]]
    special: list[bool]
    embedding: list[list[float]]


class WordVectors(_OfText):
    """A vector for each word of a text (--level word)."""

    words: list[str]
    offsets: list[list[int]]
    embedding: list[list[float]]


VECTORS_OF_TEXT = TextVector | WordVector | TokenVectors | WordVectors
Shaper = Callable[["Embedding", Row], Any]
_MOST_COMPARED = 12
_VALUES_SHOWN = 4
_TEXT_WIDTH = 40


def shaper_for(
    format_name: str, settings: EmbedSettings, formats: Mapping[str, Format], *, keep_input: bool
) -> Shaper:
    """Return what makes of an embedding the value that a format takes."""
    if format_name == TABLE:
        return lambda embedding, row: embedding
    if format_name == "npy" or (format_name == "safetensors" and settings.effective_level == "sentence"):
        return lambda embedding, row: embedding.vectors
    if format_name == "safetensors" and settings.word is not None:
        return lambda embedding, row: embedding.vectors
    if not formats[format_name].in_stream:
        return lambda embedding, row: (_beside(described(embedding), row, keep_input), embedding.vectors)
    if format_name in ("csv", "tsv"):
        return lambda embedding, row: _table_rows(embedding, row, keep_input)
    return lambda embedding, row: _beside(
        {**described(embedding), VECTORS: floats(embedding.vectors)}, row, keep_input
    )


def described(embedding: Embedding) -> dict[str, Any]:
    """Return what there is to say of a text beside its vectors."""
    head: dict[str, Any] = {"text": embedding.text}
    if embedding.word is not None:
        head |= {"word": embedding.word.text, "start": embedding.word.start, "end": embedding.word.end}
    if embedding.units is not None:
        units = embedding.units
        head |= {"tokens": units.names, "ids": units.ids} if units.ids else {"words": units.names}
        head |= {"offsets": [list(each) for each in units.offsets]}
        head |= {"special": units.special} if units.ids else {}
    return {**head, "token_count": embedding.tokens, "cut": embedding.cut}


def floats(array: numpy.ndarray[Any, Any]) -> Any:
    """Return an array as lists of numbers of nine digits, which are the same in float32."""
    if array.ndim > 1:
        return [floats(row) for row in array]
    return [float(f"{value:.9g}") for value in array.tolist()]


def _beside(result: dict[str, Any], row: Row, keep_input: bool) -> dict[str, Any]:
    """Put the input's columns beside a result where that is wanted; the text, which is one of them, stands once."""
    if not keep_input:
        return result
    is_there = result.get("text") in getattr(row, "values", {}).values()
    return beside_input(row, {name: each for name, each in result.items() if name != "text" or not is_there})


def _table_rows(embedding: Embedding, row: Row, keep_input: bool) -> Any:
    """Return a text as a row of a table, a column a number; or its tokens or words, a row each."""
    if embedding.units is None:
        numbers = {f"d{number}": value for number, value in enumerate(floats(embedding.vectors))}
        return _beside({**described(embedding), **numbers}, row, keep_input)
    units = embedding.units
    kind = "token" if units.ids else "word"
    return [
        _beside(
            {
                kind: units.names[index],
                **({"id": units.ids[index], "special": units.special[index]} if units.ids else {}),
                "start": units.offsets[index][0],
                "end": units.offsets[index][1],
                **{f"d{number}": value for number, value in enumerate(floats(vector))},
            },
            row,
            keep_input,
        )
        for index, vector in enumerate(embedding.vectors)
    ]


class EmbeddingTable:
    """Shows vectors to a person: their shape, their first values, and how alike several texts are."""

    def __init__(self, results: ResultStream, settings: EmbedSettings) -> None:
        self._results = results
        self._settings = settings
        self._shown: list[Embedding] = []
        self._waiting: list[Embedding] = []
        self._rows = 0

    def write(self, value: Embedding, index: int, label: str = "") -> None:
        self._waiting.append(value)
        self._rows += 1
        if len(self._shown) <= _MOST_COMPARED:
            self._shown.append(value)

    def reject(self, row: dict[str, Any]) -> None:
        pass

    def commit(self, rows_done: int) -> None:
        for embedding in self._waiting:
            for drawing in _drawings(embedding):
                self._results.file.write(rendered(drawing, self._results))
        self._results.file.flush()
        self._waiting = []

    def close(self, *, finished: bool) -> None:
        self.commit(0)
        if not finished or not self._rows:
            return
        vectors = [each.vectors for each in self._shown]
        if self._rows > 1 and vectors[0].ndim == 1:
            self._put(f"\n{shape_of(self._rows, vectors[0].shape[-1])}")
            if self._rows <= _MOST_COMPARED:
                self._put(_matrix(self._shown))
        self._results.file.flush()

    def _put(self, drawing: Any) -> None:
        self._results.file.write(rendered(drawing, self._results))


def shape_of(*sizes: int) -> str:
    """Return a shape as PyTorch shows it: ``torch.Size([1, 11, 768])``."""
    return f"torch.Size([{', '.join(map(str, sizes))}])"


def _drawings(embedding: Embedding) -> list[Any]:
    text = shortened(embedding.text, _TEXT_WIDTH)
    if embedding.units is None:
        word = f" · {embedding.word.text}" if embedding.word is not None else ""
        return [
            f"{text}{word}",
            f"  {shape_of(1, len(embedding.vectors))}  {_first_values(embedding.vectors)}",
        ]
    from rich import box
    from rich.table import Table
    from rich.text import Text

    units = embedding.units
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("token" if units.ids else "word", *(["id"] if units.ids else []), "characters", "vector"):
        table.add_column(name, justify="right" if name == "id" else "left")
    for index, name in enumerate(units.names):
        start, end = units.offsets[index]
        place = "special" if units.special[index] else f"{start}–{end}"
        ids = [str(units.ids[index])] if units.ids else []
        table.add_row(*map(Text, (name, *ids, place, _first_values(embedding.vectors[index]))))
    return [text, f"  {shape_of(1, *embedding.vectors.shape)}", table]


def _matrix(embeddings: list[Embedding]) -> Any:
    """Return the cosine of each text with each other as a table."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from llmkit.embeddings.measures import similarities

    matrix = similarities(
        [each.vectors for each in embeddings], [each.vectors for each in embeddings], "cosine"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="cosine similarity", title_justify="left")
    table.add_column("")
    for number in range(len(embeddings)):
        table.add_column(str(number + 1), justify="right")
    for number, (embedding, row) in enumerate(zip(embeddings, matrix, strict=True)):
        table.add_row(
            Text(f"{number + 1} {shortened(embedding.text, _TEXT_WIDTH)}"),
            *(f"{value:.3f}" for value in row.tolist()),
        )
    return table


def _first_values(vector: numpy.ndarray[Any, Any]) -> str:
    shown = ", ".join(f"{value:.4f}" for value in vector[:_VALUES_SHOWN].tolist())
    return f"[{shown}{', …' if len(vector) > _VALUES_SHOWN else ''}]"
