"""Which task a model is shown for: what its card says, else the likeliest that its head is for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmkit.data.json_text import parse_json
from llmkit.errors import UsageError
from llmkit.models.resolved import ResolvedModel
from llmkit.tasks.catalogue import tasks
from llmkit.tasks.served import tasks_of

# Of several tasks for one head, the one that shows most.
_LIKELIEST = (
    "text-classification", "text-generation", "text2text-generation", "image-text-to-text", "sentence-similarity",
)  # fmt: skip
_CHAT, _WRITING = "conversational", "text-generation"
_TEMPLATE = "chat_template"


def task_of_model(model: ResolvedModel, metadata: Mapping[str, Any]) -> str:
    """Return the name of a task.

    Args:
        metadata: of the model's card: `pipeline_tag`, and among its `tags` those that the hub gives to chats.

    Raises:
        UsageError: neither card nor config says.
        ModelError: the model has no config that can be read.
    """
    if model.embedded:
        return _of_embedded(model)
    tag = metadata.get("pipeline_tag")
    if isinstance(tag, str) and tag in tasks():
        tags = metadata.get("tags")
        chats = _has_template(model) or (isinstance(tags, list) and _CHAT in tags)
        return _CHAT if tag == _WRITING and chats else tag
    found = tasks_of(_config(model))
    if not found:
        raise UsageError(
            f"{model.name} does not say what it is for.",
            hint="Say it: --task text-classification, for example.",
        )
    if _WRITING in found and _has_template(model):
        return _CHAT
    return next((name for name in _LIKELIEST if name in found), found[0])


def _of_embedded(model: ResolvedModel) -> str:
    if model.adapter is None:
        return "sentence-similarity"
    name = Path(model.adapter).name
    return next(task.name for task in tasks().values() if task.embedded == name)


def _config(model: ResolvedModel) -> dict[str, Any]:
    from llmkit.models.loading import LoadOptions, load_config

    config: dict[str, Any] = load_config(model, LoadOptions(), "").to_dict()
    return config


def _has_template(model: ResolvedModel) -> bool:
    folder = Path(model.beside)
    if (folder / f"{_TEMPLATE}.jinja").is_file():
        return True
    try:
        settings = parse_json((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get(_TEMPLATE))
