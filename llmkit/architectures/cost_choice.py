"""For what the costs of a model are worked out: batch, tokens, context, memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmkit.wanted import within

if TYPE_CHECKING:
    from llmkit.architectures.counted import Counted

USUAL_SEQUENCE_LENGTH = 512
MOST = 10**12  # inputs at once, and tokens


@dataclass(frozen=True, slots=True)
class CostChoice:
    """For what the costs are worked out.

    Attributes:
        batch_size: inputs at once.
        sequence_length: tokens an input; None for 512, or fewer where the model takes fewer.
        context: tokens that the cache holds; None for the most that the model takes.
        memory_size: in bytes, to say what fits.
    """

    batch_size: int = 1
    sequence_length: int | None = None
    context: int | None = None
    memory_size: int | None = None

    def tokens(self, counted: Counted) -> int:
        """Return the tokens an input."""
        most = counted.context or USUAL_SEQUENCE_LENGTH
        return self.sequence_length or min(USUAL_SEQUENCE_LENGTH, most)


def check_choice(choice: CostChoice) -> None:
    """Check the sizes that were asked for.

    Raises:
        UsageError: one is below 1, or absurdly large.
    """
    for name in ("batch_size", "sequence_length", "context"):
        value, option = getattr(choice, name), f"--{name.replace('_', '-')}"
        within(1, MOST, value, option)
