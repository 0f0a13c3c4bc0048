"""How the layers of each family of transformers are read: which of its modules is which part of a `Block`.

A family is told by what its layers are made of, not by its name: whatever is built like BERT is read like BERT.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.insight.blocks import Block, FeedForward, Norm, linear, norm, parts_of

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers of a model, or of its encoder or decoder, in the order in which a text goes through them.

    Attributes:
        modules: one module a layer; the same one several times where layers share their weights (ALBERT).
        stack: the module that they are in.
    """

    modules: Sequence[Any]
    stack: nn.Module

    def __len__(self) -> int:
        return len(self.modules)

    def call_of(self, index: int) -> int:
        """Return how often a layer's module has been called before it is called as this layer."""
        own = self.modules[index]
        return sum(each is own for each in self.modules[:index])


_Read = Callable[[Layers, int, bool], Block]


def _bert(layers: Layers, index: int, is_cross: bool) -> Block:
    layer = layers.modules[index]
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


def _distilbert(layers: Layers, index: int, is_cross: bool) -> Block:
    layer = layers.modules[index]
    own, dense = layer.attention, layer.ffn
    return Block(
        family="DistilBERT",
        query=linear(own.q_lin),
        key=linear(own.k_lin),
        value=linear(own.v_lin),
        output=linear(own.out_lin),
        heads=own.n_heads,
        shared_heads=own.n_heads,
        scaling=_scaling(own, own.attention_head_size),
        norm=norm(layer.sa_layer_norm),
        is_normed_after=True,
        attention=own,
        entry=layer,
        attended=(layer.sa_layer_norm, "output"),
        feed_forward=FeedForward(
            norm(layer.output_layer_norm), linear(dense.lin1), None, linear(dense.lin2), dense.activation
        ),
    )


def _albert(layers: Layers, index: int, is_cross: bool) -> Block:
    layer = layers.modules[index]
    own = layer.attention
    return Block(
        family="ALBERT",
        query=linear(own.query),
        key=linear(own.key),
        value=linear(own.value),
        output=linear(own.dense),
        heads=own.num_attention_heads,
        shared_heads=own.num_attention_heads,
        scaling=_scaling(own, own.attention_head_size),
        norm=norm(own.LayerNorm),
        is_normed_after=True,
        attention=own,
        entry=layer,
        attended=(own, "output"),
        feed_forward=FeedForward(
            norm(layer.full_layer_layer_norm),
            linear(layer.ffn),
            None,
            linear(layer.ffn_output),
            layer.activation,
        ),
    )


def _gpt2(layers: Layers, index: int, is_cross: bool) -> Block:
    layer = layers.modules[index]
    query, key, value = parts_of(linear(layer.attn.c_attn), 3)
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


def _llama(layers: Layers, index: int, is_cross: bool) -> Block:
    layer = layers.modules[index]
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


def _modernbert(layers: Layers, index: int, is_cross: bool) -> Block:
    from torch import nn

    layer = layers.modules[index]
    query, key, value = parts_of(linear(layer.attn.Wqkv), 3)
    gate, up = parts_of(linear(layer.mlp.Wi), 2)
    heads = int(query.weight.shape[1]) // layer.attn.head_dim
    return Block(
        family="ModernBERT",
        query=query,
        key=key,
        value=value,
        output=linear(layer.attn.Wo),
        heads=heads,
        shared_heads=heads,
        scaling=_scaling(layer.attn, layer.attn.head_dim),
        # The first layer has none of its own: the embeddings are normalized already.
        norm=None if isinstance(layer.attn_norm, nn.Identity) else norm(layer.attn_norm),
        is_normed_after=False,
        attention=layer.attn,
        entry=layer,
        attended=(layer.mlp_norm, "input"),
        feed_forward=FeedForward(norm(layer.mlp_norm), up, gate, linear(layer.mlp.Wo), layer.mlp.act),
    )


