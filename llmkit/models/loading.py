"""From a resolved name to a loaded model: which class, on which device, in which dtype, and is it safe.

Every command loads its models here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import ModelError, UsageError, no_such
from llmkit.models.adapters import add_adapter_weights, fit_config, has_own_config
from llmkit.models.cpu_attention import speed_up_attention
from llmkit.models.cpu_kernels import speed_up_linear_layers
from llmkit.models.gguf_files import without_bar
from llmkit.models.local_folder import files_of_model
from llmkit.models.processor import processor
from llmkit.models.resolving import ResolvedModel, explain_loading_error
from llmkit.models.silence import silenced
from llmkit.models.sizes import check_sizes

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig, PreTrainedModel

DTYPES = ("auto", "float32", "bfloat16", "float16")
_OWN_OPTIONS = ("trust_remote_code", "revision")
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?|xpu(:\d+)?")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        device: auto, cpu, cuda, cuda:1, mps.
        dtype: None for the dtype the checkpoint was saved in; auto for bfloat16 where the device computes
            in it natively, else as saved; or float32, bfloat16, float16.
        trust_remote_code: run Python code that came with the model.
        allow_pickle: read weights from pickles where there are no safetensors.
        config: another config than the model's own: an object, a folder or a hub id.
        arguments: further arguments of ``from_pretrained``.
    """

    device: str = "auto"
    dtype: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    config: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)


def _no_such_device(name: str) -> UsageError:
    return UsageError(f"--device {name}: no such device.", hint="Use auto, cpu, cuda, cuda:1 or mps.")


def check_options(options: LoadOptions) -> None:
    """Check what can be checked without torch.

    Raises:
        UsageError: no such device or dtype by that name.
    """
    if not _DEVICE.fullmatch(options.device):
        raise _no_such_device(options.device)
    if options.dtype is not None and options.dtype not in DTYPES:
        raise no_such("--dtype", options.dtype, "dtype", DTYPES)


def model_identity(resolved: ResolvedModel, options: LoadOptions) -> dict[str, Any]:
    """Return what tells a loaded model from another, as JSON; also from one trained later into the same folder."""
    location = resolved.location if resolved.is_local else None
    folders = [Path(folder) for folder in (location, resolved.adapter) if folder is not None]
    return {
        "model": resolved.location,
        "weights": [resolved.weights, *(each for folder in folders for each in files_of_model(folder))],
        "model_arguments": options.arguments,
        "revision": resolved.weights_revision or resolved.revision,
        "device": options.device,
        "dtype": options.dtype,
    }


def choose_device(name: str) -> torch.device:
    """Return the device that `name` stands for; auto is the first GPU there is, else the CPU.

    Raises:
        UsageError: the device is not here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise _no_such_device(name) from None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            here = (
                f"there are {count}: cuda:0 to cuda:{count - 1}"
                if count
                else "this machine has no CUDA device"
            )
            raise UsageError(f"--device {name}: {here}.", hint="Use --device auto to take what is there.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(
            "--device mps: this machine has none.", hint="Use --device auto to take what is there."
        )
    return device


def choose_dtype(name: str | None, device: torch.device) -> torch.dtype | str:
    """Return the torch dtype for `name`, or ``"auto"`` for the dtype the checkpoint was saved in."""
    import torch

    if name is None:
        return "auto"
    if name != "auto":
        dtype = getattr(torch, name)
        assert isinstance(dtype, torch.dtype)
        return dtype
    return torch.bfloat16 if has_native_bfloat16(device) else "auto"


def has_native_bfloat16(device: torch.device) -> bool:
    """Tell whether the device multiplies bfloat16 matrices in hardware (emulation is slower than float32)."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "mps":
        return False
    return not processor()[1].isdisjoint(("avx512_bf16", "amx_bf16", "bf16"))


