"""What must be said beside the costs of a model, so that no figure is read for more than it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.architectures.checkpoint import Report
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


def left_head_note(count: ModelCount, report: Report) -> Iterator[str]:
    """Say how to count the head of a checkpoint that was held against the bare model."""
    has_more = any(not each.reason for each in report.extra)
    if count.counted.head != "none" or report.kind != "plain" or not has_more:
        return
    if count.named.values.get("architectures"):
        yield "The model was counted without a head; --head checkpoint counts the one that the config names."
    elif count.counted.usual_head:
        yield f"The model was counted without a head; --head {count.counted.usual_head} counts the usual one."
