"""Training a small addition instead of all weights: LoRA, DoRA and QLoRA, by peft."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import MissingExtraError, UsageError, did_you_mean
from llmkit.training.four_bits import merged_in_full

if TYPE_CHECKING:
    from llmkit.training.config import AdapterSection

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_ALL = "all-linear"


def add_adapter(
    model: Any,
    settings: AdapterSection,
    *,
    new_head: bool,
    new: Collection[str] = (),
    base: str | None = None,
) -> Any:
    """Return the model with an adapter; of its own weights only a new head is trained beside it.

    Args:
        new_head: the whole head is new for the task.
        new: names of parameters that came without weights; those of a head that shares its embeddings with the
            model, as for masked-lm, are not the whole head.
        base: what to call the model that the adapter is for; as it was loaded when None.

    Raises:
        MissingExtraError: peft is not installed.
        UsageError: a target is no module of the model, or none is known for its architecture.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtraError("adapter", "adapter") from None
    _check_targets(model, settings.targets)
    untrained = [parameter for name, parameter in model.named_parameters() if name in new]
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_ALL if settings.targets == [_ALL] else settings.targets,
        use_dora=settings.type == "dora",
        modules_to_save=head_modules(model) if new_head else None,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"adapter: {str(error).partition(chr(10))[0]}") from None
    if base is not None:
        adapted.active_peft_config.base_model_name_or_path = base
    if not new_head:
        for parameter in untrained:
            parameter.requires_grad = True
    return adapted


def _check_targets(model: Any, targets: list[str] | None) -> None:
    names = [name for name, _ in model.named_modules()]
    for target in targets or []:
        if target != _ALL and not any(name == target or name.endswith(f".{target}") for name in names):
            near = did_you_mean(target, {name.rpartition(".")[2] for name in names})
            raise UsageError(f"adapter.targets: the model has no module {target!r}.", hint=near)


def head_modules(model: Any) -> list[str]:
    """Return the names of the modules that are not the bare model: its head."""
    return [
        name
        for name, module in model.named_children()
        if name != model.base_model_prefix and any(True for _ in module.parameters())
    ]


def save_adapter(model: Any, folder: Path) -> None:
    """Write an adapter as peft does, with those parameters of the model that were trained beside it."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    # Embeddings are those of the base: to find out whether they were resized, peft would ask a hub.
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    own = ("lora_", "modules_to_save", "original_module")
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not any(part in name for part in own):
            tensors[name] = parameter
    folder.mkdir(parents=True, exist_ok=True)
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / ADAPTER_FILES[1], {"format": "pt"})
    model.active_peft_config.save_pretrained(str(folder))


def merged(model: Any) -> Any:
    """Return the model with its adapter added to the weights: a plain one, as ``from_pretrained`` loads it."""
    if getattr(model, "is_loaded_in_4bit", False):
        return merged_in_full(model)
    return model.merge_and_unload()
