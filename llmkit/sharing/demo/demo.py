"""A loaded model with its task, as a page asks it: one input at a time, answered as ``llmkit pipeline`` answers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmkit.data.encoding import ResultEncoder, dump_json
from llmkit.data.records import Record
from llmkit.errors import LlmkitError
from llmkit.inference.items import RunSettings
from llmkit.inference.runner import Runner
from llmkit.tasks.catalogue import TaskCall
from llmkit.tasks.inputs import FieldValues
from llmkit.tasks.parameters import parameters_of


class NoAnswerError(LlmkitError):
    """The model gives no answer to this input; the message says why."""


@dataclass(frozen=True, slots=True)
class Demo:
    """A model that can be tried.

    Attributes:
        title: how the model is called on the page.
        pipe: the task's pipeline, loaded.
        metadata: the head of the model's card.
        card: its text, Markdown.
    """

    title: str
    call: TaskCall
    pipe: Any
    metadata: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""

    def answer(self, values: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        """Return the pipeline's own result for one input.

        Args:
            values: the task's fields; pictures, sound and films as paths.
            parameters: of the pipeline's call, as ``llmkit pipeline -p`` has them.

        Raises:
            NoAnswerError: the input is none, or the model fails on it.
        """
        streamer = parameters.get("streamer")
        arranged = parameters_of(self.call.task).arrange(
            {name: value for name, value in parameters.items() if name != "streamer"}
        )
        if streamer is not None:
            arranged["streamer"] = streamer
        runner = Runner(self.pipe, self.call, RunSettings(arranged))
        (outcome,) = runner.run_window([(Record({}, "page", 1), FieldValues(values))])
        if outcome.error is not None:
            raise NoAnswerError(outcome.reason)
        return outcome.value


def as_json(result: Any) -> str:
    """Return a result without pictures or sound as the line that ``llmkit pipeline`` prints."""
    with tempfile.TemporaryDirectory() as folder:  # long arrays go there, and are not kept
        return dump_json(ResultEncoder(Path(folder, "files")).plain(result, "0"))
