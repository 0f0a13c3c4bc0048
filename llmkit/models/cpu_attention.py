"""Faster attention on a CPU, for inference: our own code for encoders, else bfloat16 in chunks.

PyTorch's fused attention multiplies bfloat16 no faster than float32 on a CPU. Plain matrix products, a few
sequences at a time so that their scores stay in the cache, take 0.45 to 0.9 of its time; our own code
(`native_attention.py`), where it can be had, less than half.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.models.native_attention import (
    attend,
    first_queries,
    has_native_attention,
    takes,
    texts_of_mask,
    texts_side_by_side,
    whole_rows,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

NAME = "llmkit_cpu"
_SCORES_BYTES = 1 << 20  # what stays in a core's cache
_BEYOND_US = ("position_bias", "softcap", "cache", "output_attentions")
_ONLY_FIRST = "llmkit_only_first_query"


class SideBySideError(RuntimeError):
    """Texts side by side reached an attention that would let them see each other."""


def speed_up_attention(model: PreTrainedModel) -> bool:
    """Let a model on a CPU attend in a faster way where it would use PyTorch's fused attention; tell whether."""
    import torch

    is_sdpa = getattr(model.config, "_attn_implementation", None) == "sdpa"
    if model.device.type != "cpu" or not is_sdpa or not _can_be_set(model):
        return False
    if model.dtype is not torch.bfloat16 and not (has_native_attention(model.dtype) and _is_encoder(model)):
        return False
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
    try:
        model.set_attn_implementation(NAME)
    except ValueError:  # an architecture with an attention of its own
        return False
    return True


def look_from_the_first_token(module: torch.nn.Module) -> None:
    """Tell an attention module that of each row only the first token's result is read; ours computes no other."""
    setattr(module, _ONLY_FIRST, True)


def _can_be_set(model: PreTrainedModel) -> bool:
    """Tell whether all parts of a model take their attention from transformers' table; if not, it warns."""
    from transformers import PreTrainedModel

    parts = [module for module in model.modules() if isinstance(module, PreTrainedModel)]
    return all(getattr(part, "_can_set_attn_implementation", lambda: True)() for part in parts)


def _is_encoder(model: torch.nn.Module) -> bool:
    return not any(getattr(module, "is_causal", False) for module in model.modules())


def _mask(**arguments: Any) -> torch.Tensor | None:
    """Return the mask of fused attention; one row of it, (batch, 1, 1, keys), where all queries have the same."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, bidirectional_mask_function

    if arguments.get("mask_function") is bidirectional_mask_function and "q_length" in arguments:
        arguments["q_length"] = 1
    found: torch.Tensor | None = ALL_MASK_ATTENTION_FUNCTIONS["sdpa"](**arguments)
    return found


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute softmax(QKᵀ · scaling + mask) · V, the layout as transformers' attention functions have it.

    Args:
        query, key, value: (batch, heads, sequence, head size)
        attention_mask: None, or (batch or 1, 1 or heads, sequence or 1, sequence), True where a token may look.
        kwargs: ``cu_seq_lens_q``: where the texts begin that stand side by side in one row, and the last ends.

    Returns:
        (batch, sequence, heads, head size)

    Raises:
        SideBySideError: there are texts side by side, which this attention cannot keep apart.
    """
    places = kwargs.get("cu_seq_lens_q")
    if takes(query, key, value) and not _is_beyond_us(module, query, attention_mask, kwargs):
        rows, _, queries, size = query.shape
        texts: torch.Tensor | None
        if places is not None:
            texts = texts_side_by_side(places) if attention_mask is None and rows == 1 else None
        elif attention_mask is None:
            texts = whole_rows(rows, queries, key.shape[2])
        else:
            texts = texts_of_mask(attention_mask, rows, queries)
        if texts is not None:
            if hasattr(module, _ONLY_FIRST):
                texts = first_queries(texts)
            return attend(query, key, value, texts, size**-0.5 if scaling is None else scaling), None
    if places is not None:
        raise SideBySideError("an attention that takes no texts side by side")
    return _chunked_attention(module, query, key, value, attention_mask, scaling=scaling, **kwargs)


def _is_beyond_us(
    module: torch.nn.Module, query: torch.Tensor, mask: torch.Tensor | None, kwargs: dict[str, Any]
) -> bool:
    """Tell whether a call wants what our code does not do: a causal mask by flag, a bias, dropout."""
    is_causal = kwargs.get("is_causal")
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    if is_causal and mask is None and query.shape[2] > 1:
        return True
    return bool(kwargs.get("dropout")) or any(kwargs.get(name) is not None for name in _BEYOND_US)


def _chunked_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Compute softmax(QKᵀ · scaling + mask) · V, the layout as transformers' attention functions have it.

    Args:
        query, key, value: (batch, heads, sequence, head size)
        attention_mask: None, or (batch or 1, 1 or heads, sequence, sequence), True where a token may look.

    Returns:
        (batch, sequence, heads, head size)
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    causal_by_flag = attention_mask is None and getattr(module, "is_causal", False)
    grouped = key.shape[1] != query.shape[1]
    is_short = query.shape[2] == 1 or query.shape[2] != key.shape[2]  # generation, a token at a time
    if torch.is_grad_enabled() or grouped or causal_by_flag or is_short or query.dtype is not torch.bfloat16:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    batch, heads, length, size = query.shape
    scaling = size**-0.5 if scaling is None else scaling
    step = min(batch, max(1, _SCORES_BYTES // (heads * length * length * query.element_size())))
    # (rows, heads, length, length), one for all chunks: fresh ones cost more in page faults than the products.
    buffer = query.new_empty(step, heads, length, length)
    output = query.new_empty(batch, length, heads, value.shape[-1])
    query, key = query * scaling, key.transpose(-1, -2)
    for start in range(0, batch, step):
        rows = slice(start, start + step)
        scores = buffer[: min(step, batch - start)]
        torch.matmul(query[rows], key[rows], out=scores)
        if attention_mask is not None:
            mask = attention_mask[rows] if attention_mask.shape[0] == batch else attention_mask
            if mask.dtype is not torch.bool:
                scores += mask
            elif not mask.all():  # a look at the mask is cheaper than a pass over every head's scores
                scores.masked_fill_(~mask, float("-inf"))
        torch.softmax(scores, dim=-1, out=scores)
        output[rows] = torch.matmul(scores, value[rows]).transpose(1, 2)
    return output, None
