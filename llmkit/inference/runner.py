"""A task over a stream of rows: batches by length, results in order, rows that fail alone.

One window of rows at a time: each row becomes one item for the pipeline (or several, when its text is
longer than the model takes), the items are sorted into batches of similar length, and the results go back
to their rows. What a window costs in memory is bounded, and what it gives depends on nothing outside it,
so that a resumed run gives the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from llmkit.batching import plan_batches, plan_least_work
from llmkit.data.media import check_video, load_audio, load_image, load_table
from llmkit.data.records import Row
from llmkit.data.row_run import Outcome
from llmkit.errors import DataError, MissingExtraError, ModelError
from llmkit.inference.fitting import Fitting
from llmkit.inference.items import Item, RunSettings
from llmkit.inference.kept_tokens import KeptTokens
from llmkit.inference.long_texts import merger_of
from llmkit.inference.rows import MappedRow
from llmkit.models.batch_threads import on_threads
from llmkit.models.first_token import keep_first_token
from llmkit.models.loading_errors import is_package_missing
from llmkit.models.out_of_memory import is_out_of_memory
from llmkit.models.resolving import ResolvedModel, explain_loading_error
from llmkit.tasks.blanks import with_mask
from llmkit.tasks.catalogue import Batching, Kind, Long, Shape, Task, TaskCall
from llmkit.tasks.inputs import FieldValues, compose

_ON_CPU = (2048, 64)  # tokens and rows of a batch; larger ones fall out of the cache and are slower there
_ON_ACCELERATOR = (65536, 1024)
_CPU_OVERHEAD = 64  # tokens that could be computed in the time a batch costs beside its own


class Runner:
    """Runs a pipeline over windows of rows.

    Args:
        notes: takes each remark for the user; each is given once.
        advance: told of the rows that each batch has finished, for progress.
    """

    def __init__(
        self,
        pipe: Any,
        call: TaskCall,
        settings: RunSettings,
        *,
        notes: Callable[[str], None] = lambda text: None,
        advance: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self.pipe = pipe
        self.task: Task = call.task
        self.settings = settings
        self._tell = notes
        self._advance = advance
        self._told: set[str] = set()
        self._tokens = KeptTokens(pipe)
        self._fitting = Fitting(pipe, call.task, settings, self._tokens, self._note)
        keep_first_token(pipe.model)
        self._on_cpu = pipe.device.type == "cpu"
        self._max_tokens, self._max_rows = _ON_CPU if self._on_cpu else _ON_ACCELERATOR

    def run_window(self, window: Sequence[MappedRow], number: int = 0) -> list[Outcome]:
        """Return the outcomes of a window's rows, in the rows' order.

        Args:
            window: rows with their fields, or with the error that left them none.
            number: which window of the stream it is; sampling is seeded with it.
        """
        if self.settings.seed is not None:
            from transformers import set_seed

            set_seed(self.settings.seed + number)
        failures: dict[int, Exception] = {}
        items: list[Item] = []
        for row_number, (_, values) in enumerate(window):
            if isinstance(values, Exception):
                failures[row_number] = values
                continue
            try:
                items += self._items_of(row_number, values)
            except DataError as error:
                failures[row_number] = error
        self._advance(len(failures))
        self._measure(items)
        of_row: dict[int, list[tuple[Item, Any]]] = {}
        for item, result in zip(items, self._run_items(items), strict=True):
            of_row.setdefault(item.row_number, []).append((item, result))
        self._tokens.forget()
        return [
            Outcome(row, error=failures[number]) if number in failures else self._outcome(row, of_row[number])
            for number, (row, _) in enumerate(window)
        ]

    # -- from a row to items

    def _items_of(self, number: int, values: FieldValues) -> list[Item]:
        loaded = FieldValues(
            {name: self._load(name, value) for name, value in values.items()}, values.columns
        )
        mask = self._fitting.mask
        if mask is not None and isinstance(loaded.get("text"), str):
            loaded["text"] = with_mask(loaded["text"], mask)
        task_input = compose(self.task, loaded)
        parameters = {**self.settings.parameters, **task_input.parameters}
        return self._fitting.fitted(Item(number, task_input.value, parameters, task_input.texts))

    def _load(self, name: str, value: Any) -> Any:
        kind = next((each.kind for each in self.task.fields if each.name == name), Kind.TEXT)
        if value is None:
            return None
        if kind is Kind.IMAGE:
            image = load_image(value)
            # A chat's result repeats the chat: a path reads better there than the pixels.
            return value if self.task.shape is Shape.CHAT and isinstance(value, str) else image
        if kind is Kind.AUDIO:
            return load_audio(value, self.pipe.feature_extractor.sampling_rate)
        if kind is Kind.VIDEO:
            return check_video(value)
        return load_table(value) if kind is Kind.TABLE else value

    # -- from items to results

    def _measure(self, items: Sequence[Item]) -> None:
        """Set each item's length in tokens."""
        tokenizer = getattr(self.pipe, "tokenizer", None)
        measured = [item for item in items if item.texts]
        if tokenizer is None or not measured or self.task.batching in (Batching.SINGLE, Batching.FIXED):
            return
        lengths = iter(self._tokens.lengths([text for item in measured for text in item.texts]))
        for item in measured:
            item.length = sum(next(lengths) for _ in item.texts)

    def _run_items(self, items: Sequence[Item]) -> list[Any]:
        """Return a result for each item, or the exception it ended in."""
        results: list[Any] = [None] * len(items)
        groups: dict[str, list[int]] = {}
        for number, item in enumerate(items):
            groups.setdefault(json.dumps(item.parameters, sort_keys=True, default=repr), []).append(number)
        batches = [
            [numbers[index] for index in batch]
            for numbers in groups.values()
            for batch in self._plan([items[number] for number in numbers])
        ]
        with self._tokens.lent() as is_plain:
            on_cpu = self._on_cpu and is_plain
            given = on_threads(
                lambda batch: self._run_batch([items[n] for n in batch]), batches, on_cpu=on_cpu
            )
            for batch, of_batch in zip(batches, given, strict=True):
                for number, result in zip(batch, of_batch, strict=True):
                    results[number] = result
                self._advance(sum(items[number].counts for number in batch))
            for number, result in enumerate(results):
                if isinstance(result, Exception) and is_out_of_memory(result):
                    # Batches on other threads had the memory; now there are none.
                    results[number] = self._run_batch([items[number]])[0]
        return results

    def _plan(self, items: Sequence[Item]) -> list[list[int]]:
        lengths = [item.length for item in items]
        batching = self.task.batching
        if batching is Batching.SINGLE or self.settings.batch_size == 1 or not self._can_pad():
            return [[index] for index in range(len(items))]
        if self.settings.batch_size is not None:
            return plan_batches(
                lengths,
                max_tokens=10**12,
                max_rows=self.settings.batch_size,
                equal_lengths=batching is Batching.EQUAL,
            )
        if batching is Batching.FIXED:
            return plan_batches(lengths, max_tokens=10**12, max_rows=8)
        tokens, rows, is_equal = self._max_tokens, self._max_rows, batching is Batching.EQUAL
        if self._on_cpu and not is_equal:
            return plan_least_work(lengths, max_tokens=tokens, max_rows=rows, overhead_tokens=_CPU_OVERHEAD)
        return plan_batches(lengths, max_tokens=tokens, max_rows=rows, equal_lengths=is_equal)

    def _can_pad(self) -> bool:
        tokenizer = getattr(self.pipe, "tokenizer", None)
        return tokenizer is None or tokenizer.pad_token_id is not None

    def _run_batch(self, items: Sequence[Item]) -> list[Any]:
        """Run a batch; if it fails, halve it until the rows that fail stand alone, or it fits in memory."""
        try:
            return self._call(items)
        except MissingExtraError:
            raise
        except Exception as error:
            if is_package_missing(error):  # every row would say so
                raise explain_loading_error(error, _as_resolved(self.pipe), self.task.name) from error
            if is_out_of_memory(error):
                error.__traceback__ = None  # its frames hold tensors
                self._max_tokens = max(64, self._max_tokens // 2)
                self._note("out of memory: going on with smaller batches")
            if len(items) == 1:
                return [error]
        middle = len(items) // 2
        return [*self._run_batch(items[:middle]), *self._run_batch(items[middle:])]

    def _call(self, items: Sequence[Item]) -> list[Any]:
        values = [item.value for item in items]
        parameters = items[0].parameters
        batch_size = len(items)
        if self.task.long is Long.NATIVE or any(isinstance(value, list) for value in parameters.values()):
            # One row makes several sequences: the budget is theirs.
            longest = min(max(item.length for item in items), self._fitting.limit or 384)
            batch_size = max(1, min(self._max_rows, self._max_tokens // longest)) if batch_size > 1 else 1
        results = self.pipe(values, batch_size=batch_size, **parameters)
        if len(values) == 1 and (
            self.task.unwraps_single or not isinstance(results, list) or len(results) != 1
        ):
            results = [results]
        if self.task.batching is Batching.TRIMMED:
            results = [self._trimmed(result, item) for result, item in zip(results, items, strict=True)]
        if len(results) != len(values):
            raise ModelError(f"{self.task.name} gave {len(results)} results for {len(values)} inputs.")
        return results

    def _trimmed(self, result: Any, item: Item) -> Any:
        """Cut the vectors of the padding off: (1, sequence, hidden) -> (1, tokens of the text, hidden)."""
        if len(result) != 1 or len(result[0]) <= item.length:
            return result
        left = self.pipe.tokenizer.padding_side == "left"
        if not isinstance(result, list):  # a tensor, with return_tensors
            return result[:, -item.length :] if left else result[:, : item.length]
        return [result[0][-item.length :] if left else result[0][: item.length]]

    def _outcome(self, row: Row, parts: Sequence[tuple[Item, Any]]) -> Outcome:
        """Make one outcome of a row's items and their results."""
        for _, result in parts:
            if isinstance(result, Exception):
                return Outcome(row, error=_named(result))
        pieces = [item.piece for item, _ in parts if item.piece is not None]
        if not pieces:
            return Outcome(row, parts[0][1])
        merge = merger_of(self.task, self.settings.parameters)
        return Outcome(row, merge([result for _, result in parts], pieces))

    def _note(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)


def _as_resolved(pipe: Any) -> ResolvedModel:
    name = pipe.model.name_or_path
    return ResolvedModel(name=name, location=name, revision=None)


def _named(error: Exception) -> Exception:
    """Return an error that says so where there was no memory: oneDNN "could not create a primitive"."""
    if not is_out_of_memory(error) or "memory" in str(error):
        return error
    return ModelError(f"out of memory: {error}" if str(error) else "out of memory")


def window_rows(task: Task) -> int:
    """Return how many rows are worked on at a time: few where each holds an image, a recording or a video."""
    holds_media = any(each.kind in (Kind.IMAGE, Kind.AUDIO, Kind.VIDEO) for each in task.fields)
    return 16 if holds_media else task.window_rows
