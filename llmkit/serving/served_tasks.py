"""A task whose model is loaded, as requests reach it: their shape checked, run together, answered as the hub does.

The shape is that of the hub's inference API: ``{"inputs": …, "parameters": {…}}``. Nothing in a request is a path or
an address that the server would open.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from llmkit.data.encoding import ResultEncoder
from llmkit.data.records import Record
from llmkit.errors import DataError, LlmkitError, UsageError
from llmkit.inference.runner import Runner, RunSettings
from llmkit.serving.engine import Job
from llmkit.tasks.catalogue import Field, Kind, TaskCall
from llmkit.tasks.inputs import RowError, compose
from llmkit.tasks.parameter_values import check_accepted, check_types
from llmkit.tasks.parameters import parameters_of

MOST_INPUTS = 1024
_LARGEST_NUMBER = 8192
_MOST = {"num_beams": 8, "num_return_sequences": 8, "num_beam_groups": 8, "doc_stride": 4096}
# What runs code of the caller's, or is an object that no JSON holds.
_NOT_FOR_REQUESTS = (
    "assistant_model", "cache_implementation", "compile_config", "custom_generate", "generation_config",
    "logits_processor", "negative_prompt_attention_mask", "negative_prompt_ids", "prefix_allowed_tokens_fn",
    "prompt_lookup_num_tokens", "return_tensors", "stopping_criteria", "streamer", "synced_gpus",
)  # fmt: skip
# The hub gives a list of these for one input.
_LISTED = ("summarization", "translation", "text2text-generation", "text-generation")


class BadRequestError(LlmkitError):
    """What was sent is no request that can be answered."""


class ModelFailedError(LlmkitError):
    """The model fails on an input that looks well."""


class ServedTask:
    """One task and its loaded pipeline."""

    def __init__(self, call: TaskCall, pipe: Any, encoder: ResultEncoder) -> None:
        self.call = call
        self.task = call.task
        self.pipe = pipe
        self._encoder = encoder
        self._generates = bool(getattr(pipe, "_pipeline_calls_generate", False))

    def job(self, body: Any) -> Job:
        """Return the work that a request asks for.

        Raises:
            BadRequestError: the request is none.
        """
        if not isinstance(body, dict) or "inputs" not in body:
            raise BadRequestError(
                'a request is an object with "inputs", and "parameters" where there are any.'
            )
        given = body.get("parameters")
        if not isinstance(given, dict | None):
            raise BadRequestError('"parameters" is an object.')
        parameters = dict(given or {})
        beside = {
            field.name: parameters.pop(field.name) for field in self.task.fields if field.name in parameters
        }
        inputs = body["inputs"]
        rows = [self._values(each, beside) for each in (inputs if isinstance(inputs, list) else [inputs])]
        if not 0 < len(rows) <= MOST_INPUTS:
            raise BadRequestError(f'"inputs" holds from 1 to {MOST_INPUTS} inputs.')
        parameters = self._checked(parameters)
        return Job(self._run, rows, key=(self.call.name, json.dumps(parameters, sort_keys=True)))

    def answer(self, body: Any, values: Sequence[Any]) -> Any:
        """Return what the hub's API answers, of one input or of a list of them."""
        shaped = [self._shaped(self._encoder.plain(value, "0")) for value in values]
        return (
            shaped
            if isinstance(body["inputs"], list) or self.task.name == "text-classification"
            else shaped[0]
        )

    def _shaped(self, value: Any) -> Any:
        if self.task.name in _LISTED and isinstance(value, dict):
            return [value]
        return [value] if self.task.name == "text-classification" and isinstance(value, dict) else value

    # -- requests

    def _values(self, given: Any, beside: dict[str, Any]) -> dict[str, Any]:
        """Return the fields of one input."""
        fields = [field for field in self.task.fields if not field.parameter]
        if isinstance(given, dict):
            unknown = sorted(set(given) - {field.name for field in fields})
            if unknown:
                names = ", ".join(field.name for field in fields)
                raise BadRequestError(
                    f"an input of {self.call.name} has no field {unknown[0]!r}.", hint=f"It has: {names}."
                )
            values = {**given, **beside}
        else:
            values = {fields[0].name: given, **beside}
        for field in self.task.fields:
            if field.name in values:
                _check_kind(field, values[field.name])
        try:
            compose(self.task, values)
        except RowError as error:
            raise BadRequestError(f"{error.message}.") from None
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise BadRequestError(f"the input is none of {self.call.name}: {error}.") from None
        return values

    def _checked(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return parameters as the pipeline takes them."""
        taken = parameters_of(self.task)
        try:
            for name, value in parameters.items():
                if name in _NOT_FOR_REQUESTS:
                    raise UsageError(f"{name} is not taken in a request.")
                _check_size(name, value)
            taken.check(parameters, self.call.name)
            check_types(self.task, parameters)
            arranged = taken.arrange(parameters)
            check_accepted(self.pipe, arranged)
        except LlmkitError as error:
            raise BadRequestError(error.message.removeprefix("-p "), hint=error.hint) from None
        except Exception as error:
            raise BadRequestError(f"these parameters do not go together: {error}.") from None
        return arranged

    # -- in the engine's thread

    def _run(self, jobs: Sequence[Job]) -> list[Any]:
        """Return for each job the results of its inputs, or what went wrong with one of them."""
        parameters = json.loads(jobs[0].key[1])
        if self._generates:
            parameters["stopping_criteria"] = _until_all_left(jobs)
        rows = [(Record({}, "request", 1), values) for job in jobs for values in job.items]
        outcomes = iter(Runner(self.pipe, self.call, RunSettings(parameters)).run_window(rows))
        return [self._result([next(outcomes) for _ in job.items]) for job in jobs]

    def _result(self, outcomes: Sequence[Any]) -> Any:
        for outcome in outcomes:
            if isinstance(outcome.error, DataError):
                return BadRequestError(f"{outcome.reason}.")
            if outcome.error is not None:
                return ModelFailedError(f"the model fails on this: {outcome.reason}")
        return [outcome.value for outcome in outcomes]


def _until_all_left(jobs: Sequence[Job]) -> Any:
    """Return what stops a generation once nobody waits for any of it."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class _AllLeft(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
            import torch

            left = all(job.is_left for job in jobs)
            return torch.full((input_ids.shape[0],), left, dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([_AllLeft()])


def _check_kind(field: Field, value: Any) -> None:
    """Refuse what would be opened: a table is its cells here, never the path of a file."""
    if field.kind is Kind.TABLE and not isinstance(value, dict | list):
        raise BadRequestError(f'"{field.name}" is the table itself: an object with a list for each column.')
    if field.kind is Kind.CHAT:
        messages = value if isinstance(value, list) else []
        if not all(isinstance(each, dict) and isinstance(each.get("content"), str) for each in messages):
            raise BadRequestError(
                f'"{field.name}" is a list of objects with "role" and "content", both texts.'
            )


def _check_size(name: str, value: Any) -> None:
    """Refuse numbers that ask for more memory than any answer is worth."""
    for each in value if isinstance(value, list) else [value]:
        most = _MOST.get(name, _LARGEST_NUMBER)
        if isinstance(each, int) and abs(each) > most:
            raise UsageError(f"{name} is at most {most}.")
        if isinstance(each, dict):
            for inner, number in each.items():
                _check_size(str(inner), number)
