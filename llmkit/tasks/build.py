"""Building a pipeline: the one call behind ``llmkit.pipeline`` and ``llmkit pipeline``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llmkit.errors import LlmkitError, ModelError, UsageError
from llmkit.models.loading import LoadOptions, load_model
from llmkit.models.local_folder import is_path
from llmkit.models.resolving import (
    ResolvedModel,
    adapter_named,
    explain_loading_error,
    is_encoder_alone,
)
from llmkit.models.tokenizing import check_tokenizer, explained_loading
from llmkit.tasks.catalogue import Task, TaskCall, find_task, tasks
from llmkit.tasks.resolve import resolve_for
from llmkit.tasks.video_decoding import can_open_videos

if TYPE_CHECKING:
    from transformers import Pipeline

_COMPONENTS = (
    ("tokenizer", "AutoTokenizer"),
    ("feature_extractor", "AutoFeatureExtractor"),
    ("image_processor", "AutoImageProcessor"),
    ("video_processor", "AutoVideoProcessor"),
    ("processor", "AutoProcessor"),
)


_LONGEST_SIDE = 16_384  # pixels


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    tokenizer: Any = None,
    feature_extractor: Any = None,
    image_processor: Any = None,
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    device: Any = None,
    dtype: Any = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    model_kwargs: dict[str, Any] | None = None,
    pipeline_class: type | None = None,
    **parameters: Any,
) -> Pipeline:
    """Build a pipeline for any task: those of transformers, and those it dropped.

    A drop-in for ``transformers.pipeline``, with the same tasks as version 4 and 5 together.

    Args:
        task: a task, an alias or ``translation_XX_to_YY``; None takes what the hub says of `model`.
        model: a short name, a folder, a hub id, or a loaded model; None is the task's default.
        config: another config than the model's own: an object, a folder or a hub id.
        revision: branch, tag or commit of a hub model.
        token: of the hub, for this call; None and True take HF_TOKEN or what ``hf auth login`` kept.
        device: as in torch, ``"auto"``, or an index (-1 for the CPU); None takes the first GPU there is.
        dtype: a torch dtype or its name; None and ``"auto"`` load the checkpoint in the dtype it was saved in.
        trust_remote_code: run Python code that came with the model.
        allow_pickle: read weights from pickles where there are no safetensors.
        tokenizer, feature_extractor, image_processor: an object, or the name of one; None is the model's own.
        parameters: other components (``processor`` …) and parameters of the pipeline.

    Returns:
        A ``transformers.Pipeline``, ready to be called.

    Raises:
        UsageError: no such task, or none for a model that does not say; a loaded model without its tokenizer.
        ModelError: the model cannot be had or does not fit the task.
    """
    given = {
        "tokenizer": tokenizer,
        "feature_extractor": feature_extractor,
        "image_processor": image_processor,
    }
    parameters |= {name: component for name, component in given.items() if component is not None}
    arguments = dict(model_kwargs or {})
    token = _one_token(token, parameters, arguments)
    dtype, placement = _as_version_4_said(parameters, dtype)
    register_tasks()
    with _token(token):
        call = find_task(task or _task_of(model, revision))
    if model is not None and not isinstance(model, str) and not hasattr(model, "__fspath__"):
        return _assemble(call, model, None, LoadOptions(), parameters, pipeline_class, device=device)
    options = LoadOptions(
        device=_device_name(device),
        dtype=None if dtype in (None, "auto") else str(dtype).removeprefix("torch."),
        trust_remote_code=bool(trust_remote_code),
        allow_pickle=allow_pickle,
        config=config,
        arguments={**placement, **arguments},
    )
    with _token(token):
        name = str(model) if model is not None else None
        resolved = resolve_for(call, name, revision, allow_pickle=allow_pickle)
        resolved.tell()
        return build_pipeline(call, resolved, options, parameters, pipeline_class)


@contextmanager
def _token(token: str | bool | None) -> Iterator[None]:
    """Let every request to the hub carry this token while a pipeline is built."""
    if not isinstance(token, str):
        yield
        return
    before = os.environ.get("HF_TOKEN")
    os.environ["HF_TOKEN"] = token
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_TOKEN"]
        else:
            os.environ["HF_TOKEN"] = before


def _one_token(token: str | bool | None, *given: dict[str, Any]) -> str | bool | None:
    """Return the token, by its name of today or by that of version 4, which is taken out of what was given.

    Raises:
        UsageError: it is given by both, and they differ.
    """
    for arguments in given:
        old = arguments.pop("use_auth_token", None)
        if old is not None and token not in (None, old):
            raise UsageError(
                "the token is given twice: by token and by use_auth_token.", hint="Leave out the latter."
            )
        token = token if old is None else old
    return token


def _as_version_4_said(parameters: dict[str, Any], dtype: Any) -> tuple[Any, dict[str, Any]]:
    """Take what is no parameter of a pipeline out of the parameters.

    Returns:
        The dtype, and arguments of the loading.

    Raises:
        UsageError: another framework than PyTorch.
    """
    framework = parameters.pop("framework", None)
    if framework not in (None, "pt"):
        raise UsageError(
            f'framework="{framework}": there is PyTorch only.', hint='Use framework="pt", or leave it out.'
        )
    parameters.pop("use_fast", None)  # all are fast that can be
    old_dtype = parameters.pop("torch_dtype", None)
    device_map = parameters.pop("device_map", None)
    return old_dtype if dtype is None else dtype, {} if device_map is None else {"device_map": device_map}


def build_pipeline(
    call: TaskCall,
    resolved: ResolvedModel,
    options: LoadOptions,
    parameters: dict[str, Any] | None = None,
    pipeline_class: type | None = None,
) -> Pipeline:
    """Load a resolved model and its tokenizer or processors, and put them into the task's pipeline."""
    heads = auto_classes(call.task)
    if is_encoder_alone(resolved) and call.task.encoder_impl:
        heads = [head for name in ("AutoModel",) if (head := _auto_class(name)) is not None]
        pipeline_class = pipeline_class or _imported(call.task.encoder_impl)
    loaded = load_model(resolved, heads, options, task=call.task.name)
    return _assemble(call, loaded, resolved, options, dict(parameters or {}), pipeline_class)