def _bart(layers: Layers, index: int, is_cross: bool) -> Block:
    """Read BART and its like, and OPT, which differ in where the normalization stands."""
    layer = layers.modules[index]
    cross = getattr(layer, "encoder_attn", None)
    own, after = layer.self_attn, layer.self_attn_layer_norm
    if is_cross:
        own, after = cross, layer.encoder_attn_layer_norm
    is_opt = hasattr(layer, "do_layer_norm_before")
    # Where layers begin with a norm (mBART, Pegasus), one more follows the last of them.
    is_normed_before = layer.do_layer_norm_before if is_opt else hasattr(layers.stack, "layer_norm")
    is_last = is_cross or cross is None
    following = layer.final_layer_norm if is_last else layer.encoder_attn_layer_norm
    feed_forward = FeedForward(
        norm(layer.final_layer_norm), linear(layer.fc1), None, linear(layer.fc2), layer.activation_fn
    )
    return Block(
        family="OPT" if is_opt else "BART",
        query=linear(own.q_proj),
        key=linear(own.k_proj),
        value=linear(own.v_proj),
        output=linear(own.out_proj),
        heads=own.num_heads,
        shared_heads=own.num_heads,
        scaling=_scaling(own, own.head_dim),
        norm=norm(after),
        is_normed_after=not is_normed_before,
        attention=own,
        entry=after if is_normed_before else own,
        attended=(following, "input") if is_normed_before else (after, "output"),
        feed_forward=feed_forward if is_last else None,
    )


def _t5(layers: Layers, index: int, is_cross: bool) -> Block:
    parts = layers.modules[index].layer
    part = parts[1 if is_cross else 0]
    own = part.EncDecAttention if is_cross else part.SelfAttention
    follows = len(parts) == (3 if is_cross else 2)
    # T5 has one bias for all layers, UMT5 one for each.
    biased = own if own.has_relative_attention_bias else layers.modules[0].layer[0].SelfAttention

    def bias(queries: int, keys: int) -> torch.Tensor:
        found: torch.Tensor = biased.compute_bias(queries, keys)[0].detach()
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


# How a family is told by what its layers are made of, and how it is read.
_FAMILIES: tuple[tuple[str, tuple[str, ...], _Read], ...] = (
    (
        "BERT",
        ("attention.self.query", "attention.output.LayerNorm", "intermediate.dense", "output.LayerNorm"),
        _bert,
    ),
    ("DistilBERT", ("attention.q_lin", "sa_layer_norm", "ffn.lin1", "output_layer_norm"), _distilbert),
    ("ALBERT", ("attention.query", "attention.LayerNorm", "full_layer_layer_norm", "ffn_output"), _albert),
    ("ModernBERT", ("attn.Wqkv", "attn_norm", "mlp_norm", "mlp.Wi"), _modernbert),
    ("GPT-2", ("attn.c_attn", "attn.c_proj", "ln_1", "ln_2", "mlp.c_fc"), _gpt2),
    (
        "Llama",
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
    (
        "BART, OPT",
        ("self_attn.q_proj", "self_attn.out_proj", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm"),
        _bart,
    ),
    ("T5", ("layer.0.SelfAttention.q", "layer.0.layer_norm"), _t5),
)


def known_families() -> str:
    """Return the names of the families that are known here, as a list in words."""
    *most, last = (name for name, _, _ in _FAMILIES)
    return f"{', '.join(most)} and {last}"


def layers_of(stack: nn.Module, config: Any) -> Layers | None:
    """Return the layers of a model, or of its encoder or decoder, if they are of a family that is known here.

    Args:
        config: the model's own, which says how often layers that share their weights are gone through.
    """
    from torch import nn

    for path, module in stack.named_modules():
        if not isinstance(module, nn.ModuleList) or not len(module):
            continue
        owner = stack.get_submodule(path.rpartition(".")[0])
        if hasattr(module[0], "albert_layers"):
            return Layers(_shared_layers(list(module), config.num_hidden_layers), owner)
        if _family(module[0]) is not None:
            return Layers(list(module), owner)
    return None


def _shared_layers(groups: Sequence[Any], count: int) -> list[Any]:
    """Return ALBERT's layers: each of its groups is gone through several times in a row."""
    chosen = (groups[number * len(groups) // count] for number in range(count))
    return [layer for group in chosen for layer in group.albert_layers]


def read_block(layers: Layers, index: int, *, is_cross: bool) -> Block:
    """Return the parts of one of the layers that `layers_of` gave.

    Args:
        is_cross: the attention from a decoder to its encoder.
    """
    read = _family(layers.modules[index])
    assert read is not None
    return read(layers, index, is_cross)


def _family(layer: Any) -> _Read | None:
    return next((read for _, paths, read in _FAMILIES if _has(layer, *paths)), None)


def _has(module: Any, *paths: str) -> bool:
    for path in paths:
        found = module
        for name in path.split("."):
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
    return True