def load_config(model: ResolvedModel, options: LoadOptions, task: str) -> PreTrainedConfig:
    """Load a model's config, or the one that the options name.

    Raises:
        ModelError: it cannot be had, or transformers does not know the architecture.
    """
    from transformers import AutoConfig

    if options.config is not None and not isinstance(options.config, str):
        given: PreTrainedConfig = options.config
        return given
    named = options.config
    source = model.adapter if model.adapter is not None and has_own_config(model.adapter) else model.location
    try:
        config = AutoConfig.from_pretrained(
            named or source,
            trust_remote_code=options.trust_remote_code,
            **({"local_files_only": model.cached_only} if named else model.origin),
        )
    except Exception as error:
        raise explain_loading_error(error, model, task) from error
    if isinstance(labels := getattr(config, "id2label", None), dict):
        # Some are called by numbers.
        config.id2label = {number: str(label) for number, label in labels.items()}
    if model.weights is not None and not model.is_gguf:
        config.transformers_weights = model.weights
    if model.adapter is not None and source != model.adapter:
        return fit_config(config, model.adapter, model.name)
    return config


def load_model(
    model: ResolvedModel,
    heads: Sequence[type],
    options: LoadOptions,
    *,
    task: str,
    needs_pooler: bool = False,
    speed_up: bool = True,
) -> PreTrainedModel:
    """Load a model with the head that a task needs, on its device, in evaluation mode.

    Args:
        heads: auto classes that fit the task, tried in turn.
        needs_pooler: the task reads the pooler's output; otherwise a checkpoint without one will do.
        speed_up: let a CPU take its faster layers; not for a model that computes under autocast.

    Raises:
        ModelError: no weights, damaged weights, or no weights for the head that the task needs.
        HubError: the hub did not give it.
    """
    # An adapter may bring a head of another size than its base has.
    more = {} if model.adapter is None else {"ignore_mismatched_sizes": True}
    loaded, report = _from_pretrained(model, heads, options, task, more)
    _check_head(loaded, report, model, task, needs_pooler=needs_pooler)
    if speed_up:
        speed_up_linear_layers(loaded)
        speed_up_attention(loaded)
    evaluating: PreTrainedModel = loaded.eval()
    return evaluating


def load_to_train(
    model: ResolvedModel, heads: Sequence[type], options: LoadOptions, *, task: str
) -> tuple[PreTrainedModel, frozenset[str]]:
    """Load a model to be trained: a head without weights is made new, and so is one of another size.

    Returns:
        The model in training mode, and the names of its parameters that the checkpoint has no weights for.

    Raises:
        ModelError: no weights, or damaged ones.
        HubError: the hub did not give it.
    """
    loaded, report = _from_pretrained(model, heads, options, task, {"ignore_mismatched_sizes": True})
    return loaded.train(), frozenset(_key(each) for name in _LACKING for each in report[name])


_LACKING = ("missing_keys", "mismatched_keys")
# Heads whose parameters have the same names: one loads as another, and then its answers are noise.
_CLASSIFIERS = {
    "SequenceClassification": "whole texts",
    "TokenClassification": "tokens",
    "MultipleChoice": "choices",
}


def _key(lacking: str | tuple[str, ...]) -> str:
    """Return the name of a parameter in transformers' report: with two shapes beside it where they differ."""
    return str(lacking[0] if isinstance(lacking, tuple) else lacking)