def register_tasks() -> None:
    """Put llmkit's tasks into transformers' own registry, once."""
    from transformers.pipelines import PIPELINE_REGISTRY

    for row in tasks().values():
        if row.provider == "transformers" or row.name in PIPELINE_REGISTRY.supported_tasks:
            continue
        PIPELINE_REGISTRY.register_pipeline(
            row.name,
            pipeline_class=load_class(row),
            pt_model=tuple(auto_classes(row)),
            default={"model": row.default_model},
            type=row.modality,
        )
        for alias in row.aliases:
            PIPELINE_REGISTRY.task_aliases.setdefault(alias, row.name)


def auto_classes(task: Task) -> list[type]:
    """Return the auto classes that load a model for a task, those that the installed transformers has."""
    return [head for name in task.heads if (head := _auto_class(name)) is not None]


def load_class(task: Task) -> type:
    """Import and return the pipeline class of a task."""
    return _imported(task.impl)


def _imported(path: str) -> type:
    import importlib

    module, _, name = path.rpartition(".")
    cls: type = getattr(importlib.import_module(module), name)
    return cls


def _auto_class(name: str) -> type | None:
    import transformers
    from transformers.models.auto import modeling_auto

    # Some auto classes are not exported at the top.
    return getattr(transformers, name, None) or getattr(modeling_auto, name, None)


