"""What the tasks share that predict tokens of plain text: which of them, and how they are judged."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from llmkit.data.records import Record
from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.batch import IGNORED, Batch, Example, Verdict
from llmkit.training.objectives.packing import pack
from llmkit.training.objectives.target_logits import (
    judged_tokens,
    readable_tokens,
    row_losses,
    smoothed_loss,
    tokens_for,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from llmkit.training.config import FinetuneConfig
    from llmkit.training.evaluation import Judged


class LanguageModeling(Objective):
    """Cross entropy over some of the tokens of a text; `Batch.labels` are (batch, sequence)."""

    metrics: ClassVar[tuple[str, ...]] = ("perplexity", "accuracy")
    gives: ClassVar[tuple[str, ...]] = ("losses", "classes")
    new_head = False
    packs = True
    head_at_targets = True
    joins_texts = True

    def __init__(self, config: FinetuneConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(config, tokenizer)
        self.packed = config.training.batching == "packed"
        self._is_checked = False  # that no packed sample sees another

    def encode_all(self, records: Iterable[Record]) -> Iterator[Example]:
        """Go through the samples of a set of rows, or, packed, through rows of them."""
        samples = super().encode_all(records)
        return pack(samples, self.max_length) if self.packed else samples

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        logits = self._logits(model, batch)
        targets = batch.labels[batch.labels != IGNORED]
        return smoothed_loss(logits, targets, self.config.training.label_smoothing)

    @abstractmethod
    def _logits(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return logits (targets, vocabulary)."""

    def shown_label(self, example: Example, batch: Batch) -> Any:
        return self.named_targets(batch.labels[0].tolist())

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        return judged_tokens(self._logits(model, batch), batch.labels)

    def judge_closely(self, model: PreTrainedModel, batch: Batch) -> Verdict:
        loss, predictions, references = self.judge(model, batch)
        return Verdict(loss, predictions, references, row_losses(predictions, references))

    def readable(self, value: Any) -> str:
        return readable_tokens(self.tokenizer, value)

    def for_metric(self, takes: str, judged: Judged) -> Judged:
        return replace(
            judged,
            predictions=tokens_for(takes, judged.predictions),
            references=tokens_for(takes, judged.references),
        )
