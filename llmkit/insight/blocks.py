"""The parts of a transformer's layer under the names of the paper, for each family that has its own names for them.

What differs between families: where the normalization stands (after the residual in BERT, before the attention in
all others), which one it is (LayerNorm, Ba et al. 2016, https://arxiv.org/abs/1607.06450; RMSNorm, Zhang and Sennrich
2019, https://arxiv.org/abs/1910.07467), and how positions get in: added (BERT, GPT-2), as rotations of queries and keys
(Llama; Su et al. 2021, https://arxiv.org/abs/2104.09864), as a bias on the scores (T5; Raffel et al. 2019,
https://arxiv.org/abs/1910.10683). Llama-like models may share a key and a value among several queries (Ainslie et al.
2023, https://arxiv.org/abs/2305.13245).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Linear:
    """A linear map x·W + b, with W (in, out)."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Return x·W + b for x (…, in)."""
        out = x @ self.weight
        return out if self.bias is None else out + self.bias

    def formula(self, x: str, name: str) -> str:
        """Return it as a formula of `x`, with the shape of its weights."""
        rows, columns = self.weight.shape
        return f"{x}·{name} {rows:,} × {columns:,}{'' if self.bias is None else ' + b'}"


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm, or an RMSNorm where `is_centered` is False."""

    weight: Tensor
    bias: Tensor | None
    eps: float
    is_centered: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Return x (…, size) normalized over its last axis."""
        centered = x - x.mean(-1, keepdim=True) if self.is_centered else x
        out = centered / (centered.pow(2).mean(-1, keepdim=True) + self.eps).sqrt() * self.weight
        return out if self.bias is None else out + self.bias

    @property
    def name(self) -> str:
        """What it is called."""
        return "LayerNorm" if self.is_centered else "RMSNorm"

    @property
    def formula(self) -> str:
        """Return it as a formula of x."""
        top = "(x − mean)" if self.is_centered else "x"
        under = "√(variance + ε)" if self.is_centered else "√(mean of x² + ε)"
        return f"{top} / {under} · γ{'' if self.bias is None else ' + β'}, ε = {self.eps:g}"


@dataclass(frozen=True, slots=True)
class FeedForward:
    """The two layers after the attention: down(activation(up(x))), or down(activation(gate(x)) · up(x)).

    Attributes:
        norm: after the residual where the block's own is, else before `up`.
    """

    norm: Norm
    up: Linear
    gate: Linear | None
    down: Linear
    activation: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Block:
    """One layer's attention, and what follows it.

    Attributes:
        family: which it is like.
        query, key, value: (width, heads × head_size); key and value fewer columns where heads share them.
        heads: of queries.
        shared_heads: of keys and values.
        scaling: what the scores are multiplied with.
        query_norm, key_norm: over each head, before the rotation.
        bias: (heads, query, key), added to the scores; from the numbers of queries and keys.
        is_normed_after: the normalization stands after the residual.
        attention: the module that is given the mask, and where positions rotate their cosine and sine.
        entry: the module whose input is the residual.
        attended: the module, and whether its input or output is what the attention and the residual gave.
        feed_forward: None where something else follows, or something that these steps do not know.
    """

    family: str
    query: Linear
    key: Linear
    value: Linear
    output: Linear
    heads: int
    shared_heads: int
    scaling: float
    norm: Norm
    is_normed_after: bool
    attention: nn.Module
    entry: nn.Module
    attended: tuple[nn.Module, str]
    feed_forward: FeedForward | None
    query_norm: Norm | None = None
    key_norm: Norm | None = None
    bias: Callable[[int, int], Tensor] | None = None

    @property
    def head_size(self) -> int:
        """Numbers of a query or key."""
        return int(self.query.weight.shape[1]) // self.heads


def linear(module: Any) -> Linear:
    """Return a linear module, or one of GPT-2's transposed ones, as x·W + b."""
    is_transposed = type(module).__name__ == "Conv1D"
    weight = module.weight.detach()
    bias = getattr(module, "bias", None)
    return Linear(weight if is_transposed else weight.T, None if bias is None else bias.detach())


def norm(module: Any) -> Norm:
    """Return a normalization of either kind."""
    from torch import nn

    bias = getattr(module, "bias", None)
    eps = module.eps if hasattr(module, "eps") else module.variance_epsilon
    return Norm(
        module.weight.detach(),
        None if bias is None else bias.detach(),
        float(eps),
        isinstance(module, nn.LayerNorm),
    )


def _bert(layers: Sequence[Any], index: int, is_cross: bool) -> Block:
    layer = layers[index]
    own, out = layer.attention.self, layer.attention.output
    follows = getattr(layer, "crossattention", None) is None
    feed_forward = FeedForward(
        norm(layer.output.LayerNorm),
        linear(layer.intermediate.dense),
        None,
        linear(layer.output.dense),
        layer.intermediate.intermediate_act_fn,
    )
    return Block(
        family="BERT",
        query=linear(own.query),
        key=linear(own.key),
        value=linear(own.value),
        output=linear(out.dense),
        heads=own.num_attention_heads,
        shared_heads=own.num_attention_heads,
        scaling=_scaling(own, own.attention_head_size),
        norm=norm(out.LayerNorm),
        is_normed_after=True,
        attention=own,
        entry=layer,
        attended=(layer.attention, "output"),
        feed_forward=feed_forward if follows else None,
    )


