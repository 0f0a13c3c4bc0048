"""A counted architecture: every tensor of the model, folded over its layers, and the facts that costs follow from.

Plain values throughout, so that a count is kept as JSON and read again without torch or transformers. What it
weighs, what it needs, and how it is shown are worked out from this alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any, Literal

Kind = Literal["encoder-only", "decoder-only", "encoder-decoder", "vision", "audio", "multimodal"]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One dimension of a tensor: its size, and the formula for it in the config's own names.

    Attributes:
        formula: such as ``hidden_size``, ``3 × hidden_size`` or ``num_attention_heads × head_dim``; the
            number itself where nothing in the config explains it. Names of a nested config have its
            name before them: ``vision_config.hidden_size``.
    """

    size: int
    formula: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """One kind of parameter: all tensors of one shape that differ in the number of their layer only.

    Attributes:
        name: the parameter's name with ``*`` for each number of a layer or an expert:
            ``encoder.layer.*.attention.self.query.weight``.
        shape: its dimensions; empty for a scalar.
        copies: how many such tensors there are, each with its own numbers.
        repeats: what the copies run over, outermost first; the product of the sizes is `copies`. Empty for one.
        module_class: the class of the module that holds it, such as ``Linear``, ``Embedding``, ``LayerNorm``.
        component: the row of the table it belongs to: ``attention``, ``feed-forward``, ``token embeddings``.
        stack: the name of the outermost list of layers it is in (``encoder.layer``), "" outside of any.
        uses: how often each copy is applied in one forward pass: ALBERT's one layer is, 12 times.
        active: the share of the copies' numbers that one token meets: top-k/experts for routed experts, else 1.
        multiplies: it is a matrix that activations are multiplied by, so that a token costs 2 FLOPs a number;
            a looked-up embedding, a bias or a norm is not. A table that is tied to the output layer is.
        is_head: it belongs to the head, not to the bare model.
        tied: the other names the same tensor goes by.
        first: the full name of the first copy, as in the checkpoint of an untouched model.
    """

    name: str
    shape: tuple[Dimension, ...]
    copies: int = 1
    repeats: tuple[Dimension, ...] = ()
    module_class: str = ""
    component: str = ""
    stack: str = ""
    uses: int = 1
    active: float = 1.0
    multiplies: bool = False
    is_head: bool = False
    tied: tuple[str, ...] = ()
    first: str = ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape as numbers."""
        return tuple(dimension.size for dimension in self.shape)

    @property
    def is_stacked_experts(self) -> bool:
        """Whether it is a set of routed experts in one tensor of three dimensions."""
        return len(self.shape) == 3 and self.active < 1

    @property
    def each(self) -> int:
        """Numbers in one copy."""
        return prod(self.sizes)

    @property
    def total(self) -> int:
        """Numbers in all copies."""
        return self.each * self.copies


@dataclass(frozen=True, slots=True)
class Buffer:
    """Numbers that are kept with the model but not trained: position ids, running means, masks.

    Attributes:
        name: as of `Tensor`.
        dtype: such as ``float32`` or ``int64``.
    """

    name: str
    sizes: tuple[int, ...]
    copies: int
    dtype: str


@dataclass(frozen=True, slots=True)
class TransformerStack:
    """The numbers of one stack of layers that memory and compute follow from, under one name for every family.

    Attributes:
        name: as of `Tensor.stack`.
        layers: how many layers are run (for ALBERT 12, though they share one set of weights).
        attention_layers: how many of them attend over the whole context; a state-space layer does not.
        window: the most tokens back that the layers of a sliding window look; None for no window.
        windowed_layers: how many of the layers have that window (the `attention_layers` include them).
        hidden_size: width of the residual stream.
        intermediate_size: width inside the feed-forward block; 0 if there is none.
        heads: query heads.
        key_value_heads: fewer than `heads` with grouped or multi-query attention.
        head_size: of queries and keys; `value_head_size` of values.
        latent_size: numbers a token and layer that multi-head latent attention caches instead of keys
            and values (DeepSeek: kv_lora_rank + qk_rope_head_dim); None elsewhere.
        is_causal: a token sees only what is before it.
        is_cross: the layers attend to another stack's output too.
    """

    name: str
    layers: int
    attention_layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    key_value_heads: int
    head_size: int
    value_head_size: int
    window: int | None = None
    windowed_layers: int = 0
    latent_size: int | None = None
    is_causal: bool = False
    is_cross: bool = False


@dataclass(frozen=True, slots=True)
class Counted:
    """A model, counted.

    Attributes:
        model_class: the class of transformers that was built, such as ``BertModel``.
        head: the head that was counted: ``none``, ``masked-lm``, ``causal-lm``, ``seq2seq-lm``, ….
        usual_head: the head that models of this type usually have, and `usual_head_adds`, the numbers it
            adds (negative where the head leaves out more than it brings); None where `head` is it.
        config: the config's values as transformers completed them, nested configs as nested objects.
        context: the most tokens the model takes; None where it has no limit.
        shared_layers: how the layers share weights, as a sentence for the user; "" where they don't.
        vocabulary: the number of tokens; 0 for a model without any.
    """

    model_type: str
    model_class: str
    kind: Kind
    head: str
    tensors: tuple[Tensor, ...]
    buffers: tuple[Buffer, ...]
    stacks: tuple[TransformerStack, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    usual_head: str | None = None
    usual_head_adds: int | None = None
    context: int | None = None
    vocabulary: int = 0
    shared_layers: str = ""

    @property
    def total(self) -> int:
        """Parameters, a tied or shared tensor once."""
        return sum(tensor.total for tensor in self.tensors)

    @property
    def active(self) -> int:
        """Parameters that one token meets: less than `total` for a mixture of experts."""
        return sum(round(tensor.total * tensor.active) for tensor in self.tensors)

    def tied(self) -> Iterator[Tensor]:
        """Go through the tensors that have more than one name."""
        return (tensor for tensor in self.tensors if tensor.tied)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` makes the same count of."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Counted:
        """Make a count of what `to_json` gave, though it went through a file.

        Raises:
            KeyError, TypeError: it is something else.
        """
        tensors = tuple(
            Tensor(
                **{
                    **each,
                    "shape": _dimensions(each["shape"]),
                    "repeats": _dimensions(each["repeats"]),
                    "tied": tuple(each["tied"]),
                }
            )
            for each in values["tensors"]
        )
        buffers = tuple(Buffer(**{**each, "sizes": tuple(each["sizes"])}) for each in values["buffers"])
        stacks = tuple(TransformerStack(**each) for each in values["stacks"])
        return cls(**{**values, "tensors": tensors, "buffers": buffers, "stacks": stacks})


def _dimensions(values: Any) -> tuple[Dimension, ...]:
    return tuple(Dimension(**each) for each in values)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A figure that follows from a count: what it is, how much, and why.

    Attributes:
        key: its name in JSON, such as ``weights_float32``; of the unit ``bytes``, ``FLOPs``, ``parameters``.
        label: its name for a person.
        formula: in words and the config's names: ``parameters × 4 bytes``.
        numbers: the same with numbers: ``109,482,240 × 4``.
        source: the paper or page the formula comes from; "" where it is arithmetic.
    """

    key: str
    label: str
    value: float
    unit: str
    formula: str
    numbers: str
    source: str = ""
