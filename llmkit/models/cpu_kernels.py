"""Two faster ways on a CPU, for inference: float32 layers through oneDNN, bfloat16 attention in chunks.

PyTorch multiplies float32 matrices on a CPU through MKL, which on AMD processors keeps to 256-bit
instructions: 113 of about 250 GFLOP/s a core, measured on a Zen 5 core. oneDNN, which PyTorch carries too
and uses for bfloat16, takes the full width. The results differ as two orders of summation do, by about 1e-6.

PyTorch's fused attention multiplies bfloat16 no faster than float32 there. Plain matrix products, a few
sequences at a time so that their scores stay in the cache, take 0.45 to 0.9 of its time.
"""

from __future__ import annotations

import functools
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_FEW_ROWS = 4  # below, reading the weights takes the time, and both libraries are alike


def speed_up_linear_layers(model: torch.nn.Module) -> int:
    """Let the model's float32 linear layers multiply through oneDNN where that is faster; return how many.

    Only without gradients: where one is wanted, the layer computes as it did.
    """
    import torch

    if not mkl_is_held_back() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    layers = [
        module
        for module in model.modules()
        # A subclass (quantized, LoRA) has a forward of its own.
        if type(module) is torch.nn.Linear and module.weight.dtype is torch.float32 and module.weight.is_cpu
    ]
    for layer in layers:
        layer.forward = types.MethodType(_onednn_linear, layer)  # type: ignore[method-assign]
    return len(layers)


def _onednn_linear(self: torch.nn.Linear, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - Linear's own name
    """Compute x Wᵀ + b, shape (…, in) -> (…, out)."""
    import torch

    plain = (
        torch.is_grad_enabled() or input.dtype is not torch.float32 or self.weight.dtype is not torch.float32
    )
    if plain or input.numel() < _FEW_ROWS * self.in_features or not input.is_cpu or not self.weight.is_cpu:
        return torch.nn.functional.linear(input, self.weight, self.bias)
    return torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")


@functools.cache
def mkl_is_held_back() -> bool:
    """Tell whether the processor is an AMD one with 512-bit instructions."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "AuthenticAMD" in text and " avx512f " in text


_CHUNKED = "llmkit_chunked"
_SCORES_BYTES = 1 << 20  # what stays in a core's cache


def speed_up_attention(model: PreTrainedModel) -> bool:
    """Let a bfloat16 model on a CPU attend in chunks where it would use PyTorch's fused attention; tell whether."""
    import torch

    if model.dtype is not torch.bfloat16 or model.device.type != "cpu":
        return False
    if getattr(model.config, "_attn_implementation", None) != "sdpa":
        return False
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    AttentionInterface.register(_CHUNKED, _chunked_attention)
    AttentionMaskInterface.register(_CHUNKED, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    try:
        model.set_attn_implementation(_CHUNKED)
    except ValueError:  # an architecture with an attention of its own
        return False
    return True


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
