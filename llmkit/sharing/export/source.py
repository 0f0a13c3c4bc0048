"""What an export starts from: a model on the CPU without this machine's faster layers, its tokenizer, and examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmkit.errors import UsageError
from llmkit.models.loading import LoadOptions, load_model
from llmkit.models.resolved import ResolvedModel
from llmkit.models.tokenizing import load_tokenizer
from llmkit.sharing.demo.examples import EXAMPLES
from llmkit.tasks.build import auto_classes
from llmkit.tasks.catalogue import Kind, TaskCall

# What any model of text can be tried on, whatever it is for.
_PLAIN = (
    "The quick brown fox jumps over the lazy dog.",
    "A short text.",
    "Two hours later, when nobody expected it any more, the train to the coast arrived after all.",
)


@dataclass(frozen=True, slots=True)
class Source:
    """A model that is to be exported.

    Attributes:
        rows: examples, the task's fields by name.
        load: how it is loaded.
    """

    model: ResolvedModel
    call: TaskCall
    rows: Sequence[Mapping[str, Any]]
    load: LoadOptions = field(default_factory=lambda: LoadOptions(device="cpu"))

    @property
    def heads(self) -> list[type]:
        """The auto classes that fit the task."""
        return auto_classes(self.call.task)

    def loaded(self) -> Any:
        """Load the model, as it was saved, an adapter added to it."""
        return load_model(self.model, self.heads, self.load, task=self.call.name, speed_up=False)

    def tokenizer(self) -> Any:
        """Load its tokenizer."""
        return load_tokenizer(self.model, self.call.name)


def check_text(call: TaskCall) -> None:
    """Raise UsageError for a task whose models take more than text."""
    fields = [each for each in call.task.fields if each.required]
    if any(each.kind is not Kind.TEXT and each.kind is not Kind.CHAT for each in fields):
        raise UsageError(f"a model for {call.name} is not exported: only models that take text are.")


def examples_for(call: TaskCall) -> list[Mapping[str, Any]]:
    """Return examples of a task, and texts of several lengths where it takes one text."""
    rows: list[Mapping[str, Any]] = [row for row in EXAMPLES.get(call.task.name, ()) if "messages" not in row]
    names = [each.name for each in call.task.fields if each.kind is Kind.TEXT and each.required]
    if call.task.has_blank:
        return [*rows, {"text": f"{_PLAIN[2]} It was ___."}]
    if len(names) <= 1 or "candidate_labels" in names:
        return [*rows, *({"text": text} for text in _PLAIN)]
    return rows
