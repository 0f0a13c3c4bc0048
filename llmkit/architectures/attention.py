"""The attention of a layer, read off its modules, and off the config where they don't say: heads and their sizes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.architectures.config_values import whole_number

if TYPE_CHECKING:
    from torch.nn import Module

_ATTENTION = re.compile(r"Attention|Attn|MoA$")
# They mix tokens, too, but keep a state of fixed size instead of the context.
_STATEFUL = re.compile(
    r"Mamba|SSM|Rwkv|LSTM|RecurrentBlock|GatedDelta|DeltaNet|DeltaAttention|Lightning|LinearAttention|ShortConv"
)
_OTHER_MIXERS = re.compile(r"Fourier|Mixer$|Retention")
_CROSS = re.compile(r"cross|encoder_attn|EncDec|enc_dec", re.IGNORECASE)

# The names that modules and configs have for one thing, the most particular first.
_HEADS = ("num_attention_heads", "num_heads", "n_heads", "n_head", "num_q_heads", "attention_heads")
_KEY_VALUE_HEADS = ("num_key_value_heads", "num_kv_heads", "kv_heads", "n_kv_heads")
_HEAD_SIZES = (
    "qk_head_dim",
    "head_dim",
    "attention_head_size",
    "key_value_proj_dim",
    "d_head",
    "dim_per_head",
    "head_size",
)


@dataclass(frozen=True, slots=True)
class Attention:
    """The attention of a layer to its own stack; 0 heads where it has none. Fields as of `TransformerStack`."""

    hidden_size: int
    heads: int
    key_value_heads: int
    head_size: int
    value_head_size: int
    latent_size: int | None
    is_causal: bool


def mixes_tokens(module: Module) -> bool:
    """Return whether a module is attention, or does what a layer has in its place."""
    name = type(module).__name__
    return bool(_ATTENTION.search(name) or _STATEFUL.search(name) or _OTHER_MIXERS.search(name))


def is_attention(module: Module) -> bool:
    """Return whether a module looks back at the whole context, keys and values of which are kept."""
    name = type(module).__name__
    return bool(_ATTENTION.search(name)) and not _STATEFUL.search(name)


def is_cross(name: str, module: Module) -> bool:
    """Return whether a module, of this name in its layer, attends to another stack's output."""
    return is_attention(module) and bool(_CROSS.search(name) or _CROSS.search(type(module).__name__))


def attention_of(layers: Sequence[Module], config: Any, path: str) -> Attention:
    """Return the attention of the first of the layers that has one.

    Args:
        config: the nearest config; `path`, the name of the list, tells a decoder's values from an encoder's.
    """
    modules = [
        inner
        for layer in layers
        for name, inner in layer.named_modules()
        if is_attention(inner) and not is_cross(name, inner)
    ]
    hidden_size = _hidden_size(layers, modules, config)
    if not modules:
        return Attention(hidden_size, 0, 0, 0, 0, None, is_causal=False)
    # The layer's own module comes first, then what is inside: the one that knows its heads is asked.
    own = [inner for inner in modules if whole_number(inner, *_HEADS)] or modules
    attention = own[0]
    heads = whole_number(attention, *_HEADS) or _heads_by_config(config, path) or 1
    head_size = (
        whole_number(attention, *_HEAD_SIZES)
        or whole_number(config, "qk_head_dim", "head_dim")
        or hidden_size // heads
    )
    return Attention(
        hidden_size=hidden_size,
        heads=heads,
        key_value_heads=_key_value_heads(attention, config, heads),
        head_size=head_size,
        value_head_size=whole_number(attention, "v_head_dim")
        or whole_number(config, "v_head_dim")
        or head_size,
        latent_size=_latent_size(config),
        is_causal=any(getattr(inner, "is_causal", None) is True for inner in modules[:3]),
    )


def _heads_by_config(config: Any, path: str) -> int | None:
    side = "decoder" if "decoder" in path else "encoder"
    return whole_number(config, f"{side}_attention_heads", f"num_{side}_attention_heads", *_HEADS)


def _key_value_heads(attention: Module, config: Any, heads: int) -> int:
    own = whole_number(attention, *_KEY_VALUE_HEADS)
    if own:
        return own
    groups = whole_number(attention, "num_key_value_groups")
    if groups:
        return max(1, heads // groups)
    return whole_number(config, *_KEY_VALUE_HEADS) or heads


def _latent_size(config: Any) -> int | None:
    """Return what multi-head latent attention caches: the latent and the rotary key (DeepSeek-AI 2024, section 2.1)."""
    latent = whole_number(config, "kv_lora_rank")
    return latent + (whole_number(config, "qk_rope_head_dim") or 0) if latent else None


def _hidden_size(layers: Sequence[Module], attention: Sequence[Module], config: Any) -> int:
    """Return the width of the stream: the config's, if a norm in the layer has it, else what the attention takes.

    The stages of a Swin differ, and Zamba's attention takes the stream twice, side by side.
    """
    said = whole_number(config, "hidden_size", "d_model") or 0
    normed = {
        weight.shape[0]
        for inner in layers[0].modules()
        if "Norm" in type(inner).__name__ and (weight := inner._parameters.get("weight")) is not None
    }
    return said if said in normed else _width(attention or layers) or said


def _width(modules: Sequence[Module]) -> int | None:
    """Return the width of what goes into the first projection."""
    for module in modules:
        for inner in module.modules():
            weight = inner._parameters.get("weight")
            if weight is None or weight.ndim != 2 or "Embedding" in type(inner).__name__:
                continue
            return int(weight.shape[0] if type(inner).__name__ == "Conv1D" else weight.shape[1])
    return None
