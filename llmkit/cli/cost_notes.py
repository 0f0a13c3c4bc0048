"""What must be said beside the costs of a model, so that no figure is read for more than it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.architectures.count import ModelCount


def cost_notes(count: ModelCount) -> Iterator[str]:
    """Go through the notes on a model's costs."""
    from llmkit.architectures.memory import joined_experts

    experts = joined_experts(count.counted)
    if experts:
        yield (
            f"{count.label}: {experts:,} parameters of experts lie in tensors of three dimensions, which "
            "bitsandbytes does not quantize: they stay in bfloat16, and in float32 for QLoRA."
        )
