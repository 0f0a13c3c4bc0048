"""How much each class counts, and the loss of a choice among a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from llmkit.errors import UsageError

if TYPE_CHECKING:
    import torch


def class_weights(
    wanted: str | Sequence[float] | None, labels: Sequence[str], counts: Mapping[str, int]
) -> list[float] | None:
    """Return a weight for each class, or None for all alike.

    Args:
        wanted: ``balanced``, or a weight for each class in their order.
        counts: how often each label is there.

    Raises:
        UsageError: there is another number of weights than of classes.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):  # balanced, as scikit-learn has it: all / (classes × those of the class)
        everything = sum(counts.values())
        return [everything / (len(labels) * max(1, counts.get(name, 0))) for name in labels]
    if len(wanted) != len(labels):
        raise UsageError(
            f"training.class_weights: {len(wanted)} weights for {len(labels)} classes: {', '.join(labels)}."
        )
    return list(wanted)


def choice_loss(
    logits: torch.Tensor, targets: torch.Tensor, allowed: torch.Tensor | None = None, smoothing: float = 0.0
) -> torch.Tensor:
    """Return the sum of the cross entropies of choices, each among what is allowed for it.

    Padding must not be among the options: the loss of a row would depend on the rows beside it.

    Args:
        logits: (rows, options).
        targets: (rows,), the number of the right option.
        allowed: (rows, options), true for an option; None for all.
        smoothing: share of the target that is spread evenly over the options.
    """
    import torch

    log_chances = logits.float()
    allowed = torch.ones_like(log_chances, dtype=torch.bool) if allowed is None else allowed.bool()
    log_chances = log_chances.masked_fill(~allowed, -torch.inf).log_softmax(-1)
    right = -log_chances.gather(1, targets.unsqueeze(1)).sum()
    if not smoothing:
        return right
    spread = -(log_chances.masked_fill(~allowed, 0.0).sum(-1) / allowed.sum(-1)).sum()
    return (1 - smoothing) * right + smoothing * spread


def each_choice_loss(
    logits: torch.Tensor, targets: torch.Tensor, allowed: torch.Tensor | None = None, smoothing: float = 0.0
) -> list[float]:
    """Return what each row adds to `choice_loss`, (rows,)."""
    return [
        float(
            choice_loss(
                logits[row : row + 1],
                targets[row : row + 1],
                None if allowed is None else allowed[row : row + 1],
                smoothing,
            )
        )
        for row in range(len(targets))
    ]
