"""A faster way on a CPU, for inference: float32 layers through oneDNN.

PyTorch multiplies float32 matrices on a CPU through MKL, which on AMD processors keeps to 256-bit
instructions: 113 of about 250 GFLOP/s a core, measured on a Zen 5 core. oneDNN, which PyTorch carries too
and uses for bfloat16, takes the full width. The results differ as two orders of summation do, by about 1e-6.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from llmkit.models.processor import processor

if TYPE_CHECKING:
    import torch

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


def mkl_is_held_back() -> bool:
    """Tell whether the processor is an AMD one with 512-bit instructions."""
    maker, abilities = processor()
    return maker == "AuthenticAMD" and "avx512f" in abilities
