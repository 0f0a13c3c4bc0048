"""FLOPs: what one token costs to run through the model, and to train on.

A multiplication and an addition are two FLOPs, so that a matrix costs twice its numbers for every token that
meets it (Kaplan et al. 2020, arXiv 2001.08361, section 2.1); attention adds the products of queries with keys
and of weights with values. Norms, softmax and activation functions are left out, as is the custom: they are
below a percent. Counted as `torch.utils.flop_counter.FlopCounterMode` counts: attention over the whole
context, though of a causal one half is masked away.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmkit.architectures.counted import Counted, Quantity, Tensor, TransformerStack
from llmkit.architectures.streams import Stream, is_patch_embedding, streams

SOURCE = "Kaplan et al. 2020, arXiv 2001.08361, table 1; Chowdhery et al. 2022 (PaLM), arXiv 2204.02311, appendix B"
BACKWARD_SOURCE = (
    "Kaplan et al. 2020, arXiv 2001.08361, section 2.1: the backward pass costs twice the forward pass"
)
RECOMPUTE_SOURCE = (
    "Chen et al. 2016, arXiv 1604.06174: the layers' forward pass is run again in the backward pass"
)
_WITHOUT_ATTENTION = "without what the layers have in place of attention, which is not counted"
_WHOLE_INPUT = {"image patch": "image", "audio frame": "audio"}


def flops(counted: Counted, *, sequence_length: int) -> list[Quantity]:
    """Return the FLOPs of a forward pass and of training, a token of each stream, with the formula.

    For an encoder-decoder a source and a target token are told apart, and the source is as long as the target.
    An image has as many tokens as the architecture makes patches of it, and its cost is that of the whole
    image. Nothing for a model without layers of attention or state space, or whose layers change resolution.
    """
    found: list[Quantity] = []
    for stream in streams(counted):
        length = stream.length(sequence_length)
        if length is None:
            continue
        found += _stream_flops(stream, length, _context_of(stream, counted, sequence_length))
    return found


def forward_flops(counted: Counted, *, sequence_length: int) -> float | None:
    """Return the FLOPs of one forward pass over one input: all streams, all their tokens.

    None where a stream's number of tokens is not known.
    """
    total = 0.0
    for stream in streams(counted):
        length = stream.length(sequence_length)
        if length is None:
            return None
        per_token = _matrices(stream) * 2 + _attention(
            stream, length, _context_of(stream, counted, sequence_length)
        )
        total += per_token * length + 2 * _once(stream) + _patch_flops(stream, length)
    return total or None


def layer_flops(counted: Counted, *, sequence_length: int) -> float:
    """Return the part of `forward_flops` that is in the layers, which gradient checkpointing runs again."""
    total = 0.0
    for stream in streams(counted):
        length = stream.length(sequence_length) or 0
        matrices = sum(_numbers(tensor) for tensor in stream.tensors if tensor.stack and tensor.multiplies)
        context = _context_of(stream, counted, sequence_length)
        total += length * (2 * matrices + _attention(stream, length, context))
    return total


def attention_flops(counted: Counted, *, sequence_length: int) -> float | None:
    """Return the part of `forward_flops` that is queries with keys and weights with values; None as there."""
    lengths = [(stream, stream.length(sequence_length)) for stream in streams(counted)]
    if any(length is None for _, length in lengths):
        return None
    return sum(
        length * _attention(stream, length, _context_of(stream, counted, sequence_length))
        for stream, length in lengths
        if length is not None
    )


def _stream_flops(stream: Stream, length: int, source: int) -> Iterator[Quantity]:
    whole = _WHOLE_INPUT.get(stream.name) if stream.is_fixed else None
    unit = whole or stream.name
    key = unit.replace(" ", "_")
    matrices, attention = _matrices(stream), _attention(stream, length, source)
    forward = 2 * matrices + attention
    formula = "2 × multiplied parameters" + (" + attention" if attention else "")
    numbers = f"2 × {matrices:,.0f}" + (f" + {attention:,.0f}" if attention else "")
    if whole:
        rest = _patch_flops(stream, length) + 2 * _once(stream)
        formula = f"tokens × ({formula}) + patch embedding and what is met once"
        numbers = f"{length:,} × ({numbers}) + {rest:,.0f}"
        forward = forward * length + rest
    formula += f"; {_attention_words(stream) if attention else _WITHOUT_ATTENTION}"
    layers = sum(_numbers(tensor) for tensor in stream.tensors if tensor.stack and tensor.multiplies)
    again = (2 * layers + attention) * (length if whole else 1)
    yield Quantity(
        f"flops_forward_{key}",
        f"forward, an {unit}" if unit[0] in "ai" else f"forward, a {unit}",
        forward,
        "FLOPs",
        formula,
        numbers,
        SOURCE,
    )
    yield Quantity(
        f"flops_training_{key}",
        f"training, per {unit}",
        3 * forward,
        "FLOPs",
        "3 × forward",
        f"3 × {forward:,.0f}",
        BACKWARD_SOURCE,
    )
    yield Quantity(
        f"flops_training_checkpointing_{key}",
        f"training with gradient checkpointing, per {unit}",
        3 * forward + again,
        "FLOPs",
        "3 × forward + the layers' forward again",
        f"3 × {forward:,.0f} + {again:,.0f}",
        RECOMPUTE_SOURCE,
    )


def _numbers(tensor: Tensor) -> float:
    return tensor.total * tensor.uses * tensor.active


def _matrices(stream: Stream) -> float:
    """Numbers that each token of the stream is multiplied by."""
    return sum(
        _numbers(tensor)
        for tensor in stream.tensors
        if tensor.multiplies and not (stream.is_fixed and is_patch_embedding(tensor))
    )


def _once(stream: Stream) -> float:
    return sum(_numbers(tensor) for tensor in stream.once if tensor.multiplies)


def _patch_flops(stream: Stream, length: int) -> float:
    """FLOPs of the convolutions that make the patches; a learned token, such as [CLS], goes through none."""
    if not stream.is_fixed:
        return 0
    convolutions = (each for each in stream.tensors if each.multiplies and is_patch_embedding(each))
    return 2 * sum(map(_numbers, convolutions)) * (stream.patches or length)


def _context_of(stream: Stream, counted: Counted, sequence_length: int) -> int:
    """Return the length of what the stream's cross attention looks at; 0 for none."""
    if not any(stack.is_cross for stack in stream.stacks):
        return 0
    others = [each for each in streams(counted) if each.name != stream.name]
    return (others[0].length(sequence_length) or 0) if others else sequence_length


def _attention(stream: Stream, length: int, source: int) -> float:
    return sum(_stack_attention(stack, length, source) for stack in stream.stacks)


def _stack_attention(stack: TransformerStack, length: int, source: int) -> float:
    """FLOPs of one token's attention in all layers: its query with every key, its weights with every value."""
    full = (stack.attention_layers - stack.windowed_layers) * length
    windowed = stack.windowed_layers * min(length, stack.window or length)
    crossed = stack.attention_layers * source if stack.is_cross else 0
    return 2.0 * (full + windowed + crossed) * stack.heads * (stack.head_size + stack.value_head_size)


def _attention_words(stream: Stream) -> str:
    is_even = all(stack.head_size == stack.value_head_size for stack in stream.stacks)
    context = "min(context, window)" if any(stack.windowed_layers for stack in stream.stacks) else "context"
    if any(stack.is_cross for stack in stream.stacks):
        context = f"({context} + source)"
    if is_even:
        return f"attention = 4 × layers × {context} × heads × head size"
    return f"attention = 2 × layers × {context} × heads × (head size + value head size)"
