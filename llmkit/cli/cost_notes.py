"""What must be said beside the costs of a model, so that no figure is read for more than it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.architectures.checkpoint import Report
    from llmkit.architectures.count import ModelCount
    from llmkit.architectures.counted import Counted
    from llmkit.architectures.report import Costs


def batch_words(counted: Counted, costs: Costs) -> str:
    """Return for what the costs are: ``1 × 512 tokens``, or images where no text goes in."""
    if is_of_images(counted):
        return f"{costs.batch_size:,} image{'s' if costs.batch_size > 1 else ''}"
    return f"{costs.batch_size:,} × {costs.sequence_length:,} tokens"


def is_of_images(counted: Counted) -> bool:
    """Whether an input is an image, so that its costs do not depend on a number of tokens."""
    from llmkit.architectures.streams import streams

    return counted.kind == "vision" or {each.name for each in streams(counted)} == {"image patch"}


def cost_notes(count: ModelCount, costs: Costs) -> Iterator[str]:
    """Go through the notes on a model's costs."""
    from llmkit.architectures.memory import joined_experts

    yield from _length_notes(count, costs)
    keys = {each.key for each in costs.memory}
    if "training_mixed" in keys and "activations_mixed" not in keys:
        yield (
            f"{count.label}: activations are left out, so training needs more than is said here: what layers "
            "other than attention and feed-forward blocks keep for the backward pass is not known."
        )
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


def _length_notes(count: ModelCount, costs: Costs) -> Iterator[str]:
    counted = count.counted
    if is_of_images(counted):
        if costs.has_asked_length:
            yield f"{count.label}: its costs are of images, and do not depend on --sequence-length."
        return
    # What is not asked for never exceeds what the model takes.
    asked = {"--sequence-length": costs.sequence_length, "--context": costs.context}
    for name, tokens in asked.items():
        if counted.context and tokens > counted.context:
            yield (
                f"{count.label}: {name} {tokens:,} is more than the {counted.context:,} tokens that its "
                "config provides for."
            )
