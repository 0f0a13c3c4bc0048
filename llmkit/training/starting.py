"""A config to start from: what is needed filled in, the rest with its default and what it means, as comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmkit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel


_ALWAYS_SAID = ("epochs", "batch_size", "learning_rate")


def starting_config(task: str) -> str:
    """Return a commented config for a task.

    Raises:
        UsageError: there is no such task.
    """
    from llmkit.training.config import DataSection, FinetuneConfig, ModelSection, TrainingSection
    from llmkit.training.objectives import OBJECTIVES, objective_class

    if task not in OBJECTIVES:
        near = did_you_mean(task, OBJECTIVES)
        raise UsageError(
            f"no training task is called {task!r}" + (f"; {near}" if near else "."),
            hint=f"There are: {', '.join(OBJECTIVES)}.",
        )
    objective = objective_class(task)
    fields = [field for field in objective.fields if field.required]
    columns = ", ".join(f"{field.name}: {field.name}" for field in fields)
    lines = [
        f"task: {task}",
        f"model: {objective.start}  # a folder, a hub id, or minilm, the embedded encoder",
        *_commented("model", ModelSection, objective.start),
        "",
        "data:",
        "  train: data/train.csv",
        *_wrapped(DataSection.model_fields["train"].description or "", "  # "),
        "  validation: 0.1",
        *_wrapped(DataSection.model_fields["validation"].description or "", "  # "),
        f"  columns: {{{columns}}}  # the task's field: your column",
        *_settings(DataSection, ("train", "validation", "columns")),
        "",
        "training:",
        *_settings(TrainingSection, (), said=_ALWAYS_SAID),
        "",
        *(line for name in objective.sections for line in _section(name, FinetuneConfig)),
        f"output: runs/{task}",
    ]
    return "\n".join(lines) + "\n"


def _commented(name: str, section: type[BaseModel], model: str) -> Iterator[str]:
    others = [key for key in section.model_fields if key != "name"]
    yield f"# or {name}: {{name: {model}, {', '.join(f'{key}: …' for key in others)}}}"


def _section(name: str, config: type[BaseModel]) -> Iterator[str]:
    """Go through a section that only some tasks have, all of it as comments."""
    section: Any = config.model_fields[name].annotation
    yield f"# {name}:"
    yield from (f"# {line.removeprefix('  # ')}" for line in _settings(section, ()))
    yield ""


def _settings(section: type[BaseModel], but: tuple[str, ...], said: tuple[str, ...] = ()) -> Iterator[str]:
    """Go through a section's keys with their defaults and meanings, as comments but for those that are `said`."""
    for key, field in section.model_fields.items():
        if key in but:
            continue
        default = field.get_default(call_default_factory=True)
        line = f"  {'' if key in said else '# '}{key}: {_yaml(default)}"
        meaning = (field.description or "").replace("\n", " ")
        yield f"{line}  # {meaning}" if meaning else line


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return [f"{indent}{line}" for line in textwrap.wrap(text, 96)]


def _yaml(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
