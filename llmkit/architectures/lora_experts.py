"""Adapters beside experts that lie in one tensor, as peft (0.21) puts them there.

Such a tensor is a parameter, no module, and `target_parameters` names it: its adapter has a pair of matrices for
each expert (peft.tuners.lora.layer.ParamWrapper). Before transformers 5 the experts of many types were linear
modules, which ``all-linear`` adapted; for these types peft goes on adapting them, and their router, the gate and
up projections with twice the rank, since two matrices became one (peft.utils.transformers_weight_conversion).
"""

from __future__ import annotations

from dataclasses import dataclass

from llmkit.architectures.counted import Counted, Tensor
from llmkit.architectures.matrices import matrix

# The types whose experts and router peft adapts under `all-linear`, by what those were called as modules: names
# that go over to the parameters, also those of dense layers beside them. A test holds it against peft's own table.
_OLD_NAMES = {
    frozenset({"gate", "w1", "w2", "w3"}): ("mixtral", "minimax", "minimax_m2"),
    frozenset({"gate", "gate_proj", "up_proj", "down_proj"}): (
        *("qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_omni_moe_thinker", "qwen3_omni_moe_text"),
        *(
            "deepseek_v2",
            "deepseek_v3",
            "deepseek_v32",
            "afmoe",
            "beam",
            "cohere2_moe",
            "dots1",
            "ernie4_5_moe",
        ),
        *("exaone_moe", "flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa"),
        *("hunyuan_v1_moe", "longcat_flash", "mellum", "olmoe", "sarvam_mla", "solar_open"),
    ),
}
_NAMES_BY_TYPE = {each: names for names, types in _OLD_NAMES.items() for each in types}
# The rank, in multiples of the one asked for, by how a parameter's name ends.
_RANKS = {"gate_up_proj": 2, "down_proj": 1, "gate.weight": 1}


@dataclass(frozen=True, slots=True)
class ExpertAdapter:
    """The adapter beside a parameter: its experts, the numbers that go in and come out of one, and its rank."""

    experts: int
    inputs: int
    outputs: int
    rank: int


def expert_adapter(counted: Counted, tensor: Tensor, r: int) -> ExpertAdapter:
    """Return the adapter of a parameter that ``target_parameters`` names: of experts, or of a router's matrix."""
    if not tensor.is_stacked_experts:
        return ExpertAdapter(1, tensor.sizes[1], tensor.sizes[0], r)
    hidden_size = next((stack.hidden_size for stack in counted.stacks if stack.name == tensor.stack), 0)
    each = matrix(tensor, hidden_size)
    return ExpertAdapter(tensor.sizes[0], each.inputs, each.outputs, r)


def adapters_of_all_linear(counted: Counted, tensor: Tensor, r: int) -> ExpertAdapter | None:
    """Return the adapter that ``all-linear`` puts beside a parameter that is no module; None where it puts none."""
    if counted.model_type not in _NAMES_BY_TYPE:
        return None
    times = next((times for ending, times in _RANKS.items() if tensor.name.endswith(f".{ending}")), 0)
    if not times or not (tensor.is_stacked_experts or tensor.name.endswith(".gate.weight")):
        return None
    return expert_adapter(counted, tensor, r * times)


def goes_over(counted: Counted, module: str) -> bool:
    """Whether ``all-linear`` leaves a linear module out, since its name is taken for that of experts."""
    return module.rpartition(".")[2] in _NAMES_BY_TYPE.get(counted.model_type, ())
