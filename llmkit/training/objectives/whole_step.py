"""Objectives whose loss is of the whole optimizer step: each example is compared with all others of the step."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from llmkit.training.objectives.base import Objective
from llmkit.training.objectives.batch import Batch

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class WholeStepObjective(Objective):
    """An objective whose loss is no sum over examples, such as one with in-batch negatives.

    It says what the model makes of a batch, and what the loss is of all that the step has: so the step may be split
    over micro-batches and devices without a change of loss or gradient (`training.gradient_cache`).
    """

    in_equal_steps = False

    @abstractmethod
    def represent(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return vectors, (texts of the batch, width); a row of `Batch.labels` belongs to each."""

    @abstractmethod
    def step_loss(self, representations: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of a step, a scalar and no sum, from all its vectors.

        Args:
            representations: (texts of the step, width), in any order of the batches.
            labels: (texts of the step, …).
        """

    def loss(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return the loss of a batch that is the whole step, times its targets."""
        assert isinstance(batch.targets, float)
        return self.step_loss(self.represent(model, batch), batch.labels) * batch.targets
