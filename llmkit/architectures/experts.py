"""Mixtures of experts: which parameters belong to routed experts, and which share of them one token meets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmkit.architectures.config_values import value_of, with_nested

if TYPE_CHECKING:
    from torch import Tensor as TorchTensor
    from torch.nn import Module

# How many experts a token is sent to, in the words of different configs.
_CHOSEN = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "num_selected_experts",
    "experts_per_token",
    "top_k_experts",
)
# Where it is no value of the config but part of the code: Switch sends a token to one expert (Fedus et al. 2021),
# NLLB to two (NLLB Team 2022), ViTPose++ to that of its data set.
_CHOSEN_BY_DESIGN = {"switch_transformers": 1, "nllb-moe": 2, "vitpose_backbone": 1}


@dataclass(frozen=True, slots=True)
class Experts:
    """A set of routed experts.

    Attributes:
        count: how many there are; None where only the tensors' first dimension says it.
        are_modules: each is a module of its own, not a slice of a tensor.
        module: what holds them.
    """

    count: int | None
    are_modules: bool
    module: Module


def experts_in(module: Module, name: str, around: Experts | None) -> Experts | None:
    """Return the routed experts that a module is, else those it is in (`around`)."""
    class_name = type(module).__name__
    own_name = name.rpartition(".")[2]
    if "shared" in own_name:  # every token meets those
        return None
    if own_name != "experts" and "Experts" not in class_name:
        return around
    from torch.nn import ModuleDict, ModuleList

    if isinstance(module, ModuleList | ModuleDict):
        return Experts(len(module), are_modules=True, module=module)
    count = getattr(module, "num_experts", None)
    return Experts(count if isinstance(count, int) else None, are_modules=False, module=module)


def active_share(tensor: TorchTensor, module: Module, experts: Experts | None, config: Any) -> float:
    """Return the share of a parameter that one token meets: chosen experts / experts, 1 for what all meet.

    Args:
        tensor: the parameter; `module` holds it, `experts` are those around it.
        config: the nearest config.
    """
    if experts is None:
        return 1.0
    count = experts.count
    if not experts.are_modules:
        # What is in the block but not of the experts (a router, a norm, a common bias) has no row for each of them.
        is_theirs = module is experts.module or "Expert" in type(module).__name__
        if tensor.ndim < 2 or not is_theirs:
            return 1.0
        count = tensor.shape[0] if tensor.ndim == 3 or count is None else count
    chosen = chosen_experts(config)
    if not count or not chosen or tensor.shape[0] % (1 if experts.are_modules else count):
        return 1.0
    return min(1.0, chosen / count)


def chosen_experts(config: Any) -> int | None:
    """Return how many experts a token is sent to; None for a model without experts."""
    for each in with_nested(config):
        by_design = _CHOSEN_BY_DESIGN.get(getattr(each, "model_type", ""))
        if by_design is not None:
            return by_design
        for name in _CHOSEN:
            value = value_of(each, name)
            value = value[0] if isinstance(value, list | tuple) and value else value
            if isinstance(value, int) and value > 0:
                return value
    return None
