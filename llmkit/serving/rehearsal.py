"""A first input through a pipeline, so that what is done at the first one only is done for every later process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from llmkit.data.records import Record
from llmkit.inference.items import RunSettings
from llmkit.inference.runner import Runner
from llmkit.tasks.catalogue import Field, Kind, TaskCall
from llmkit.tasks.inputs import FieldValues
from llmkit.tasks.parameter_values import check_types
from llmkit.tasks.parameters import parameters_of

if TYPE_CHECKING:
    from transformers import Pipeline

_TEXT = "A first text."
_WORD = " a"
_MOST_WORDS = 32  # beside those
_PARALLELISM = "TOKENIZERS_PARALLELISM"


def rehearse(call: TaskCall, pipe: Pipeline, seconds: float = 0.0) -> None:
    """Run a task of text once on a short one; what it gives, and whether it gives anything, is all the same.

    Args:
        seconds: go on so long with texts of one word more each: oneDNN compiles code for each length that it meets,
            which takes half as long as a short text itself, and processes that are forked have it.
    """
    taken = parameters_of(call.task)
    with suppress(Exception):
        check_types(call.task, {"": 0})
    if any(field.required and field.kind is not Kind.TEXT for field in call.task.fields):
        return
    parameters = taken.arrange({"max_new_tokens": 1} if "max_new_tokens" in taken.passed_on else {})
    deadline = time.monotonic() + seconds
    with _one_thread(), suppress(Exception):
        runner = Runner(pipe, call, RunSettings(parameters))
        for words in range(_MOST_WORDS + 1):
            values = {field.name: _value(field, call, words) for field in call.task.fields if field.required}
            runner.run_window([(Record({}, "rehearsal", 1), FieldValues(values))])
            if time.monotonic() >= deadline:
                break


def _value(field: Field, call: TaskCall, words: int) -> Any:
    text = "A first ___." if call.task.has_blank and field.name == "text" else _TEXT
    text += words * _WORD
    return [text, "Another one."] if field.many else text


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep tokenizers from starting threads, which would not be there in a process that is forked."""
    before = os.environ.get(_PARALLELISM)
    os.environ[_PARALLELISM] = "false"
    try:
        yield
    finally:
        os.environ.pop(_PARALLELISM)
        if before is not None:
            os.environ[_PARALLELISM] = before
