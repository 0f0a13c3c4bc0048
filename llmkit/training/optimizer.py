"""AdamW over groups of parameters, and the schedule of the learning rate."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError, did_you_mean
from llmkit.training.adapters import head_modules
from llmkit.training.steps import steps_of

if TYPE_CHECKING:
    import torch

    from llmkit.training.config import TrainingSection

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|block|blocks)\.(\d+)\.")
_EMBEDDING = re.compile(r"(?:^|\.)(?:w[tp]e|shared)\.")
_OF_AN_ADAPTER = "base_model.model."  # what peft puts before a parameter's name
_LAYERS_TO_FREEZE = re.compile(r"layers\.(\d+)(?:-(\d+))?")


def freeze(model: torch.nn.Module, wanted: list[str]) -> int:
    """Leave parameters as they are; return how many numbers that are.

    Args:
        wanted: ``embeddings``, ``encoder`` (all but the head; of an encoder-decoder the encoder), ``layers.3``,
            ``layers.0-5``, or the beginning of a parameter's name.

    Raises:
        UsageError: one of them is no parameter of the model.
    """
    names = [name for name, _ in model.named_parameters()]
    frozen = {name for each in wanted for name in _matching(each, names, model)}
    count = 0
    for name, parameter in model.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
            count += parameter.numel()
    return count


def trained_numbers(model: torch.nn.Module) -> int:
    """Return how many numbers of a model are trained: those of its parameters that are not frozen."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _matching(wanted: str, names: list[str], model: torch.nn.Module) -> list[str]:
    base = getattr(model, "base_model_prefix", "")
    layers = _LAYERS_TO_FREEZE.fullmatch(wanted)
    if layers:
        first, last = int(layers[1]), int(layers[2] or layers[1])
        found = [name for name in names if (layer := layer_of(name)) is not None and first <= layer <= last]
        there = max((layer_of(name) or 0 for name in names), default=0)
        if found and last > there:
            raise UsageError(f"training.freeze: {wanted!r}: the last layer of the model is layers.{there}.")
    elif wanted == "embeddings":
        found = [name for name in names if is_embedding(name)]
    elif wanted == "encoder" and not getattr(model.config, "is_encoder_decoder", False):
        heads = _heads(model)
        found = [name for name in names if name.partition(".")[0] not in heads]
    else:
        found = [name for name in names if name.startswith((wanted, f"{base}.{wanted}"))]
    if not found:
        near = did_you_mean(wanted, {name.rpartition(".")[0] for name in names})
        raise UsageError(
            f"training.freeze: no parameter is called {wanted!r}" + (f"; {near}" if near else "."),
            hint="Write embeddings, encoder, layers.0-5, or the beginning of a parameter's name.",
        )
    return found


def is_embedding(name: str) -> bool:
    """Tell whether a parameter is of an embedding, by its name in BERT, GPT-2, T5 and their kin."""
    return "embed" in name or _EMBEDDING.search(name) is not None


def _heads(model: Any) -> set[str]:
    """Return the names of the modules that stand on the bare model; none of a bare one."""
    whole = model.get_base_model() if hasattr(model, "get_base_model") else model
    children = dict(whole.named_children())
    if getattr(whole, "base_model_prefix", None) in children:
        return set(head_modules(whole))
    # T5 has its stacks beside its head.
    output = whole.get_output_embeddings() if hasattr(whole, "get_output_embeddings") else None
    return {name for name, module in children.items() if module is output}


def layer_of(name: str) -> int | None:
    """Return the number of the layer a parameter is in."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def parameter_groups(model: torch.nn.Module, settings: TrainingSection) -> list[dict[str, object]]:
    """Return AdamW's groups: with and without weight decay, and, with layer decay, one for each layer.

    Norms and biases (what has one dimension) are spared the decay. Layer decay is that of ELECTRA and BEiT: the
    head learns at the full rate, the layer below at the rate times the decay, and so on down to the embeddings.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    depth = 1 + max((layer_of(name) or 0 for name, _ in trained), default=0)
    heads = _heads(model)
    groups: dict[tuple[float, float], list[torch.Tensor]] = {}
    for name, parameter in trained:
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        rate = 1.0
        if (
            settings.layer_decay is not None
            and name.removeprefix(_OF_AN_ADAPTER).partition(".")[0] not in heads
        ):
            layer = layer_of(name)
            below = depth - layer if layer is not None else (depth + 1 if is_embedding(name) else 1)
            rate = settings.layer_decay**below
        groups.setdefault((decay, rate), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": decay, "lr": settings.learning_rate * rate}
        for (decay, rate), parameters in groups.items()
    ]


def make_optimizer(model: torch.nn.Module, settings: TrainingSection) -> torch.optim.AdamW:
    """Return AdamW (Loshchilov & Hutter 2019), fused where torch has it."""
    import torch

    return torch.optim.AdamW(
        parameter_groups(model, settings),
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        fused=True,
    )


def rate_at(settings: TrainingSection, total: int) -> Callable[[int], float]:
    """Return the factor of the learning rate by the number of the step, from 0: warm-up, then the schedule."""
    warmup = (
        settings.warmup_steps if settings.warmup_steps is not None else steps_of(settings.warmup_ratio, total)
    )

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        left = (total - step) / max(1, total - warmup)
        return _SCHEDULES[settings.schedule](min(1.0, max(0.0, left)))

    return factor


# By the share of the steps after the warm-up that are still to come.
_SCHEDULES: dict[str, Callable[[float], float]] = {
    "linear": lambda left: left,
    "cosine": lambda left: 0.5 * (1 - math.cos(math.pi * left)),
    "constant": lambda left: 1.0,
}