def _assemble(
    call: TaskCall,
    model: Any,
    resolved: ResolvedModel | None,
    options: LoadOptions,
    parameters: dict[str, Any],
    pipeline_class: type | None,
    device: Any = None,
) -> Pipeline:
    cls: Any = pipeline_class or load_class(call.task)
    for component, auto_class in _COMPONENTS:
        given = parameters.get(component)
        if given is None or isinstance(given, str):
            source = resolved if given is None else ResolvedModel(given, given)
            loaded = _load_component(
                getattr(cls, f"_load_{component}", False), auto_class, source, options, call
            )
            parameters[component] = loaded
    parameters = {name: value for name, value in parameters.items() if value is not None}
    for component, _ in _COMPONENTS:
        if resolved is None and getattr(cls, f"_load_{component}", False) and component not in parameters:
            raise UsageError(
                f"{call.name} with a loaded model needs its {component.replace('_', ' ')} too.",
                hint=f"Add {component}=…, loaded or by name"
                + (f': {component}="{model.name_or_path}".' if model.name_or_path else "."),
            )
    placed = {"device": model.device if device is None else device}
    if getattr(model, "hf_device_map", None) is not None:
        placed = {}
    try:
        pipe: Pipeline = cls(model=model, task=call.name, **placed, **parameters)
    except ImportError as error:  # a pipeline that reads films wants what reads them
        if resolved is None:
            raise
        raise explain_loading_error(error, resolved, call.task.name) from error
    if call.task.name == "mask-generation":
        from llmkit.tasks.mask_generation import work_without_torchvision

        work_without_torchvision(pipe)
    return pipe


def _load_component(
    flag: bool | None, auto_class: str, source: ResolvedModel | None, options: LoadOptions, call: TaskCall
) -> Any:
    """Load a tokenizer or processor: `flag` True demands it, None takes it if it is there, False leaves it."""
    if flag is False or source is None or (auto_class == "AutoVideoProcessor" and not can_open_videos()):
        return None
    import transformers
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    # At the top, releases before 5.18 want torchvision for the image processor.
    loader = AutoImageProcessor if auto_class == "AutoImageProcessor" else getattr(transformers, auto_class)
    try:
        with explained_loading(source, call.task.name):
            component = loader.from_pretrained(
                source.beside, trust_remote_code=options.trust_remote_code, **source.origin
            )
    except LlmkitError:
        if flag:
            raise
        return None
    if auto_class == "AutoTokenizer":
        check_tokenizer(component, source)
    if auto_class == "AutoProcessor" and not isinstance(component, transformers.ProcessorMixin):
        return None
    _check_image_size(component, source)
    return component


def _check_image_size(processor: Any, model: ResolvedModel) -> None:
    """Refuse a processor that would make every image larger than any model takes.

    Raises:
        ModelError: it would.
    """
    for each in (processor, getattr(processor, "image_processor", None)):
        for name in ("size", "crop_size"):
            size: Any = getattr(each, name, None)
            sides = [size.get(side) for side in ("height", "width")] if hasattr(size, "get") else [size]
            if any(isinstance(side, int | float) and side > _LONGEST_SIDE for side in sides):
                raise ModelError(
                    f"the image processor of {model} makes images of {sides} pixels: no model takes so many."
                )


def _device_name(device: Any) -> str:
    if device is None:
        return "auto"
    if isinstance(device, int):
        return "cpu" if device < 0 else f"cuda:{device}"
    return str(device)


def _task_of(model: Any, revision: str | None) -> str:
    """Ask the hub what a model is for.

    Raises:
        UsageError: neither task nor model, or a model that says nothing of its task.
    """
    if model is None:
        raise UsageError('say a task: pipeline("summarization"), or a model of the hub.')
    adapter = adapter_named(model) if isinstance(model, str) else None
    if adapter is not None:
        served = [task.name for task in tasks().values() if task.embedded == adapter]
        if len(served) == 1:
            return served[0]
        raise UsageError(
            f"{model} is for {', '.join(served) or 'nothing that is here'}.", hint="Name the task."
        )
    if not isinstance(model, str) or is_path(model):
        what = (
            f"the folder {model}"
            if isinstance(model, str | os.PathLike)
            else f"a loaded {type(model).__name__}"
        )
        raise UsageError(
            f"{what} does not say what it is for.",
            hint='Name the task: pipeline("text-classification", model=…).',
        )
    from huggingface_hub import model_info

    try:
        tag = model_info(model, revision=revision).pipeline_tag
    except Exception as error:
        raise ModelError(
            f"the hub does not say what {model} is for ({error}).", hint="Name the task."
        ) from error
    if not tag:
        raise UsageError(f"{model} does not say what it is for.", hint="Name the task.")
    return str(tag)
