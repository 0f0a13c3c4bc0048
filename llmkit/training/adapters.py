"""Training a small addition instead of all weights: LoRA, DoRA and QLoRA, by peft."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmkit.errors import MissingExtraError, UsageError, did_you_mean
from llmkit.training.four_bits import merged_in_full

if TYPE_CHECKING:
    from llmkit.training.config import AdapterSection


_ALL = "all-linear"


def add_adapter(model: Any, settings: AdapterSection, *, new_head: bool) -> Any:
    """Return the model with an adapter; of its own weights only a new head is trained beside it.

    Raises:
        MissingExtraError: peft is not installed.
        UsageError: a target is no module of the model, or none is known for its architecture.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise MissingExtraError("adapter", "adapter") from None
    _check_targets(model, settings.targets)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=_ALL if settings.targets == [_ALL] else settings.targets,
        use_dora=settings.type == "dora",
        modules_to_save=head_modules(model) if new_head else None,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UsageError(f"adapter: {str(error).partition(chr(10))[0]}") from None


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


def merged(model: Any) -> Any:
    """Return the model with its adapter added to the weights: a plain one, as ``from_pretrained`` loads it."""
    if getattr(model, "is_loaded_in_4bit", False):
        return merged_in_full(model)
    return model.merge_and_unload()
