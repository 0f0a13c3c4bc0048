"""A stream of texts embedded into a sink, window by window; texts are tokenized while the model works."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from llmkit.batching import live_windows, windows
from llmkit.data.records import Row
from llmkit.data.row_run import Outcome, RowRun, Summary, Window, plain_input
from llmkit.data.shared_rows import SharedRows
from llmkit.data.sinks import Sink
from llmkit.embeddings.attempts import ModelFailedError
from llmkit.embeddings.batches import UNIT_WINDOW_ROWS, WINDOW_ROWS
from llmkit.embeddings.embedding import Embedded, Embedding, embed_texts
from llmkit.embeddings.encoder import Encoder
from llmkit.embeddings.free_memory import give_back_free_memory
from llmkit.embeddings.seen import SeenTexts
from llmkit.embeddings.tokens import TokenizedText
from llmkit.tasks.inputs import RowError

T = TypeVar("T")
TextRow = tuple[Row, str | Exception]
"""A row with its text, or with the error that left it none."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A window whose texts are tokenized, each text that is there several times once, if so wanted."""

    window: Window[TextRow]
    texts: list[str]
    tokenized: list[TokenizedText | RowError]
    number_of: dict[int, int]


@dataclass
class EmbedRun:
    """Embedding rows into a sink.

    Attributes:
        written: makes of an embedding and its row what the sink takes.
        dedupe: embed equal texts once.
        seen_file: where those that were met are kept, for a run that may be resumed.
        batch_size: most texts a batch; None for a budget of tokens.
        rows_done: by the run that is resumed.
        counts: of the run that is resumed, and this one's after each window: `cut`, how many texts were cut.
        shared: this process's part of the rows, where several work on them.
        tokens, cut: tokens of all texts, and how many texts were cut.
    """

    encoder: Encoder
    sink: Sink
    written: Callable[[Embedding, Row], Any]
    dedupe: bool = False
    seen_file: Path | None = None
    batch_size: int | None = None
    rows_done: int = 0
    advance: Callable[[int], None] = lambda rows: None
    rejected: Callable[[str], None] = lambda text: None
    counts: dict[str, int] = field(default_factory=dict)
    shared: SharedRows | None = None
    tokens: int = 0
    cut: int = 0
    summary: Summary = field(default_factory=Summary)
    _seen: SeenTexts | None = field(default=None, init=False)

    def run(self, rows: Iterable[TextRow], *, live: bool = False) -> Summary:
        """Work through the rows; what is done stays done when it is interrupted.

        Raises:
            DataError: no row could be used.
            ModelError: no row succeeded, or the first rows all failed in the same way.
            OutputError: the output cannot be written.
        """
        most = UNIT_WINDOW_ROWS if self.encoder.settings.by_token else WINDOW_ROWS
        cut = live_windows(rows, max_rows=most) if live else windows(rows, max_rows=most)
        self.cut = self.counts.get("cut", 0)
        run = RowRun(
            self.sink,
            lambda outcome, index: self.written(outcome.value, outcome.row),
            plain_input,
            self.rows_done,
            self.rejected,
            self.summary,
            self.shared,
        )
        if self.shared is not None:
            self.shared.counted, self.shared.heard = self._counted, self._heard
        with run, self._remembering():
            for ready in ahead(map(self._ready, run.pending(cut)), patient=not live):
                run.put(ready.window, self._outcomes(ready))
                if not live:
                    give_back_free_memory()
        return self.summary

    def _counted(self) -> dict[str, int]:
        """Return what was counted since this was last asked."""
        found = {"cut": self.cut, "tokens": self.tokens}
        self.cut = self.tokens = 0
        return found

    def _heard(self, rows: int, counts: dict[str, int]) -> None:
        """Add what another process counted of a window."""
        self.cut += counts["cut"]
        self.tokens += counts["tokens"]
        self.counts["cut"] = self.cut
        self.advance(rows)

    @contextlib.contextmanager
    def _remembering(self) -> Iterator[None]:
        if not self.dedupe:
            yield
            return
        self._seen = SeenTexts(self.seen_file, self.rows_done)
        try:
            yield
        finally:
            self._seen.close()

    def _ready(self, window: Window[TextRow]) -> _Ready:
        texts: list[str] = []
        numbers: dict[str, int] = {}
        number_of: dict[int, int] = {}
        for place, (_, text) in enumerate(window.rows):
            if isinstance(text, Exception):
                continue
            number = numbers.setdefault(text, len(texts)) if self.dedupe else len(texts)
            if number == len(texts):
                texts.append(text)
            number_of[place] = number
        return _Ready(window, texts, self.encoder.tokenizer.tokenize(texts) if texts else [], number_of)

    def _outcomes(self, ready: _Ready) -> list[Outcome]:
        told = 0

        def advance(texts: int) -> None:
            nonlocal told
            told += texts
            self.advance(texts)

        found = self._embedded(ready, advance)
        outcomes = [self._outcome(place, row, ready, found) for place, row in enumerate(ready.window.rows)]
        self.advance(len(ready.window.rows) - told)  # texts that were there before, and rows without one
        self.counts["cut"] = self.cut
        return outcomes

    def _embedded(self, ready: _Ready, advance: Callable[[int], None]) -> list[Embedded]:
        """Return what each text of a window gives; those that were met before are taken from there."""
        known = self._seen.find(ready.texts) if self._seen is not None else {}
        new = [number for number, text in enumerate(ready.texts) if text not in known]
        found = embed_texts(
            self.encoder,
            [ready.texts[number] for number in new],
            [ready.tokenized[number] for number in new],
            batch_size=self.batch_size,
            advance=advance,
        )
        if self._seen is not None:
            self._seen.add(ready.window.start, (each for each in found if isinstance(each, Embedding)))
        given = iter(found)
        return [known[text] if text in known else next(given) for text in ready.texts]

    def _outcome(self, place: int, row: TextRow, ready: _Ready, found: Sequence[Embedded]) -> Outcome:
        if isinstance(row[1], Exception):
            return Outcome(row[0], error=row[1])
        embedding = found[ready.number_of[place]]
        if isinstance(embedding, RowError):
            return Outcome(
                row[0], error=embedding.cause if isinstance(embedding, ModelFailedError) else embedding
            )
        self.tokens += embedding.tokens
        self.cut += embedding.cut > 0
        return Outcome(row[0], embedding)


def ahead(items: Iterable[T], *, patient: bool = True) -> Iterator[T]:
    """Go through items that are made one ahead in a thread of their own; if not `patient`, when they are asked for."""
    if not patient:
        yield from items
        return
    made: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=1)
    is_left = threading.Event()

    def put(is_item: bool, value: Any) -> bool:
        while not is_left.is_set():
            try:
                made.put((is_item, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(True, item):
                    return
            put(False, None)
        except BaseException as error:  # handed to the consumer, which raises it
            put(False, error)

    threading.Thread(target=make, daemon=True, name="llmkit-ahead").start()
    try:
        while True:
            is_item, value = made.get()
            if is_item:
                yield value
            elif value is None:
                return
            else:
                raise value
    finally:
        is_left.set()