def _from_pretrained(
    model: ResolvedModel, heads: Sequence[type], options: LoadOptions, task: str, more: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Load a model on its device; with it comes transformers' report of what the checkpoint lacked."""
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    device = choose_device(options.device)
    config = load_config(model, options, task)
    head = choose_head(heads, config, model, task)
    check_sizes(model, config, head)
    overridden = _with_config_overridden(config, options.arguments)
    dtype = choose_dtype(options.dtype, device)
    if model.is_gguf and dtype == "auto":
        dtype = "float32"  # as for a .gguf; transformers would unpickle a .GGUF to see which
    arguments: dict[str, Any] = {"dtype": dtype, **overridden, **more}
    if not model.is_local and (revision := model.origin_of_weights["revision"]):
        # Beside peft, transformers looks for an adapter, in 5.15 on the main branch whatever the revision is.
        arguments["adapter_kwargs"] = {"revision": revision}
    try:
        # What a base lacks an adapter brings: transformers, which knows of no adapter, would warn of a head made anew.
        with without_bar(model), nullcontext() if model.adapter is None else silenced():
            loaded, report = head.from_pretrained(  # type: ignore[attr-defined]
                model.location,
                config=config,
                trust_remote_code=options.trust_remote_code,
                use_safetensors=None if options.allow_pickle or model.is_gguf else True,
                output_loading_info=True,
                **model.origin_of_weights,
                **arguments,
            )
    except Exception as error:
        refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if refused and refused[1] in options.arguments:
            raise UsageError(f"--model-arg {refused[1]}: {head.__name__} takes no such argument.") from error
        raise explain_loading_error(error, model, task) from error
    if model.adapter is not None:
        given = add_adapter_weights(loaded, model.adapter, model.name)
        lacking = {name: [key for key in report[name] if _key(key) not in given] for name in _LACKING}
        report = {**report, **lacking}
    return (loaded if "device_map" in arguments else loaded.to(device)), report


def _with_config_overridden(config: PreTrainedConfig, arguments: dict[str, Any]) -> dict[str, Any]:
    """Set what the arguments say of the config on it, as ``from_pretrained`` does; return the other arguments.

    Raises:
        UsageError: an argument that has an option of its own.
    """
    rest = {}
    for name, value in arguments.items():
        if name in _OWN_OPTIONS:
            raise UsageError(f"--model-arg {name}: say it with --{name.replace('_', '-')}.")
        if name == "torch_dtype":
            rest["dtype"] = value
        elif name != "dtype" and hasattr(config, name):
            setattr(config, name, value)
        else:
            rest[name] = value
    return rest


def choose_head(heads: Sequence[type], config: PreTrainedConfig, model: ResolvedModel, task: str) -> type:
    """Return the class that loads this architecture for the task.

    The class that the checkpoint was saved from wins among those that fit; else the first that knows the
    architecture; else, for architectures no auto class knows, the saved class itself.

    Raises:
        ModelError: the architecture has no head for the task.
    """
    import transformers

    saved = list(config.architectures or [])
    fitting = [head for head in heads if type(config) in head._model_mapping]  # type: ignore[attr-defined]
    for head in fitting:
        names = head._model_mapping[type(config)]  # type: ignore[attr-defined]
        candidates = names if isinstance(names, tuple) else (names,)
        if any(candidate.__name__ in saved for candidate in candidates):
            return head
    if fitting:
        return fitting[0]
    remote = getattr(config, "auto_map", None) or {}
    for head in heads:
        if head.__name__ in remote:
            return head
    if saved and hasattr(transformers, saved[0]) and _is_task_specific(saved[0], heads):
        cls: type = getattr(transformers, saved[0])
        return cls
    kind = f"{saved[0]} " if saved else ""
    raise ModelError(
        f"{model.name} is a {kind}checkpoint (model type '{config.model_type}'), which has no head for {task}.",
        hint=f"Choose a model made for {task}.",
    )


def _is_task_specific(saved: str, heads: Sequence[type]) -> bool:
    """Tell whether a saved class is one for these heads, by its name: some have no auto class in some releases."""
    suffixes = {head.__name__.removeprefix("AutoModel") for head in heads}
    return any(suffix and saved.endswith(suffix) for suffix in suffixes)


def _check_head(
    loaded: PreTrainedModel, report: dict[str, Any], model: ResolvedModel, task: str, *, needs_pooler: bool
) -> None:
    """Refuse a model part of which came without weights: its answers would be noise.

    Raises:
        ModelError: weights of the head are missing, of another shape, or of a head for something else.
    """
    missing = sorted(key for key in report["missing_keys"] if needs_pooler or "pooler" not in key)
    if missing:
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        saved = (loaded.config.architectures or [type(loaded).__name__])[0]
        raise ModelError(
            f"{model.name} has no weights for {shown}: the checkpoint ({saved}) was not trained for {task}.",
            hint=f"Choose a model made for {task}, or fine-tune this one for it.",
        )
    saved_for, loaded_for = (
        str(name).partition("For")[2]
        for name in ((loaded.config.architectures or [""])[0], type(loaded).__name__)
    )
    if saved_for != loaded_for and {saved_for, loaded_for} <= _CLASSIFIERS.keys():
        raise ModelError(
            f"{model.name} was not trained for {task}: it classifies {_CLASSIFIERS[saved_for]}.",
            hint=f"Choose a model made for {task}, or fine-tune this one for it.",
        )
    if report.get("mismatched_keys"):
        key = min(_key(each) for each in report["mismatched_keys"])
        raise ModelError(
            f"{model.name}: the weights of {key} do not fit the shape that its config.json says."
        )
