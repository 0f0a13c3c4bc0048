"""What a generation keeps of the tokens so far: keys and values, latents, and the states of state-space layers.

Two vectors a token, layer and key-value head (Pope et al. 2022, arXiv 2211.05102, section 3.3; fewer heads with
grouped queries, Ainslie et al. 2023, arXiv 2305.13245). Held against what transformers' `DynamicCache` allocates.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from llmkit.architectures.counted import Counted, Quantity, Tensor, TransformerStack
from llmkit.architectures.streams import streams

SOURCE = "Pope et al. 2022, arXiv 2211.05102, section 3.3"
GROUPED_SOURCE = "Ainslie et al. 2023 (grouped-query attention), arXiv 2305.13245"
WINDOW_SOURCE = "Beltagy et al. 2020, arXiv 2004.05150; as transformers' DynamicCache keeps it"
LATENT_SOURCE = "DeepSeek-AI 2024 (DeepSeek-V2, multi-head latent attention), arXiv 2405.04434, section 2.1"
STATE_SOURCE = "Gu & Dao 2023 (Mamba), arXiv 2312.00752, section 3"

# The width of a head and of its state, where the tensors of a state-space layer do not show them.
_HEAD_KEYS = ("mamba_head_dim", "mamba_d_head", "head_dim")
_STATE_KEYS = ("ssm_state_size", "mamba_d_state", "state_size")


def kv_cache(counted: Counted, *, context: int, batch_size: int = 1, element_size: int = 2) -> list[Quantity]:
    """Return the bytes of the cache for a token and at a context; nothing for a model that does not generate.

    An encoder-decoder's cross attention has its keys and values of the source, which is as long as `context`,
    or as long as the model says (the frames Whisper hears). A layer with a sliding window keeps the last
    window - 1 tokens, as transformers does: the one that comes is the last of the window. Multi-head latent
    attention keeps its latents, not the keys and values made of them.

    Args:
        element_size: bytes a number: 2 for bfloat16 and float16.
    """
    if not any("use_cache" in each for each in _configs(counted.config)):
        return []
    cached = [
        stack for stack in counted.stacks if (stack.is_causal or stack.is_cross) and stack.attention_layers
    ]
    found = []
    for stack in cached:
        found += _stack_quantities(stack, counted, context, batch_size, element_size)
    states = _recurrent_state(counted, batch_size, element_size)
    return [*found, states] if states else found


def cache_bytes(counted: Counted, *, context: int, batch_size: int = 1, element_size: int = 2) -> float:
    """Return the bytes of the whole cache at a context; 0 for a model that does not generate."""
    whole = ("kv_cache", "kv_cache_cross", "recurrent_state")
    quantities = kv_cache(counted, context=context, batch_size=batch_size, element_size=element_size)
    return sum(each.value for each in quantities if each.key in whole)


def _stack_quantities(
    stack: TransformerStack, counted: Counted, context: int, batch_size: int, size: int
) -> list[Quantity]:
    per_token, formula, numbers, source = _per_token(stack, size)
    full, windowed = stack.attention_layers - stack.windowed_layers, stack.windowed_layers
    last = max((stack.window or 1) - 1, 1)
    tokens = f"{full:,} × {context:,}"
    if windowed:
        source = WINDOW_SOURCE
        tokens += f" + {windowed:,} × min({context:,}, {last:,})"
    value = per_token * batch_size * (full * context + windowed * min(context, last))
    spread = "(layers × context" + (" + windowed layers × min(context, window - 1))" if windowed else ")")
    found = [
        Quantity(
            "kv_cache_token",
            "KV cache, per token",
            per_token * stack.attention_layers,
            "bytes",
            f"layers × {formula}",
            f"{stack.attention_layers:,} × {numbers}",
            source,
        ),
        Quantity(
            "kv_cache",
            f"KV cache, at {context:,} tokens",
            value,
            "bytes",
            f"batch × {formula} × {spread}",
            f"{batch_size:,} × {numbers} × ({tokens})",
            source,
        ),
    ]
    if stack.is_cross:
        source_length = streams(counted)[0].length(context) or context
        found.append(
            Quantity(
                "kv_cache_cross",
                f"KV cache of the source, at {source_length:,} tokens",
                per_token * batch_size * stack.attention_layers * source_length,
                "bytes",
                f"batch × {formula} × layers × source",
                f"{batch_size:,} × {numbers} × {stack.attention_layers:,} × {source_length:,}",
                source,
            )
        )
    return found


def _per_token(stack: TransformerStack, size: int) -> tuple[int, str, str, str]:
    """Return the bytes a token and layer: the figure, its formula with names and with numbers, its source."""
    if stack.latent_size is not None:
        names = f"latent size × {size} bytes"
        return stack.latent_size * size, names, f"{stack.latent_size:,} × {size}", LATENT_SOURCE
    heads, key, value = stack.key_value_heads, stack.head_size, stack.value_head_size
    source = SOURCE if heads == stack.heads else GROUPED_SOURCE
    if key == value:
        names, numbers = "2 × key-value heads × head size", f"2 × {heads:,} × {key:,}"
    else:
        names, numbers = (
            "key-value heads × (head size + value head size)",
            f"{heads:,} × ({key:,} + {value:,})",
        )
    return heads * (key + value) * size, f"{names} × {size} bytes", f"{numbers} × {size}", source


def _recurrent_state(counted: Counted, batch_size: int, size: int) -> Quantity | None:
    """The states of state-space layers, whose size does not grow with the context; None where they do not show."""
    decays = [each for each in counted.tensors if each.name.endswith("A_log")]
    convolutions = [each for each in counted.tensors if each.name.endswith("conv1d.weight") and each.stack]
    states = [_state_numbers(each, counted) for each in decays]
    if not decays or None in states:
        return None
    state = sum(filter(None, states))
    kernel = sum(each.copies * prod(each.sizes) for each in convolutions)
    return Quantity(
        "recurrent_state",
        "state of the state-space layers",
        batch_size * (state + kernel) * size,
        "bytes",
        f"batch × layers × (inner size × state size + channels × kernel) × {size} bytes",
        f"{batch_size:,} × ({state:,} + {kernel:,}) × {size}",
        STATE_SOURCE,
    )


def _state_numbers(decay: Tensor, counted: Counted) -> int | None:
    if len(decay.sizes) == 2:
        return decay.total
    config = counted.config
    head = next((config[key] for key in _HEAD_KEYS if isinstance(config.get(key), int)), None)
    state = next((config[key] for key in _STATE_KEYS if isinstance(config.get(key), int)), None)
    return None if head is None or state is None else decay.total * head * state


def _configs(config: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [config, *(each for each in config.values() if isinstance(each, Mapping))]
