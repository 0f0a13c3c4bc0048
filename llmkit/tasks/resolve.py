"""Which model a task's call means."""

from __future__ import annotations

from llmkit.errors import UsageError
from llmkit.models.resolving import ResolvedModel, resolve_model
from llmkit.tasks.catalogue import TaskCall


def resolve_for(
    call: TaskCall, name: str | None, revision: str | None, *, allow_pickle: bool = False
) -> ResolvedModel:
    """Return the model for a call: the one named, or the task's default.

    Raises:
        UsageError: no model is named and the task has no default for this call.
        ModelError: it cannot be had.
    """
    if name is None and call.default_model is None and call.task.name == "translation":
        raise UsageError(
            f"{call.name}: no default model for this pair of languages.",
            hint="Name one with --model, or use translation_en_to_fr, translation_en_to_de or translation_en_to_ro.",
        )
    return resolve_model(
        name,
        revision=revision,
        default=call.default_model,
        stand_in=call.task.embedded,
        task=call.name,
        allow_pickle=allow_pickle,
    )
