"""A faster way on a CPU, for inference: linear layers through oneDNN, their weights in its own layout.

PyTorch multiplies float32 matrices on a CPU through MKL, which on some AMD processors keeps to 256-bit
instructions: 113 of about 250 GFLOP/s a core, measured on a Zen 5 core. oneDNN, which PyTorch carries too, takes the
full width. bfloat16 goes there anyway, but by a way that first copies the bias into all rows of the result. The
results differ as two orders of summation do, by about 1e-6.

oneDNN brings weights into a layout of its own at every product; done once, a product takes 0.95 of its time, one of
few rows half of it. That costs the memory of the weights again, so it is done for models of moderate size.
"""

from __future__ import annotations

import functools
import weakref
from typing import TYPE_CHECKING, NamedTuple

from llmkit.models.processor import processor

if TYPE_CHECKING:
    import torch

_FEW_ROWS = 4  # below, reading the weights takes the time, and both ways are alike
_MOST_PACKED_BYTES = 1 << 29  # of weights that are kept twice


class _Packed(NamedTuple):
    """A weight in oneDNN's layout, and of what state of the weight it is."""

    weight: torch.Tensor
    state: tuple[int, int]


# Beside the layers: copied or saved, a model is what it was.
_PACKED: weakref.WeakKeyDictionary[torch.nn.Linear, _Packed] = weakref.WeakKeyDictionary()


def speed_up_linear_layers(model: torch.nn.Module) -> int:
    """Let the model's linear layers multiply through oneDNN where that is faster; return how many.

    Only without gradients: where one is wanted, the layer computes as it did.
    """
    import torch

    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return 0
    dtypes = _faster_dtypes()
    layers = [
        module
        for module in model.modules()
        # A subclass (quantized, LoRA) has a forward of its own.
        if type(module) is torch.nn.Linear and module.weight.dtype in dtypes and module.weight.is_cpu
    ]
    for layer in layers:
        layer.forward = functools.partial(_onednn_linear, layer)  # type: ignore[method-assign]
    if sum(layer.weight.nbytes for layer in layers) <= _MOST_PACKED_BYTES:
        with torch.no_grad():
            for layer in layers:
                packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)
                _PACKED[layer] = _Packed(packed, _state(layer.weight))
    return len(layers)


def _faster_dtypes() -> set[torch.dtype]:
    """Return the dtypes that oneDNN multiplies faster than PyTorch does by itself."""
    import torch

    found = {torch.float32} if mkl_is_held_back() else set()
    return found | ({torch.bfloat16} if "avx512_bf16" in processor()[1] else set())


def mkl_is_held_back() -> bool:
    """Tell whether the processor is an AMD one with 512-bit instructions."""
    maker, abilities = processor()
    return maker == "AuthenticAMD" and "avx512f" in abilities


def _state(weight: torch.Tensor) -> tuple[int, int]:
    """Return what changes when a weight does, or is replaced by another."""
    return weight.data_ptr(), weight._version


def _onednn_linear(self: torch.nn.Linear, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - Linear's own name
    """Compute x Wᵀ + b, shape (…, in) -> (…, out)."""
    import torch

    weight: torch.Tensor = self.weight
    is_plain = torch.is_grad_enabled() or input.dtype is not weight.dtype
    if is_plain or input.numel() < _FEW_ROWS * self.in_features or not weight.is_cpu:
        return torch.nn.functional.linear(input, weight, self.bias)
    packed = _PACKED.get(self)
    if packed is not None and packed.state == _state(weight):
        weight = packed.weight
    return torch.ops.mkldnn._linear_pointwise(input, weight, self.bias, "none", [], "")
