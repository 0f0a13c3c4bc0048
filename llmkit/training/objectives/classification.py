"""What the tasks of classes share: of whole texts, and of each word."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.batch import Batch
from llmkit.training.objectives.class_names import renaming_notes
from llmkit.training.objectives.weighting import class_weights

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Classification(Objective):
    """A task whose head gives a logit for each class; its loss and what it is judged by come of these alone.

    Attributes:
        labels: the classes, in the order of the logits.
        numbers: of a model that was trained before: the class that each label of the data is.
        counts: how often each label stands in the training rows.
    """

    labels: list[str]
    numbers: dict[str, int]
    counts: dict[str, int]

    def notes(self) -> list[str]:
        return renaming_notes(self.numbers, self.labels)

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        return self._loss_of(model(**batch.inputs).logits, batch.labels)

    def judge(self, model: PreTrainedModel, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        return self._judged(model(**batch.inputs).logits, batch)

    @abstractmethod
    def _loss_of(self, logits: torch.Tensor, labels: torch.Tensor, reduction: str = "sum") -> torch.Tensor:
        """Return the loss of the targets: their sum, or "none" for that of each."""

    @abstractmethod
    def _judged(self, logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, list[Any], list[Any]]:
        """Return a batch's loss, predictions and references."""

    def _weights(self, labels: torch.Tensor) -> torch.Tensor | None:
        """Return a weight for each class, (classes,), or None for all alike."""
        import torch

        weights = class_weights(self.config.training.class_weights, self.labels, self.counts)
        return None if weights is None else torch.tensor(weights, device=labels.device)
