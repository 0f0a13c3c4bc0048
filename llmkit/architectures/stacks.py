"""The stacks of layers in a model, and the numbers of each that memory and compute follow from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from llmkit.architectures.attention import attention_of, is_attention, is_cross, mixes_tokens
from llmkit.architectures.config_values import text_config_of, value_of, whole_number
from llmkit.architectures.counted import TransformerStack
from llmkit.architectures.experts import chosen_experts
from llmkit.architectures.heads import is_causal_lm
from llmkit.architectures.places import places, siblings_in
from llmkit.architectures.sharing import has_loops, runs

if TYPE_CHECKING:
    from torch.nn import Module
    from transformers import PreTrainedConfig, PreTrainedModel

# Types of layers in a config's `layer_types` that keep no keys and values of the context.
_NO_CONTEXT = frozenset({"linear_attention", "mamba", "conv", "moe", "recurrent", "mlp", "-"})
_WINDOWED = frozenset({"sliding_attention", "chunked_attention", "local", "hybrid_sliding"})
_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size")
_FEED_FORWARD_WIDTHS = (
    "intermediate_size",
    "ffn_dim",
    "d_ff",
    "ffn_hidden_size",
    "n_inner",
    "encoder_ffn_dim",
)
# A learned table of positions ends there; one that is computed (rotary, ALiBi, relative) does not, but has been
# trained up to there.
_CONTEXTS = ("max_position_embeddings", "max_target_positions", "max_seq_len", "max_sequence_length")


@dataclass(frozen=True, slots=True)
class _LayerList:
    """A list of layers in the model, at its name, with the nearest config, and the outermost list it is in."""

    name: str
    layers: tuple[Module, ...]
    config: Any
    outer: str


def stacks_of(model: PreTrainedModel, config: PreTrainedConfig) -> tuple[TransformerStack, ...]:
    """Return the stacks of layers that mix tokens, by attention or as a state-space layer does.

    Stages of different widths (Swin) are a stack each, under the name of their own list.
    """
    lists = list(_layer_lists(model, "", config, ""))
    times = _runs_of(model, config, lists)
    stacks: list[tuple[str, TransformerStack]] = [
        (each.outer, _stack(each, times.get(each.name, 1), config)) for each in lists
    ]
    merged: dict[tuple[str, TransformerStack], list[TransformerStack]] = {}
    for outer, stack in stacks:
        alike = replace(stack, name="", layers=0, attention_layers=0, windowed_layers=0)
        merged.setdefault((outer, alike), []).append(stack)
    stages = [outer for outer, _ in merged]
    return tuple(
        replace(
            alike,
            name=outer if stages.count(outer) == 1 else same[0].name,
            layers=sum(stack.layers for stack in same),
            attention_layers=sum(stack.attention_layers for stack in same),
            windowed_layers=sum(stack.windowed_layers for stack in same),
        )
        for (outer, alike), same in merged.items()
    )


def context_of(model: PreTrainedModel, config: PreTrainedConfig) -> int | None:
    """Return the most tokens of text the model takes, as its config says; None where nothing limits it.

    A table of positions that starts after the padding's (RoBERTa) holds as many tokens less.
    """
    text = text_config_of(config)
    most = whole_number(text, *_CONTEXTS)
    if most is None:
        return None
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        rows = getattr(module, "num_embeddings", None)
        if name.endswith("position_embeddings") and padding is not None and rows == most:
            return most - padding - 1
    return most


def vocabulary_of(config: PreTrainedConfig) -> int:
    """Return the number of tokens the model knows; 0 for one without any."""
    return whole_number(text_config_of(config), "vocab_size") or whole_number(config, "vocab_size") or 0


def _layer_lists(module: Module, name: str, config: Any, outer: str) -> Iterator[_LayerList]:
    config = _config_of(module, config)
    layers = tuple(child for child in module._modules.values() if child is not None)
    is_list = _is_layer_list(module, layers)
    if is_list and not any(_is_layer_list(inner) for layer in layers for inner in layer.modules()):
        yield _LayerList(name, layers, config, outer or name)
        return
    for child_name, child in module._modules.items():
        if child is not None:
            full = f"{name}.{child_name}" if name else child_name
            yield from _layer_lists(child, full, config, (outer or name) if is_list else outer)


def _is_layer_list(module: Module, layers: Sequence[Module] | None = None) -> bool:
    from torch.nn import ModuleList, Sequential

    if not isinstance(module, ModuleList | Sequential) or not siblings_in(module):
        return False
    children = list(module) if layers is None else layers
    return any(mixes_tokens(inner) for layer in children for inner in layer.modules())


def _stack(found: _LayerList, times: int, top: PreTrainedConfig) -> TransformerStack:
    layers, config = found.layers, found.config
    attention = attention_of(layers, config, found.name)
    types = _layer_types(config, len(layers))
    with_context = (
        sum(kind not in _NO_CONTEXT for kind in types)
        if types
        else sum(any(is_attention(inner) for inner in layer.modules()) for layer in layers)
    )
    window, windowed = _window(config, types, with_context)
    return TransformerStack(
        name=found.name,
        layers=len(layers) * times,
        attention_layers=with_context * times,
        window=window,
        windowed_layers=windowed * times,
        hidden_size=attention.hidden_size,
        intermediate_size=_intermediate_size(layers[-1], attention.hidden_size, config),
        heads=attention.heads,
        key_value_heads=attention.key_value_heads,
        head_size=attention.head_size,
        value_head_size=attention.value_head_size,
        latent_size=attention.latent_size,
        is_causal=attention.is_causal or (config is not None and _reads_forward(config, top)),
        is_cross=any(is_cross(name, inner) for name, inner in layers[0].named_modules()),
    )


def _reads_forward(config: Any, top: PreTrainedConfig) -> bool:
    """Whether the stack is the text part of a language model, where the attention itself does not say so."""
    text = text_config_of(top)
    is_text = type(config) is type(text) or config is top
    return bool(value_of(config, "is_decoder")) or (is_text and is_causal_lm(top))


def _layer_types(config: Any, layers: int) -> tuple[str, ...]:
    for name in ("layer_types", "attention_layers", "layers_block_type"):
        types = value_of(config, name)
        if (
            isinstance(types, list | tuple)
            and len(types) == layers
            and all(isinstance(t, str) for t in types)
        ):
            return tuple(types)
    return ()


def _window(config: Any, types: Sequence[str], with_context: int) -> tuple[int | None, int]:
    """Return how many tokens back the windowed layers look, and how many layers do."""
    size = whole_number(config, *_WINDOWS)
    if types:
        windowed = sum(kind in _WINDOWED for kind in types)
        return (size, windowed) if size and windowed else (None, 0)
    if size and "sliding_window" in vars(config) and value_of(config, "use_sliding_window") is not False:
        return size, with_context
    both_ways = value_of(config, "attention_window")  # Longformer: half to the left, half to the right
    if isinstance(both_ways, list) and both_ways and not value_of(config, "is_decoder"):
        return max(both_ways) // 2, with_context
    return None, 0


def _intermediate_size(layer: Module, hidden_size: int, config: Any) -> int:
    """Return the width inside the feed-forward block of a layer: of the experts that a token meets, side by side."""
    mixing = {
        id(parameter)
        for module in layer.modules()
        if module is not layer and mixes_tokens(module)
        for parameter in module.parameters()
    }
    dense, routed, slices = [0], [0], []
    for place in places(layer):
        sizes = tuple(place.tensor.shape)
        if id(place.tensor) in mixing or hidden_size not in sizes[-2:]:
            continue
        if len(sizes) == 3 and place.experts:
            # Gate and up may lie in one tensor, twice as wide as down: the narrower is the width.
            slices.append(sizes[1] if sizes[2] == hidden_size else sizes[2])
        elif len(sizes) == 2:
            rows, columns = sizes if type(place.module).__name__ != "Conv1D" else sizes[::-1]
            if rows == hidden_size:  # the projection back to the stream
                (routed if place.experts else dense).append(columns)
    chosen = chosen_experts(config) or 1
    width = max(dense) + chosen * max(max(routed), min(slices, default=0))
    return width or chosen * (whole_number(config, *_FEED_FORWARD_WIDTHS) or 0)


def _runs_of(model: PreTrainedModel, config: Any, lists: Sequence[_LayerList]) -> Mapping[str, int]:
    if not has_loops(config):
        return {}
    times: dict[str, int] = {}
    for place in places(model):
        for each in lists:
            if place.name.startswith(f"{each.name}."):
                times.setdefault(each.name, runs(place))
    return times


def _config_of(module: Module, around: Any) -> Any:
    config = getattr(module, "config", None)
    return config if hasattr(config, "to_dict") else around
