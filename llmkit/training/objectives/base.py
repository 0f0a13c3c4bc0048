"""What an objective is: from a row of data to a loss, the same steps for every training task.

The loop knows nothing of tasks. It asks the objective to encode rows once, to make batches of examples, for the
number of targets in a batch, and for the sum of their losses; it divides that sum by the number of targets in
the whole optimizer step, so that the gradient is the same however the step is split.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.data.records import Record, missing_column
from llmkit.errors import DataError, UsageError
from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.batch import IGNORED, Batch, Draw, Example, Verdict

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.evaluation import Judged


@dataclass(frozen=True, slots=True)
class TaskField:
    """What a task takes from a row.

    Attributes:
        aliases: other names of a column that is taken for it when the config names none.
    """

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = True


class Objective(ABC):
    """One training task.

    Attributes:
        task: its name in the config.
        fields: what it takes from a row.
        heads: names of transformers' auto classes that have the head, tried in turn.
        metrics: names of the metrics it is judged by, the main one first.
        gives: kinds of what its metrics may take (`MetricEntry.examples`), over all rows that it can learn from;
            empty for one that takes any metric.
        loss_parts: parts of the loss, each a mean over targets of its own.
        packs: samples can stand side by side in a row, and none sees another.
        new_head: the head is made new for the task, so that it is trained beside an adapter too.
        start: the model that ``llmkit config init`` names, and `sections`, what it shows of the config beside
            those of every task.
        joins_texts: it can do with texts side by side in one row, where the model has such attention.
        head_at_targets: the vocabulary head runs at the targets alone (`target_logits.forward_at`).
        has_reference: the loss compares with what the model said at the start: see `reference`.
        in_equal_steps: a batch takes one pass through the model, and so may go through one that is sharded.
    """

    task: ClassVar[str]
    fields: ClassVar[tuple[TaskField, ...]]
    heads: ClassVar[tuple[str, ...]]
    metrics: ClassVar[tuple[str, ...]]
    gives: ClassVar[tuple[str, ...]] = ()
    loss_parts: ClassVar[int] = 1
    packs: ClassVar[bool] = False
    new_head: ClassVar[bool] = True
    start: ClassVar[str] = "minilm"
    sections: ClassVar[tuple[str, ...]] = ()
    head_at_targets: ClassVar[bool] = False
    joins_texts: ClassVar[bool] = False
    has_reference: ClassVar[bool] = False
    in_equal_steps: ClassVar[bool] = True

    place_of_column: str = "data.columns: {{{field}: COLUMN}}"  # how a person says it

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        self.config = config
        self.tokenizer = tokenizer
        limit = min(tokenizer.model_max_length, 512)
        self.max_length = min(config.data.max_length or limit, tokenizer.model_max_length)
        self._check_settings()

    def _check_settings(self) -> None:
        """Check what the config says of the task against what the task knows.

        Raises:
            UsageError: packing where it cannot pack, or no room.
        """
        if self.config.training.batching == "packed" and not self.packs:
            raise UsageError(
                f"training.batching: packed: {self.task} cannot pack its examples.",
                hint="Take sorted, which pads little.",
            )
        if self.max_length <= self.tokenizer.num_special_tokens_to_add():
            raise UsageError(f"data.max_length: {self.max_length} leaves no room for a text.")

    # -- from rows to examples

    def values_of(self, record: Record) -> dict[str, Any]:
        """Return what the task takes from a row: field name -> value.

        Raises:
            DataError: a column that is needed is not there; the message lists those that are.
        """
        record = self.opened(record)
        found: dict[str, Any] = {}
        for field in self.fields:
            names = self.names_of(field, self.config)
            name = next((each for each in names if each in record.values), None)
            if name is not None:
                found[field.name] = record.values[name]
            elif field.required or field.name in self.config.data.columns:
                raise self._no_column(field.name, record)
        return found

    def _no_column(self, field: str, record: Record) -> DataError:
        """Return the error for a field whose column is not there, with how to say where it is if nobody did."""
        if field in self.config.data.columns:
            return missing_column(self.config.data.columns[field], record)
        error = missing_column(field, record)
        hints = [self._remedy(field), f"({error.hint})" if error.hint else None]
        return DataError(error.message, hint=" ".join(filter(None, hints)))

    def _remedy(self, field: str) -> str:
        return f"Say where it is: {self.place_of_column.format(field=field)}."

    @classmethod
    def opened(cls, record: Record) -> Record:
        """Return a row as the task sees it: a task may make columns of what is nested in one."""
        return record

    @classmethod
    def names_of(cls, field: TaskField, config: FinetuneConfig) -> list[str]:
        """Return the columns that a field may be in, the first that is there counts."""
        columns = config.data.columns
        return [columns[field.name]] if field.name in columns else [field.name, *field.aliases]

    def study(self, rows: Iterable[Mapping[str, Any]]) -> None:  # noqa: B027 - most tasks have nothing to find
        """Learn from the training rows what encoding needs: the labels there are."""

    def adopt(self, model_config: PreTrainedConfig, rows: Iterable[Mapping[str, Any]]) -> None:
        """Learn what encoding needs from a model that was trained, and the rows that it is judged on.

        Raises:
            RowError, DataError: the rows do not fit the model: a label that is none of its classes.
        """
        self.study(rows)

    def facts(self) -> dict[str, Any]:
        """Return what `study` found, as JSON: kept with the model, and compared when a run is resumed."""
        return {}

    def model_config(self) -> dict[str, Any]:
        """Return what the task sets in the model's config: ``{"num_labels": 3, …}``."""
        return {}

    def notes(self) -> list[str]:
        """Return what the person should know of what was found: which shape the rows have."""
        return []

    def set_up(self, model: PreTrainedModel) -> None:  # noqa: B027 - most tasks take the model as it is
        """Change in a model that was just loaded what the task needs, and set what it keeps beside its weights.

        Raises:
            ModelError: the model cannot do the task.
        """

    def output_files(self, model: PreTrainedModel) -> dict[str, str]:
        """Return further files to lie beside the model, by their name in the output folder."""
        return {}

    def metrics_for(self) -> tuple[str, ...]:
        """Return the metrics the model is judged by, the main one first."""
        return self.metrics

    def gives_here(self) -> tuple[str, ...]:
        """Return the kinds of what metrics may take, of the rows that were found."""
        return self.gives

    def each_class(self) -> Sequence[int]:
        """Return each class that a prediction may be; none where that is no one class."""
        return ()

    @abstractmethod
    def encode(self, values: Mapping[str, Any]) -> list[Example]:
        """Return the examples of a row: one, or several where a long text is cut into parts.

        Raises:
            RowError: the row cannot be learned from; the message says why.
        """

    def encode_all(self, records: Iterable[Record]) -> Iterator[Example]:
        """Go through the examples of a set of rows, each with its `place`; a task that joins rows does it here.

        Raises:
            DataError: a row cannot be learned from; the message names its file and line.
        """
        for record in records:
            with errors_placed(record):
                examples = self.encode(self.values_of(record))
            for example in examples:
                yield {**example, "place": record.place}

    def shown_label(self, example: Example, batch: Batch) -> Any:
        """Return what an example is to be learned as, for a person: a class, or for each token its target or "".

        Args:
            batch: of this example alone.
        """
        return next((example[name] for name in ("label", "score") if name in example), None)

    def named_targets(self, labels: Any) -> Any:
        """Return labels of tokens, in lists of lists as they come, as the tokens they are; "" for no target."""
        if isinstance(labels, list):
            return [self.named_targets(each) for each in labels]
        return "" if labels == IGNORED else self.tokenizer.convert_ids_to_tokens(labels)

    # -- from examples to a loss

    @abstractmethod
    def collate(self, examples: Sequence[Example], draws: Sequence[Draw]) -> Batch:
        """Make a batch, padded to its longest example."""

    @abstractmethod
    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return the sum (a scalar) of the losses of the batch's targets, not their mean.

        With several parts, (parts,), in the order of `Batch.targets`: the step's loss is the sum of their means.
        """

    def judged_loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return what `loss` is where the model is judged: without what only training adds to it."""
        return self.loss(model, batch)

    def reference(self, model: PreTrainedModel, batch: Batch) -> list[list[float]]:
        """Return figures of each example by the model as it is at the start, if the task `has_reference`.

        They are computed once, kept with the run, and come back with each example under the name `REFERENCE`.
        """
        raise NotImplementedError

    # -- judging

    @abstractmethod
    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        """Return the sum of the losses, the predictions and the references of a batch, without gradients."""

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        """Judge a batch, and say of each example how wrong and how sure the model was, where the task can."""
        return Verdict(*self.judge(model, batch))

    def readable(self, value: Any) -> Any:
        """Return a prediction or a reference, as `settle` left it, for a person: a class by its name."""
        return value

    def settle(self, judged: Judged) -> Judged:
        """Return what was found in the whole set, in its order, as the metrics take it.

        A task that cuts a row into several examples makes one prediction of their parts here.
        """
        return judged

    def for_metric(self, takes: str, judged: Judged) -> Judged:
        """Return what a metric takes, by its kind (`MetricEntry.examples`), where the task gives several."""
        return judged

    def length_of(self, example: Example) -> int:
        """Return the number of tokens of an example, of all its texts together where it has several."""
        ids = example["input_ids"]
        return sum(map(len, ids)) if ids and isinstance(ids[0], list) else len(ids)

    # -- what most tasks do with texts

    def tokenize(self, text: str, pair: str | None = None) -> Example:
        """Return the token ids of a text or a pair, cut to the longest the model takes.

        Raises:
            RowError: it is longer, and the config says not to cut.
        """
        for each in (text, pair):
            if each is not None and not isinstance(each, str):
                raise RowError(f"{each!r} is no text")
        encoded = self.tokenizer(text, pair, truncation=False, padding=False, verbose=False)
        if len(encoded["input_ids"]) > self.max_length:
            if not self.config.data.truncate:
                raise RowError(f"{len(encoded['input_ids']):,} tokens, {self.max_length:,} are allowed")
            encoded = self.tokenizer(text, pair, truncation=True, max_length=self.max_length, padding=False)
        return {name: list(encoded[name]) for name in self.tokenizer.model_input_names if name in encoded}

    def padded(self, examples: Sequence[Example]) -> tuple[dict[str, torch.Tensor], int, int]:
        """Return the model's inputs, each (batch, longest), the number of real tokens, and with the padding."""
        import torch

        names = [name for name in self.tokenizer.model_input_names if name in examples[0]]
        longest = max(len(example["input_ids"]) for example in examples)
        fill = {
            "input_ids": self.tokenizer.pad_token_id or 0,
            "token_type_ids": self.tokenizer.pad_token_type_id,
        }
        inputs = {
            name: torch.tensor(
                [_filled(example[name], longest, fill.get(name, 0), self._left) for example in examples]
            )
            for name in names
        }
        tokens = sum(len(example["input_ids"]) for example in examples)
        return inputs, tokens, longest * len(examples)

    def aligned(self, rows: Sequence[Sequence[int]], length: int, fill: int) -> list[list[int]]:
        """Return values of each token, padded where the tokens are."""
        return [_filled(row, length, fill, self._left) for row in rows]

    def begins_at(self, length: int, padded: int) -> int:
        """Return where the first of `length` tokens stands among `padded`."""
        return padded - length if self._left else 0

    @property
    def _left(self) -> bool:
        return self.tokenizer.padding_side == "left"


@contextmanager
def errors_placed(record: Record) -> Iterator[None]:
    """Make an error that is about a row one that says where the row is.

    Raises:
        DataError: the row cannot be learned from; the message names its file and line.
    """
    try:
        yield
    except RowError as error:
        raise DataError(f"{record.place}: {error.message}.", hint=error.hint) from None


def _filled(values: Sequence[int], length: int, fill: int, left: bool) -> list[int]:
    padding = [fill] * (length - len(values))
    return [*padding, *values] if left else [*values, *padding]
