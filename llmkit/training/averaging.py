"""A moving average of the weights (Polyak & Juditsky 1992): smoother than the last ones, and often better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PREFIX = "average."


class WeightAverage:
    """Keeps average ← decay · average + (1 − decay) · weights of the trained parameters, after every step.

    The first steps count for more than their share: the decay is at most (1 + steps) / (10 + steps), as in
    Tan & Le 2019 and the frameworks that took it over.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self._trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
        self._average = {name: each.detach().clone() for name, each in self._trained.items()}

    def update(self, step: int) -> None:
        """Take the weights after a step; `step` is its number, from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, average in self._average.items():
            average.lerp_(self._trained[name].detach(), 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average in a block, then its own weights again."""
        own = {name: each.detach().clone() for name, each in self._trained.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(own)

    def keep(self) -> None:
        """Give the model the average for good."""
        self._put(self._average)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the average by name, to be kept in a checkpoint."""
        return {f"{PREFIX}{name}": each.cpu() for name, each in self._average.items()}

    def restore(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Put back what `tensors` gave; others are left out."""
        for name, average in self._average.items():
            if f"{PREFIX}{name}" in tensors:
                average.copy_(tensors[f"{PREFIX}{name}"])

    def _put(self, values: Mapping[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self._trained[name].data.copy_(value)
