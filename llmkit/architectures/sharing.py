"""Layers whose weights are applied more than once in a forward pass: how often, and how to say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmkit.architectures.config_values import with_nested
from llmkit.architectures.counted import Tensor

if TYPE_CHECKING:
    from llmkit.architectures.places import Place


def runs(place: Place) -> int:
    """Return how often the model's loop goes through the layer a parameter is in; 1 outside of any loop.

    A parameter that two modules hold under two names is no matter of a loop: it has two places.
    """
    count = _LOOPS.get(getattr(place.config, "model_type", ""))
    return 1 if count is None else count(place)


def _albert(place: Place) -> int:
    """Layer i takes the weights of group ``int(i / (layers / groups))`` (Lan et al. 2020, and the code)."""
    if "albert_layer_groups" not in place.stack:
        return 1
    layers, groups = place.config.num_hidden_layers, place.config.num_hidden_groups
    group = place.indices[0].number
    return max(1, sum(int(layer / (layers / groups)) == group for layer in range(layers)))


def _perceiver(place: Place) -> int:
    return place.config.num_blocks if place.stack.endswith("self_attends") else 1


def _funnel(place: Place) -> int:
    return (
        place.config.block_repeats[place.indices[0].number] if place.stack.endswith("encoder.blocks") else 1
    )


def _hrm(place: Place) -> int:
    if "L_module" in place.stack:
        return place.config.H_cycles * place.config.L_cycles
    return place.config.H_cycles if "H_module" in place.stack else 1


# By model type: that a loop runs a layer again is in the code of the model, nowhere in its modules.
_LOOPS: Mapping[str, Callable[[Place], int]] = {
    "albert": _albert,
    "perceiver": _perceiver,
    "funnel": _funnel,
    "hrm_text": _hrm,
}


def has_loops(config: Any) -> bool:
    """Return whether a model of this config, or a part of it, runs layers more than once."""
    return any(getattr(part, "model_type", "") in _LOOPS for part in with_nested(config))


def describe_sharing(tensors: Sequence[Tensor]) -> str:
    """Say how the layers share weights; "" where each has its own."""
    shared = [tensor for tensor in tensors if tensor.stack and tensor.multiplies and tensor.uses > 1]
    if not shared:
        return ""
    most = max(shared, key=lambda tensor: tensor.total * tensor.uses)
    stored = most.copies
    layers = "layer is" if stored == 1 else "layers are"
    return f"{stored} stored {layers} used {most.uses} times each in {most.stack}."
