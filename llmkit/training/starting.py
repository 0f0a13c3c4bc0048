"""A config to start from: what is needed filled in, the rest with its default and what it means, as comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import BaseModel


_ALWAYS_SAID = ("epochs", "batch_size", "learning_rate")
_OF_EVERY_TASK = ("adapter", "sharding", "tokenizer", "metrics", "trackers", "devices")


def starting_config(task: str) -> str:
    """Return a commented config for a task.

    Raises:
        UsageError: there is no such task.
    """
    from llmkit.training.config import DataSection, FinetuneConfig, ModelSection, TrainingSection
    from llmkit.training.objectives import check_task, objective_class

    check_task(task)
    objective = objective_class(task)
    columns = ", ".join(f"{field.name}: {field.name}" for field in objective.fields if field.required)
    optional = ", ".join(field.name for field in objective.fields if not field.required)
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
        f"  columns: {{{columns}}}  # the task's field: your column"
        + (f"; also {optional}" if optional else ""),
        *_settings(DataSection, ("train", "validation", "columns")),
        "",
        "training:",
        *_settings(TrainingSection, (), said=_ALWAYS_SAID),
        "",
        *(line for name in (*objective.sections, *_OF_EVERY_TASK) for line in _section(name, FinetuneConfig)),
        f"output: runs/{task}",
    ]
    return "\n".join(lines) + "\n"


def _commented(name: str, section: type[BaseModel], model: str) -> Iterator[str]:
    """Go through a section that its first key may stand for, all of it as comments."""
    yield f"# {name}:  # the same, with more to say of it"
    yield f"#   name: {model}"
    yield from _in_comment(_settings(section, ("name",)))


def _in_comment(lines: Iterator[str]) -> Iterator[str]:
    return (f"#   {line.removeprefix('  # ')}" for line in lines)


def _section(name: str, config: type[BaseModel]) -> Iterator[str]:
    """Go through a section that a config may have or not, or a single key of the top, all of it as comments."""
    from llmkit.training.config import Section

    field = config.model_fields[name]
    kinds: list[Any] = [field.annotation, *getattr(field.annotation, "__args__", ())]
    section = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)), None)
    if section is None:
        default = _yaml(field.get_default(call_default_factory=True))
        yield f"# {name}: {default}" + (f"  # {field.description}" if field.description else "")
    else:
        yield f"# {name}:" + (f"  # {section.__doc__}" if section.__doc__ else "")
        yield from _in_comment(_settings(section, ()))
    yield ""


def _settings(section: type[BaseModel], but: tuple[str, ...], said: tuple[str, ...] = ()) -> Iterator[str]:
    """Go through a section's keys with their defaults and meanings, as comments but for those that are `said`."""
    from llmkit.training.config import words_of

    for key, field in section.model_fields.items():
        if key in but:
            continue
        default = "…" if field.is_required() else field.get_default(call_default_factory=True)
        line = f"  {'' if key in said else '# '}{key}: {_yaml(default)}"
        words = " | ".join(words_of(field))
        meaning = ". ".join(filter(None, (words, (field.description or "").replace("\n", " "))))
        yield f"{line}  # {meaning}" if meaning else line


def _wrapped(text: str, indent: str) -> list[str]:
    import textwrap

    return [f"{indent}{line}" for line in textwrap.wrap(text, 96)]


def _yaml(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
