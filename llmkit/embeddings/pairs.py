"""A stream of pairs of texts compared into a sink, window by window; texts are tokenized while the model works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from llmkit.batching import live_windows, windows
from llmkit.data.records import Row
from llmkit.data.row_run import Outcome, RowRun, Summary, Window, beside_input, plain_input
from llmkit.data.sinks import Sink
from llmkit.embeddings.batches import WINDOW_ROWS
from llmkit.embeddings.embedding import Embedded, Embedding, embed_texts
from llmkit.embeddings.encoder import Encoder
from llmkit.embeddings.free_memory import give_back_free_memory
from llmkit.embeddings.measures import pairwise
from llmkit.embeddings.run import ahead
from llmkit.embeddings.tokens import TokenizedText
from llmkit.tasks.inputs import RowError

PairRow = tuple[Row, tuple[str, str] | Exception]
"""A row with its two texts, or with the error that left it none."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A window whose texts are tokenized, each text that is there several times once."""

    window: Window[PairRow]
    numbers: dict[str, int]
    tokenized: list[TokenizedText | RowError]


@dataclass
class PairRun:
    """Comparing pairs into a sink: each gives its two texts and a number named by the measure.

    Attributes:
        keep_input: copy the input's columns beside the result.
        rows_done: by the run that is resumed.
        cut: how many texts were longer than the model takes.
    """

    encoder: Encoder
    sink: Sink
    measure: str
    batch_size: int | None = None
    keep_input: bool = False
    rows_done: int = 0
    advance: Callable[[int], None] = lambda rows: None
    rejected: Callable[[str], None] = lambda text: None
    cut: int = 0
    summary: Summary = field(default_factory=Summary)

    def run(self, rows: Iterable[PairRow], *, live: bool = False) -> Summary:
        """Work through the rows; what is done stays done when it is interrupted.

        Raises:
            DataError: no row could be used.
            ModelError: no row succeeded, or the first rows all failed in the same way.
            OutputError: the output cannot be written.
        """
        cut = live_windows(rows, max_rows=WINDOW_ROWS) if live else windows(rows, max_rows=WINDOW_ROWS)
        run = RowRun(
            self.sink,
            lambda outcome, index: (
                beside_input(outcome.row, outcome.value) if self.keep_input else outcome.value
            ),
            plain_input,
            self.rows_done,
            self.rejected,
            self.summary,
        )
        with run:
            for ready in ahead(map(self._ready, run.pending(cut)), patient=not live):
                run.put(ready.window, self._outcomes(ready))
                if not live:
                    give_back_free_memory()
        return self.summary

    def _ready(self, window: Window[PairRow]) -> _Ready:
        numbers: dict[str, int] = {}
        for _, pair in window.rows:
            if not isinstance(pair, Exception):
                for text in pair:
                    numbers.setdefault(text, len(numbers))
        texts = list(numbers)
        return _Ready(window, numbers, self.encoder.tokenizer.tokenize(texts) if texts else [])

    def _outcomes(self, ready: _Ready) -> list[Outcome]:
        texts = list(ready.numbers)
        found = embed_texts(self.encoder, texts, ready.tokenized, batch_size=self.batch_size)
        self.cut += sum(isinstance(each, Embedding) and each.cut > 0 for each in found)
        outcomes = [self._outcome(row, ready, found) for row in ready.window.rows]
        self.advance(len(outcomes))
        return outcomes

    def _outcome(self, row: PairRow, ready: _Ready, found: list[Embedded]) -> Outcome:
        record, pair = row
        if isinstance(pair, Exception):
            return Outcome(record, error=pair)
        sides: list[Embedding] = []
        for name, text in zip("ab", pair, strict=True):
            embedded = found[ready.numbers[text]]
            if isinstance(embedded, RowError):
                return Outcome(record, error=RowError(f"'{name}': {embedded.message}"))
            sides.append(embedded)
        one, other = (each.vectors[None, :] for each in sides)
        return Outcome(
            record, {"a": pair[0], "b": pair[1], self.measure: float(pairwise(one, other, self.measure)[0])}
        )
