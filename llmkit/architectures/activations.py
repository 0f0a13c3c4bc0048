"""What the forward pass keeps for the backward pass: bytes a token, derived from the counted tensors.

After Korthikanti et al. 2022 (arXiv 2205.05198, section 4.1), who find 34 bytes × hidden_size for a token and
a layer of a 16-bit transformer, and 5 × heads × context for the scores. Theirs is one architecture; here each
kept tensor is found from the model's own matrices and norms, as PyTorch's autograd keeps them:

- the input of every matrix that is trained, once for matrices that share it (query, key and value);
- the input of a norm; of one that is composed of several operations (RMSNorm) also the normalized values;
- query, key and value; the attention's output is the input of the output projection;
- the input of the activation function (four tensors of the written-out ``gelu_new``), and both factors of a
  gated one;
- a mask of one byte a number for each dropout that is not 0.

Attention is the fused kind (``sdpa``, ``flash_attention_2``), which keeps no scores but one number a head and
token; ``eager`` keeps softmax's output, of context × heads a token, and so does a learned bias on the scores
(T5), whose gradient the fused kinds of PyTorch on the CPU do not give.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from llmkit.architectures.counted import Counted, Tensor, TransformerStack
from llmkit.architectures.matrices import Matrix, feed_forward, matrix
from llmkit.architectures.streams import Stream, is_patch_embedding, streams

SOURCE = "after Korthikanti et al. 2022, arXiv 2205.05198, section 4.1"

CHECKPOINTING_SOURCE = (
    "Chen et al. 2016, arXiv 1604.06174: the inputs of the layers are kept, the rest is made again"
)

Attention = Literal["sdpa", "eager"]


@dataclass(frozen=True, slots=True)
class Precision:
    """In what the numbers between the layers are kept.

    Attributes:
        stream: bytes a number of the residual stream and of what norms give.
        product: bytes a number that goes into a matrix multiplication or comes out of it.
        is_autocast: `torch.autocast` casts the input of each matrix anew, so that no two share it.
    """

    name: str
    stream: int
    product: int
    is_autocast: bool = False


FLOAT32 = Precision("float32", 4, 4)
MIXED = Precision("bfloat16 autocast", 4, 2, is_autocast=True)
BFLOAT16 = Precision("bfloat16", 2, 2)


@dataclass(frozen=True, slots=True)
class Saved:
    """Bytes that one input (a sequence, or an image with its text) leaves for the backward pass.

    Attributes:
        layers: inside all layers; `largest_layer` in the one that keeps the most.
        passing: gradients on their way back through one layer: two of its widest tensors, and of its scores.
        inputs: of the layers alone, which is all that gradient checkpointing keeps of them.
        ends: before and after the layers: embeddings, final norm, what the head takes.
        logits: log-softmax of the output layer in float32, and two gradients of its size.
    """

    layers: float
    largest_layer: float
    passing: float
    inputs: float
    ends: float
    logits: float

    def total(self, *, checkpointing: bool) -> float:
        """Return the bytes that are there at the worst moment.

        With checkpointing that is when the loss has been taken or when a layer is being recomputed.
        """
        if checkpointing:
            return self.inputs + self.ends + max(self.logits, self.largest_layer + self.passing)
        return self.layers + self.ends + self.logits


def saved(
    counted: Counted,
    *,
    sequence_length: int,
    precision: Precision,
    attention: Attention = "sdpa",
    adapted: Mapping[str, int] | None = None,
) -> Saved | None:
    """Return what the forward pass over one input keeps.

    None for a model with layers that are not attention (state-space models, convolutions), and for one whose
    images have no fixed number of patches.

    Args:
        adapted: names of the tensors beside which LoRA trains an adapter, each with its rank; all else is
            frozen then. None: everything is trained.
    """
    found = streams(counted)
    lengths = [stream.length(sequence_length) for stream in found]
    if not found or None in lengths or any(stack.attention_layers < stack.layers for stack in counted.stacks):
        return None
    layers = largest = passing = inputs = ends = 0.0
    for stream, length in zip(found, lengths, strict=True):
        assert length is not None
        context = _Context(counted, stream, length, precision, attention, adapted)
        layers += context.crossing_bytes() * length
        for stack in stream.stacks:
            per_token = context.layer_bytes(stack)
            layers += per_token * length
            largest = max(largest, per_token * length / stack.layers)
            passing = max(passing, context.passing_bytes(stack) * length)
            inputs += stack.layers * stack.hidden_size * precision.stream * length
        ends += context.end_bytes() * length
    logits = 12.0 * counted.vocabulary * (lengths[-1] or 0) if _has_logits(counted) else 0.0
    return Saved(layers, largest, passing, inputs, ends, logits)


def _has_logits(counted: Counted) -> bool:
    """Whether the model scores every token of the vocabulary for every token."""
    return any(_is_output_layer(tensor, counted) for tensor in counted.tensors)


def _is_output_layer(tensor: Tensor, counted: Counted) -> bool:
    return (
        tensor.multiplies
        and not tensor.stack
        and len(tensor.sizes) == 2
        and tensor.sizes[0] == counted.vocabulary > 0
    )


_NORM = re.compile(r"norm|(^|[._])ln", re.IGNORECASE)
_NORM_OF_HEADS = re.compile(r"(^|\.)(q|k|query|key)_(layer)?norm")
# One kernel keeps its input and two numbers a token; other norms of transformers are written out.
_FUSED_NORMS = {"LayerNorm", "GroupNorm", "BatchNorm2d"}

# Tensors of the activation's size that are kept, where it is not one: relu keeps its output, which is the next
# matrix's input; the written-out ones keep what each of their products takes.
_KEPT_BY_ACTIVATION = {
    "relu": 0,
    "gelu_new": 4,
    "gelu_fast": 4,
    "gelu_accurate": 4,
    "quick_gelu": 2,
    "relu2": 2,
}
_ACTIVATION_KEYS = (
    "dense_act_fn",
    "hidden_act",
    "activation_function",
    "hidden_activation",
    "activation",
    "afn",
)
_DROPOUT_KEYS = (
    "hidden_dropout_prob",
    "hidden_dropout",
    "resid_pdrop",
    "dropout",
    "dropout_rate",
    "resid_dropout",
)
_INNER_DROPOUT_KEYS = ("dropout_rate", "activation_dropout")


@dataclass(frozen=True, slots=True)
class _Context:
    """What the bytes of one stream follow from."""

    counted: Counted
    stream: Stream
    length: int
    precision: Precision
    attention: Attention
    adapted: Mapping[str, int] | None

    def layer_bytes(self, stack: TransformerStack) -> float:
        """Return the bytes a token that all layers of the stack keep."""
        tensors = [each for each in self.stream.tensors if each.stack == stack.name]
        matrices = self._matrices(tensors, stack.hidden_size)
        return (
            self._input_bytes(matrices, stack.hidden_size)
            + sum(self._norm_bytes(each, stack) for each in tensors)
            + self._attention_bytes(stack)
            + self._feed_forward_bytes(matrices)
            + self._dropout_bytes(matrices)
        )

    def passing_bytes(self, stack: TransformerStack) -> float:
        """Return the bytes a token of the gradients that are there at once while a layer is gone through backwards."""
        tensors = [each for each in self.stream.tensors if each.stack == stack.name]
        matrices = self._matrices(tensors, stack.hidden_size)
        runs = max(1, stack.layers)
        widest = max((max(each.inputs, each.outputs) * each.times / runs for each in matrices), default=0)
        return 2 * (widest * self.precision.product + self._score_bytes(stack))

    def crossing_bytes(self) -> float:
        """Return the bytes a token that another stack's cross attention keeps of this stream's output."""
        own = {stack.name for stack in self.stream.stacks}
        crossing = [each for each in self.stream.tensors if each.stack and each.stack not in own]
        matrices = self._matrices(crossing, self.stream.stacks[-1].hidden_size)
        if self.precision.is_autocast or self.adapted is not None or not matrices:
            return self._input_bytes(matrices, self.stream.stacks[-1].hidden_size)
        return matrices[0].inputs * self.precision.product

    def end_bytes(self) -> float:
        """Return the bytes a token that is kept before and after the layers, the logits not included."""
        outside = [each for each in self.stream.tensors if not each.stack and not is_patch_embedding(each)]
        width = self.stream.stacks[-1].hidden_size
        matrices = self._matrices(outside, width)
        # A dense layer before the output layer has an activation function.
        dense = sum(each.outputs for each in matrices if each.tensor.is_head and each.inputs == each.outputs)
        return (
            self._input_bytes(matrices, width)
            + sum(self._norm_bytes(each, None) for each in outside)
            + dense * self.precision.product
        )

    def _matrices(self, tensors: Sequence[Tensor], hidden_size: int) -> list[Matrix]:
        return [matrix(each, hidden_size) for each in tensors if each.multiplies and len(each.sizes) > 1]

    def _input_bytes(self, matrices: Sequence[Matrix], hidden_size: int) -> float:
        """Bytes of the inputs of the trained matrices, once for those that share one."""
        shared: set[object] = set()
        total = 0.0
        for each in matrices:
            rank = (self.adapted or {}).get(each.tensor.name)
            if rank:
                # The adapter is in float32, and its input is cast to it, unless autocast has the last word.
                size = self.precision.product if self.precision.is_autocast else 4
                total += size * (each.inputs + rank) * each.times
            if self.adapted is not None and not each.is_attention_output:
                continue
            from_stream = each.inputs == hidden_size and not each.is_attention_output
            is_cast = self.precision.is_autocast and from_stream
            key = each.module if is_cast or not from_stream else (each.block, each.inputs, each.times)
            if key not in shared:
                total += self._product(each) * each.inputs * each.times
            shared.add(key)
        return total

    def _norm_bytes(self, tensor: Tensor, stack: TransformerStack | None) -> float:
        """Bytes that the norm this weight belongs to keeps; 0 for another tensor."""
        is_norm = _NORM.search(tensor.module_class) or _NORM.search(tensor.name)
        if not is_norm or len(tensor.sizes) != 1 or not tensor.name.endswith("weight"):
            return 0
        width, times = tensor.sizes[0], tensor.copies * tensor.uses
        if stack and width == stack.head_size and (per_head := _NORM_OF_HEADS.search(tensor.name)):
            width *= stack.heads if per_head[2].startswith("q") else stack.key_value_heads
        if tensor.module_class in _FUSED_NORMS:
            return width * times * self.precision.stream
        # Written out: squares are taken in float32, and a trained scale keeps what it is multiplied with.
        normalized = 0 if self.adapted is not None else self.precision.stream
        return width * times * (4 + normalized)

    def _attention_bytes(self, stack: TransformerStack) -> float:
        """Query, key and value, and what softmax leaves behind: its sums, or all of its output."""
        is_eager, is_biased = self.attention == "eager", self._has_learned_bias(stack)
        product = self.precision.product
        # Shared keys and values are repeated for every query head where a mask is given: a window's, for one.
        is_masked = is_eager or (stack.windowed_layers > 0 and self.length > (stack.window or 0))
        key_value_heads = stack.heads if is_masked else stack.key_value_heads
        kept = stack.heads * stack.head_size + key_value_heads * (stack.head_size + stack.value_head_size)
        attentions = 2 if stack.is_cross else 1
        per_layer = attentions * (kept * product + stack.heads * 4) + self._score_bytes(stack) * (
            attentions if is_eager else 1
        )
        if is_biased and not is_eager:
            # What is written out for the bias's sake is taken in float32.
            per_layer += kept * (4 - product)
        return stack.attention_layers * per_layer

    def _score_bytes(self, stack: TransformerStack) -> float:
        """Bytes of the scores that one attention keeps: what softmax made in float32, and its copy for the product."""
        scores, product = stack.heads * self.length, self.precision.product
        if self.attention == "eager":
            return scores * (4 if product == 4 else 4 + product)
        return scores * 4 if self._has_learned_bias(stack) else 0

    def _has_learned_bias(self, stack: TransformerStack) -> bool:
        own = (each for each in self.stream.tensors if each.stack == stack.name)
        return any("relative_attention_bias" in each.name for each in own)

    def _feed_forward_bytes(self, matrices: Sequence[Matrix]) -> float:
        """Bytes between the feed-forward matrices: the activation's input, and a gate's two factors."""
        name = str(_first(self.counted.config, _ACTIVATION_KEYS))
        kept = _KEPT_BY_ACTIVATION.get(name, 1)
        total = 0.0
        for down, is_gated in feed_forward(matrices):
            numbers = (kept + 2 * is_gated) * down.inputs + down.is_stacked * down.outputs
            total += numbers * down.times * self._product(down)
        return total

    def _product(self, matrix: Matrix) -> int:
        """Bytes a number around the matrix: autocast leaves the grouped multiplication of experts alone."""
        return self.precision.stream if matrix.is_stacked else self.precision.product

    def _dropout_bytes(self, matrices: Sequence[Matrix]) -> float:
        total, config = 0.0, self.counted.config
        downs = [down for down, _ in feed_forward(matrices)]
        if _first(config, _DROPOUT_KEYS):
            outputs = [*downs, *(each for each in matrices if each.is_attention_output)]
            total += sum(each.outputs * each.times for each in outputs)
        if _first(config, _INNER_DROPOUT_KEYS):
            total += sum(each.inputs * each.times * (1 + self.precision.product) for each in downs)
        return total


def _first(config: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Return the first of `keys` that the config or, without it there, a nested one has a value for."""
    nested = [each for each in config.values() if isinstance(each, Mapping)]
    for values in (config, *nested):
        for key in keys:
            if isinstance(values.get(key), str | int | float):
                return values[key]
    return None
