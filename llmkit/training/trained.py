"""A model that was trained before: which task it is for, and what its run says of how its rows are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError
from llmkit.models.loading import LoadOptions
from llmkit.models.loading import load_config as load_model_config
from llmkit.models.resolved import ResolvedModel
from llmkit.models.resolving import resolve_model
from llmkit.training.config_file import check_config, load_config
from llmkit.training.objectives import OBJECTIVES, check_task, objective_class
from llmkit.training.state import CONFIG

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

    from llmkit.training.config import FinetuneConfig

# What a run's config says of the rows, and of the loss that is told of them.
_OF_DATA = (
    "format", "columns", "labels", "max_length", "max_target_length", "stride", "truncate",
    "prefix", "source_language", "target_language",
)  # fmt: skip
_OF_TRAINING = (
    "seed", "masking", "label_smoothing", "class_weights", "precision", "batching",
    "pooling", "temperature", "beta",
)  # fmt: skip
_ANY_HEAD = (
    "AutoModelForPreTraining"  # holds the heads of other classes too, of a GPT-2 the one for causal-lm
)
# What a call gives the values with.
_OPTIONS = {
    "metrics": "--metric", "data.train": "--data", "data.format": "--input-format", "data.columns": "--columns",
    "data.labels": "--labels", "data.max_rows": "--max-rows", "data.max_length": "--max-length",
    "training.batch_size": "--batch-size", "training.seed": "--seed", "model.revision": "--revision",
}  # fmt: skip
_AT_ONCE = 1 << 20  # rows of a batch: its tokens bound it


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks for; None is what the model's run, or the task, has.

    Attributes:
        data: files, folders, ``hub:NAME``.
        columns: the task's fields and the columns they are in.
        labels: names of the model's classes, in its order.
        metrics: names, as in a config.
    """

    model: str
    revision: str | None = None
    data: Sequence[str] = ()
    task: str | None = None
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    metrics: Sequence[str] | None = None
    max_rows: int | None = None
    max_length: int | None = None
    batch_size: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that was found, and a config by which its rows are read as they were when it was trained.

    Attributes:
        of_run: the model is the output of a run, whose config is known.
        judged_set: test or validation: which split of a hub dataset it is judged on, where none is named.
    """

    resolved: ResolvedModel
    config: FinetuneConfig
    model_config: PreTrainedConfig
    of_run: bool
    notes: tuple[str, ...] = ()
    judged_set: str = "test"


def find_trained(asked: Asked) -> Trained:
    """Find a model, its task, and how its rows are read.

    Raises:
        UsageError: there is no data, or no such task; or the task must be named.
        ModelError, HubError: the model cannot be had.
    """
    check_task(asked.task)
    resolved = resolve_model(asked.model, revision=asked.revision)
    run, notes = _config_of_run(resolved)
    if run is not None and asked.task not in (None, run.task):
        run = None  # another task than it was trained for: only the model is of use
    data, judged_set = (list(asked.data), "test") if asked.data else _judged_by(run)
    if not data:
        raise UsageError("there is nothing to judge the model on.", hint="Name a file: --data FILE.")
    task = asked.task or (run.task if run is not None else None)
    model_config = load_model_config(resolved, LoadOptions(), task or "")
    task = task or _task_of(model_config, resolved)
    values = _values(asked, run, data, task)
    config = check_config(values, "the call", options=_OPTIONS)
    weights = config.training.class_weights
    if weights == "balanced":  # by the counts of the training rows, which are not here
        config.training.class_weights = None
        notes.append("the loss is not weighted by class: the counts of the training rows are not here.")
    return Trained(resolved, config, model_config, run is not None, tuple(notes), judged_set)


def _config_of_run(resolved: ResolvedModel) -> tuple[FinetuneConfig | None, list[str]]:
    """Return the config of the run that made a model, if one did."""
    path = Path(resolved.adapter or resolved.location) / CONFIG
    if not path.is_file():
        return None, []
    try:
        return load_config(str(path)), []
    except UsageError as error:
        return None, [f"passing over {path}, which is no config of llmkit: {error.message}"]


def _judged_by(run: FinetuneConfig | None) -> tuple[list[str], str]:
    """Return the test set of a run, else its validation set; and which of the two it is."""
    if run is None or run.data.test:
        return (run.data.test or [] if run is not None else []), "test"
    validation = run.data.validation
    return (validation if isinstance(validation, list) else []), "validation"


def _task_of(model_config: PreTrainedConfig, resolved: ResolvedModel) -> str:
    """Return the first task whose head a model was saved with, of those with a head of their own if there is one.

    Raises:
        UsageError: it has none of the heads.
    """
    saved = set(model_config.architectures or [])
    for task in sorted(OBJECTIVES, key=lambda task: _ANY_HEAD in objective_class(task).heads):
        if saved & set(_head_names(task, model_config)):
            return task
    of = f", saved as {', '.join(sorted(saved))}," if saved else ""
    raise UsageError(
        f"{resolved.name}{of} does not say which task it is for.",
        hint=f"Name it: --task {'|'.join(OBJECTIVES)}",
    )


def _head_names(task: str, model_config: PreTrainedConfig) -> Iterator[str]:
    """Go through the names of the classes that a task loads this architecture with."""
    import transformers

    for name in objective_class(task).heads:
        mapping = getattr(transformers, name)._model_mapping
        if type(model_config) in mapping:
            classes = mapping[type(model_config)]
            yield from (each.__name__ for each in (classes if isinstance(classes, tuple) else (classes,)))


def _values(asked: Asked, run: FinetuneConfig | None, data: list[str], task: str) -> dict[str, Any]:
    """Return the values of a config: the run's where the call says nothing."""
    of_data = {name: getattr(run.data, name) for name in _OF_DATA} if run is not None else {}
    if run is not None and asked.data:  # other files may have another format
        of_data.pop("format")
    said = {
        "format": asked.format,
        "labels": asked.labels and list(asked.labels),
        "max_rows": asked.max_rows,
        "max_length": asked.max_length,
    }
    of_data |= {name: value for name, value in said.items() if value is not None}
    of_data["columns"] = {**of_data.get("columns", {}), **asked.columns}
    training: dict[str, Any] = (
        {name: getattr(run.training, name) for name in _OF_TRAINING}
        if run is not None
        else {"precision": "float32"}
    )
    training["micro_batch_size"] = training["batch_size"] = asked.batch_size or _AT_ONCE
    if asked.batch_size is None:
        training["micro_batch_size"] = "auto"
    if asked.seed is not None:
        training["seed"] = asked.seed
    return {
        "task": task,
        "model": {"name": asked.model, "revision": asked.revision},
        "data": {"train": data, **of_data},
        "training": training,
        "generation": run.generation.model_dump() if run is not None else {},
        "metrics": list(asked.metrics) if asked.metrics else (run.metrics if run is not None else None),
        "output": asked.model,
    }
