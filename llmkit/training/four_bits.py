"""Weights in 4 bits, for QLoRA (Dettmers et al. 2023, https://arxiv.org/abs/2305.14314): nf4, doubly quantized."""

from __future__ import annotations

import importlib.util
import logging
from typing import TYPE_CHECKING, Any

from llmkit.errors import MissingExtraError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig


def four_bit_arguments(
    head: Any,
    model_config: PreTrainedConfig,
    *,
    device: torch.device,
    compute_dtype: str,
    new_head: bool,
) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that keep linear layers in 4 bits.

    Args:
        head: the auto class, or the class, that will be loaded.
        compute_dtype: what the layers multiply in.
        new_head: the task's head is trained, so it is not quantized.

    Raises:
        MissingExtraError: bitsandbytes or peft is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("bitsandbytes", "peft")):
        raise MissingExtraError("adapter.type: qlora", "qlora")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of kernels that it does without
    import torch
    from transformers import BitsAndBytesConfig

    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, compute_dtype),
        llm_int8_skip_modules=_head_of(head, model_config) if new_head else None,
    )
    return {"quantization_config": quantization, "device_map": {"": device}}


def _head_of(head: Any, model_config: PreTrainedConfig) -> list[str]:
    """Return the names of the head's modules, found without weights."""
    import torch

    from llmkit.training.adapters import head_modules

    with torch.device("meta"):
        make = head.from_config if hasattr(head, "from_config") else head
        return head_modules(make(model_config))


def keep_layout(model: Any) -> None:
    """Keep bitsandbytes from laying weights out otherwise when a model is judged on a CPU with AVX-512 bf16.

    It would leave them so: the steps after that had no gradient for the layers below (release 0.50).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def merged_in_full(model: Any) -> Any:
    """Return a plain model, of what the 4 bits stand for and the adapter added to it.

    peft would round the sum to 4 bits again, and so lose part of what was learned.

    Args:
        model: peft's, its base in 4 bits.
    """
    from peft.tuners.lora import LoraLayer

    additions = {}
    for name, module in model.base_model.model.named_modules():
        if not isinstance(module, LoraLayer):
            continue
        if type(module.get_base_layer()).__name__ == "Linear4bit":
            additions[name] = module.get_delta_weight(module.active_adapters[0]).detach().float()
        else:
            module.merge()
    plain = model.unload().dequantize()
    for name, addition in additions.items():
        weight = plain.get_submodule(name).weight
        weight.data = (weight.data.float() + addition).to(weight.dtype)
    return plain
