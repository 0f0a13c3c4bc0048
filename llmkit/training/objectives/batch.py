"""What goes through a model: examples, batches of them, what is random in them, and what was found of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""The label of a position that is no target, as in torch's cross entropy."""

REFERENCE = "reference"
"""The name in an example of the figures that the model at the start gave for it."""

Example = dict[str, Any]
"""What a row becomes: lists of token ids and labels, as long as the text; `input_ids` is always among them."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What the randomness of one example comes from: so it is the same after a resume, and on any device."""

    seed: int
    epoch: int
    index: int

    def generator(self) -> torch.Generator:
        """Return a generator of random numbers for this example alone."""
        import torch

        # Three numbers into one, without the collisions that a sum would have.
        mixed = (
            self.seed * 0x9E3779B97F4A7C15 + self.epoch * 0xBF58476D1CE4E5B9 + self.index * 0x94D049BB133111EB
        ) % (1 << 63)
        return torch.Generator().manual_seed(mixed)


@dataclass(slots=True)
class Batch:
    """Examples that go through the model together.

    Attributes:
        inputs: what the model's forward takes; each (batch, sequence) unless the objective says otherwise.
        labels: what the loss compares with.
        targets: how much of the step's loss this batch stands for: the number of its targets, or the sum of
            their weights. A loss of several parts, each a mean over targets of its own, has one number a part.
        tokens: real tokens in it, and `padded`, with the padding.
        rows: the number of each example in its set.
        examples: what the batch was made of, where judging needs more of it than tensors.
    """

    inputs: dict[str, torch.Tensor]
    labels: torch.Tensor
    targets: float | tuple[float, ...]
    tokens: int
    padded: int
    rows: tuple[int, ...] = ()
    examples: tuple[Example, ...] = ()

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        moved = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return Batch(
            moved,
            self.labels.to(device, non_blocking=True),
            self.targets,
            self.tokens,
            self.padded,
            self.rows,
            self.examples,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a model made of the examples of a batch.

    Attributes:
        loss: the sum of the losses, as `Objective.loss` has it.
        predictions, references: one an example.
        losses: of each example the mean over its own targets; None where the task does not tell.
        probabilities: how sure the model was of each prediction, 0 to 1; None where the task does not tell.
    """

    loss: torch.Tensor
    predictions: list[Any]
    references: list[Any]
    losses: list[float] | None = None
    probabilities: list[float] | None = None
