"""A LoRA adapter added to the weights of the model that it is for: what peft writes, without peft."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError
from llmkit.models.local_folder import ADAPTER_FILE, ADAPTER_WEIGHTS, CONFIG_FILE, read_object

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

_PREFIX = "base_model.model."
_PARTS = re.compile(r"(.+)\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector(?:\.weight)?)")
_NESTED, _REPEATED, _MOST_REPEATED = re.compile(r"\)[*+{]"), re.compile(r"[*+{]"), 3
_HEADS = ("classifier", "score", "classifier.out_proj")
# What changes the formula below, or the weights that it starts from; peft has more kinds than are worth having twice.
_UNKNOWN = ("layer_replication", "lora_bias", "alora_invocation_tokens", "use_qalora", "monteclora_config")
_CHANGES_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def has_own_config(folder: str | Path) -> bool:
    """Tell whether an adapter has the config of the whole model beside it, with its classes."""
    return Path(folder, CONFIG_FILE).is_file()


def fit_config(config: PreTrainedConfig, folder: str, name: str) -> PreTrainedConfig:
    """Return the base model's config with as many classes as the adapter's head has.

    Raises:
        ModelError: the adapter is damaged.
    """
    tensors = _read_tensors(folder, name)
    for head in _HEADS:
        weight = tensors.get(f"{head}.weight")
        if weight is not None and weight.ndim == 2 and weight.shape[0] != config.num_labels:
            config.num_labels = weight.shape[0]
    return config


def add_adapter_weights(model: PreTrainedModel, folder: str, name: str) -> set[str]:
    """Add an adapter to a model's weights, for good, and give it the head that was trained beside it.

    W + s B A, s = alpha / r (Hu et al. 2021, https://arxiv.org/abs/2106.09685), or alpha / sqrt(r) (rsLoRA); with a
    magnitude vector m, of which each row then has the length (DoRA, Liu et al. 2024).

    Args:
        folder: with adapter_config.json and adapter_model.safetensors.

    Returns:
        The names of the parameters that came from the adapter.

    Raises:
        ModelError: it is no LoRA, or it does not fit the model.
    """
    import torch

    settings = read_object(Path(folder, ADAPTER_FILE), name)
    _check_kind(settings, name)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    changes: dict[str, dict[str, torch.Tensor]] = {}
    given: dict[str, torch.Tensor] = {}
    for key, tensor in _read_tensors(folder, name).items():
        found = _PARTS.fullmatch(key)
        if found is None:
            given[key] = tensor
        else:
            changes.setdefault(found[1], {})[found[2].split(".")[0]] = tensor
    with torch.no_grad():
        for key, tensor in given.items():
            _parameter(parameters, key, tensor.shape, name).copy_(tensor)
        for module, parts in changes.items():
            _change(parameters, module, parts, settings, name)
    own = {id(parameters[key]) for key in given}
    return {
        key for key, parameter in parameters.items() if id(parameter) in own
    }  # one may have several names


def _check_kind(settings: Mapping[str, Any], name: str) -> None:
    odd = [key for key in _UNKNOWN if settings.get(key)]
    start = str(settings.get("init_lora_weights")).lower()
    odd += [start] if start.startswith(_CHANGES_THE_BASE) else []
    if settings.get("use_dora") and settings.get("fan_in_fan_out"):
        odd.append("use_dora with fan_in_fan_out")
    if settings.get("peft_type") != "LORA" or odd:
        kind = odd[0] if odd else settings.get("peft_type")
        raise ModelError(
            f"the adapter '{name}' is of a kind that llmkit does not add to a model: {kind}.",
            hint="peft's merge_and_unload makes a whole model of it.",
        )


def _change(
    parameters: Mapping[str, torch.Tensor],
    module: str,
    parts: Mapping[str, torch.Tensor],
    settings: Mapping[str, Any],
    name: str,
) -> None:
    if not {"lora_A", "lora_B"} <= parts.keys() or {parts["lora_A"].ndim, parts["lora_B"].ndim} != {2}:
        raise ModelError(f"the adapter '{name}' is damaged: half of what is for {module} is missing.")
    a, b = parts["lora_A"].float(), parts["lora_B"].float()  # (r, in), (out, r)
    if not a.shape[0] == b.shape[1] > 0:
        raise ModelError(f"the adapter '{name}' is damaged: the two halves for {module} are of two ranks.")
    shape = (b.shape[0], a.shape[1])
    is_transposed = bool(settings.get("fan_in_fan_out"))  # GPT-2 keeps its weights so
    weight = _parameter(parameters, f"{module}.weight", shape[::-1] if is_transposed else shape, name)
    product = (b @ a).T if is_transposed else b @ a
    changed = weight.float() + _scale(settings, module, a.shape[0], name) * product
    magnitude = parts.get("lora_magnitude_vector")
    if magnitude is not None:  # (out,)
        changed *= (magnitude.float() / changed.norm(dim=1)).unsqueeze(1)
    weight.copy_(changed)


def _scale(settings: Mapping[str, Any], module: str, rank: int, name: str) -> float:
    alpha = settings.get("lora_alpha", 8)
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise ModelError(f"{ADAPTER_FILE} of '{name}' is damaged: alpha_pattern is not an object.")
    for pattern, own in patterns.items():
        if _fits(pattern, module, name):
            alpha = own
            break
    if isinstance(alpha, bool) or not isinstance(alpha, int | float):
        raise ModelError(
            f"{ADAPTER_FILE} of '{name}' is damaged: lora_alpha is {alpha!r}, which is no number."
        )
    return float(alpha) / (rank**0.5 if settings.get("use_rslora") else rank)


def _fits(pattern: str, module: str, name: str) -> bool:
    """Tell whether a pattern of peft's is one for a module.

    Raises:
        ModelError: it is no pattern, or may be one that takes for ever: a repetition of what is repeated.
    """
    if _NESTED.search(pattern) or len(_REPEATED.findall(pattern)) > _MOST_REPEATED:
        raise ModelError(f"{ADAPTER_FILE} of '{name}' has a pattern that is not tried: {pattern[:60]!r}.")
    try:
        return re.fullmatch(rf"(.*\.)?({pattern})", module) is not None
    except (re.error, RecursionError, OverflowError) as error:
        raise ModelError(
            f"{ADAPTER_FILE} of '{name}' has a pattern that is none: {pattern[:60]!r}."
        ) from error


def _parameter(
    parameters: Mapping[str, torch.Tensor], key: str, shape: tuple[int, ...] | torch.Size, name: str
) -> torch.Tensor:
    found = parameters.get(key)
    if found is None or tuple(found.shape) != tuple(shape):
        there = "there is none" if found is None else f"it is {tuple(found.shape)}"
        # A head that the base lacks is one of a task; what it has in another size is of another model.
        what = "another task, or another model" if found is None else "another model"
        raise ModelError(
            f"the adapter '{name}' is for {what}: it has {tuple(shape)} for {key}, and here {there}.",
            hint=f"{ADAPTER_FILE} names the model that it is for: base_model_name_or_path.",
        )
    return found


def _read_tensors(folder: str, name: str) -> dict[str, torch.Tensor]:
    """Return an adapter's tensors by the names that the model has for what they change."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(Path(folder, ADAPTER_WEIGHTS))
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{ADAPTER_WEIGHTS} of '{name}' cannot be read: {error}.") from error
    return {
        key.removeprefix(_PREFIX).replace(".base_layer.", ".").replace(".modules_to_save.", "."): tensor
        for key, tensor in tensors.items()
        if ".original_module." not in key
    }