def _gpt2(layers: Sequence[Any], index: int, is_cross: bool) -> Block:
    layer = layers[index]
    joined, width = linear(layer.attn.c_attn), layer.attn.embed_dim
    query, key, value = (
        Linear(
            joined.weight[:, start : start + width],
            None if joined.bias is None else joined.bias[start : start + width],
        )
        for start in (0, width, 2 * width)
    )
    mlp = layer.mlp
    follows = getattr(layer, "crossattention", None) is None
    feed_forward = FeedForward(norm(layer.ln_2), linear(mlp.c_fc), None, linear(mlp.c_proj), mlp.act)
    return Block(
        family="GPT-2",
        query=query,
        key=key,
        value=value,
        output=linear(layer.attn.c_proj),
        heads=layer.attn.num_heads,
        shared_heads=layer.attn.num_heads,
        scaling=float(layer.attn.scaling),
        norm=norm(layer.ln_1),
        is_normed_after=False,
        attention=layer.attn,
        entry=layer,
        attended=(layer.ln_2 if follows else layer.ln_cross_attn, "input"),
        feed_forward=feed_forward if follows else None,
    )


def _llama(layers: Sequence[Any], index: int, is_cross: bool) -> Block:
    layer = layers[index]
    own, mlp, after = layer.self_attn, layer.mlp, layer.post_attention_layernorm
    query, key = linear(own.q_proj), linear(own.k_proj)
    is_known = all(hasattr(mlp, each) for each in ("gate_proj", "up_proj", "down_proj", "act_fn"))
    return Block(
        family="Llama",
        query=query,
        key=key,
        value=linear(own.v_proj),
        output=linear(own.o_proj),
        heads=int(query.weight.shape[1]) // own.head_dim,
        shared_heads=int(key.weight.shape[1]) // own.head_dim,
        scaling=_scaling(own, own.head_dim),
        norm=norm(layer.input_layernorm),
        is_normed_after=False,
        attention=own,
        entry=layer,
        attended=(after, "input"),
        feed_forward=_gated(norm(after), mlp) if is_known else None,
        query_norm=norm(own.q_norm) if hasattr(own, "q_norm") else None,
        key_norm=norm(own.k_norm) if hasattr(own, "k_norm") else None,
    )


def _gated(before: Norm, mlp: Any) -> FeedForward:
    return FeedForward(before, linear(mlp.up_proj), linear(mlp.gate_proj), linear(mlp.down_proj), mlp.act_fn)


def _t5(layers: Sequence[Any], index: int, is_cross: bool) -> Block:
    parts = layers[index].layer
    part = parts[1 if is_cross else 0]
    own = part.EncDecAttention if is_cross else part.SelfAttention
    follows = len(parts) == (3 if is_cross else 2)
    first = layers[0].layer[0].SelfAttention

    def bias(queries: int, keys: int) -> torch.Tensor:
        found: torch.Tensor = first.compute_bias(queries, keys)[0].detach()
        return found

    return Block(
        family="T5",
        query=linear(own.q),
        key=linear(own.k),
        value=linear(own.v),
        output=linear(own.o),
        heads=own.n_heads,
        shared_heads=own.n_heads,
        scaling=1.0,
        norm=norm(part.layer_norm),
        is_normed_after=False,
        attention=own,
        entry=part,
        attended=(part, "output"),
        feed_forward=_t5_feed_forward(parts[-1]) if follows else None,
        bias=None if is_cross else bias,
    )


def _t5_feed_forward(part: Any) -> FeedForward:
    dense = part.DenseReluDense
    is_gated = hasattr(dense, "wi_0")
    return FeedForward(
        norm(part.layer_norm),
        linear(dense.wi_1 if is_gated else dense.wi),
        linear(dense.wi_0) if is_gated else None,
        linear(dense.wo),
        dense.act,
    )


def _scaling(attention: Any, head_size: int) -> float:
    return float(getattr(attention, "scaling", head_size**-0.5))


def _has(module: Any, *paths: str) -> bool:
    for path in paths:
        found = module
        for name in path.split("."):
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
    return True


# How a family is told by what its layers are made of, and how it is read.
_FAMILIES: tuple[tuple[tuple[str, ...], Callable[[Sequence[Any], int, bool], Block]], ...] = (
    (("attention.self.query", "attention.output.LayerNorm", "intermediate.dense", "output.LayerNorm"), _bert),
    (("attn.c_attn", "attn.c_proj", "ln_1", "ln_2", "mlp.c_fc"), _gpt2),
    (
        (
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "input_layernorm",
            "post_attention_layernorm",
            "mlp",
        ),
        _llama,
    ),
    (("layer.0.SelfAttention.q", "layer.0.layer_norm"), _t5),
)


def layers_of(stack: nn.Module) -> Sequence[Any] | None:
    """Return the layers of a model, or of its encoder or decoder, if they are of a family that is known here."""
    from torch import nn

    for module in stack.modules():
        if isinstance(module, nn.ModuleList) and len(module) and _family(module[0]) is not None:
            return list(module)
    return None


def _family(layer: Any) -> Callable[[Sequence[Any], int, bool], Block] | None:
    return next((read for paths, read in _FAMILIES if _has(layer, *paths)), None)


def read_block(layers: Sequence[Any], index: int, *, is_cross: bool) -> Block:
    """Return the parts of one of the layers that `layers_of` gave.

    Args:
        is_cross: the attention from a decoder to its encoder.
    """
    read = _family(layers[index])
    assert read is not None
    return read(layers, index, is_cross)
