"""What a request for a task says, checked: the shape of the hub's inference API, ``{"inputs": …, "parameters": {…}}``.

Nothing in a request is a path or an address that the server would open, nor code that it would run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.errors import LlmkitError, UsageError, did_you_mean
from llmkit.serving.request_media import MEDIA, bytes_of, checked_assets
from llmkit.tasks.catalogue import Field, Kind, Task, TaskCall
from llmkit.tasks.inputs import RowError, compose
from llmkit.tasks.parameter_values import check_accepted, check_types
from llmkit.tasks.parameters import parameters_of

MOST_INPUTS = 1024
LEAST_TEMPERATURE = 1e-5
"""Scores are divided by it: by less they may be infinite, and above it the best token is certain all the same."""
_LARGEST_NUMBER = 8192
_MOST = {"num_beams": 8, "num_return_sequences": 8, "num_beam_groups": 8, "doc_stride": 4096}
# What runs code of the caller's or opens files, or is an object that no JSON holds.
_NOT_FOR_REQUESTS = frozenset((
    "assistant_model", "cache_implementation", "chat_template", "compile_config", "continuous_batching_config",
    "custom_generate", "generation_config", "image_processor_kwargs", "logits_processor",
    "negative_prompt_attention_mask", "negative_prompt_ids", "prefix_allowed_tokens_fn", "preprocess_params",
    "processor_kwargs", "prompt_lookup_num_tokens", "return_tensors", "speculation_type", "stopping_criteria",
    "streamer", "synced_gpus", "tesseract_config", "trust_remote_code", "use_mtp", "watermarking_config",
))  # fmt: skip
_LANGUAGES = re.compile(r"[A-Za-z_]+(\+[A-Za-z_]+)*")  # of tesseract, which names files by them
_KEYS = ("inputs", "parameters")
# Of the hub's API, about what a server at hand has no choice in.
_IGNORED_KEYS = ("options",)


class BadRequestError(LlmkitError):
    """What was sent is no request that can be answered."""


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """A request that was checked.

    Attributes:
        rows: for each input, name of a field -> value; media as bytes.
        is_list: it was a list of inputs, and wants a list of answers.
        parameters: as the pipeline takes them.
    """

    rows: list[dict[str, Any]]
    is_list: bool
    parameters: dict[str, Any]


def read_request(call: TaskCall, pipe: Any, body: Any) -> TaskRequest:
    """Return what a body asks for.

    Args:
        body: what the JSON said; or bytes, which are the one input.

    Raises:
        BadRequestError: it is no request that can be answered.
    """
    if isinstance(body, bytes):
        return TaskRequest([_values(call, body, {})], False, {})
    if not isinstance(body, dict) or "inputs" not in body:
        raise BadRequestError('a request is an object with "inputs", and "parameters" where there are any.')
    beside = _beside(call.task, body)
    given = body.get("parameters")
    if not isinstance(given, dict | None):
        raise BadRequestError('"parameters" should be an object.')
    parameters = dict(given or {})
    for field in call.task.fields:
        if field.name in parameters:
            beside[field.name] = parameters.pop(field.name)
    inputs = body["inputs"]
    listed = inputs if isinstance(inputs, list) else [inputs]
    if not 0 < len(listed) <= MOST_INPUTS:
        raise BadRequestError(f'"inputs" should hold from 1 to {MOST_INPUTS} inputs.')
    rows = [_values(call, each, beside) for each in listed]
    return TaskRequest(rows, isinstance(inputs, list), _checked(call, pipe, parameters))


def _beside(task: Task, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that stand beside the inputs, as the hub's client sends a question about an image."""
    fields = [field.name for field in task.fields]
    known = [*_KEYS, *fields]
    for name, value in body.items():
        if name in (*known, *_IGNORED_KEYS) or (name == "stream" and not value):
            continue
        if name == "stream":
            raise BadRequestError(
                '"stream" is not done here.', hint="/v1/chat/completions streams, where chat is served."
            )
        guess = did_you_mean(name, known)
        raise BadRequestError(
            f"a request has no {name!r}" + (f": {guess}" if guess else "."),
            hint='It has "inputs" and "parameters".',
        )
    return {name: body[name] for name in fields if name in body}


def _values(call: TaskCall, given: Any, beside: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of one input."""
    fields = [field for field in call.task.fields if not field.parameter]
    if isinstance(given, dict):
        unknown = sorted(set(given) - {field.name for field in fields})
        if unknown:
            names = ", ".join(field.name for field in fields)
            raise BadRequestError(
                f"an input of {call.name} has no field {unknown[0]!r}.", hint=f"It has: {names}."
            )
        values = {**beside, **given}
    else:
        values = {**beside, _main(fields).name: given}
    try:
        for field in call.task.fields:
            if values.get(field.name) is not None:
                values[field.name] = _checked_value(field, values[field.name])
        compose(call.task, values)
    except RowError as error:
        raise BadRequestError(f"{error.message}.") from None
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise BadRequestError(f"the input is none of {call.name}: {error}.") from None
    return values


def _main(fields: list[Field]) -> Field:
    """Return the field that an input stands for which is no object."""
    return next((field for field in fields if field.required), fields[0])


def _checked_value(field: Field, value: Any) -> Any:
    """Return a field's value; refuse what would be opened: media and tables are here themselves, never as paths.

    Raises:
        RowError: it cannot be one.
    """
    if field.kind in MEDIA:
        return bytes_of(field, value)
    if field.name == "assets":
        return checked_assets(value)
    if field.kind is Kind.TABLE and not isinstance(value, dict | list):
        raise RowError(f"'{field.name}' should be the table itself: an object with a list for each column")
    if field.kind is Kind.CHAT:
        messages = value if isinstance(value, list) else []
        if not all(isinstance(each, dict) and isinstance(each.get("content"), str) for each in messages):
            raise RowError(
                f"'{field.name}' should be a list of objects with 'role' and 'content', both texts"
            )
    return value


def _checked(call: TaskCall, pipe: Any, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return parameters as the pipeline takes them."""
    taken = parameters_of(call.task)
    try:
        _check_harmless(parameters)
        taken.check(parameters, call.name)
        check_types(call.task, parameters)
        arranged = taken.arrange(parameters)
        check_accepted(pipe, arranged)
    except LlmkitError as error:
        raise BadRequestError(error.message.removeprefix("-p "), hint=error.hint) from None
    except Exception as error:
        raise BadRequestError(f"these parameters do not go together: {error}.") from None
    return arranged


def _check_harmless(value: Any, name: str = "a parameter") -> None:
    """Refuse what would open or run something, and numbers that ask for more memory than any answer is worth."""
    if isinstance(value, dict):
        for inner, each in value.items():
            if inner in _NOT_FOR_REQUESTS:
                raise UsageError(f"{inner} is not taken in a request.")
            _check_harmless(each, str(inner))
    elif isinstance(value, list):
        for each in value:
            _check_harmless(each, name)
    elif isinstance(value, int | float) and abs(value) > _most(name):
        raise UsageError(f"{name} should be {_most(name)} or less.")
    elif name == "temperature" and isinstance(value, int | float) and 0 < value < LEAST_TEMPERATURE:
        raise UsageError(
            f"temperature should be {LEAST_TEMPERATURE:g} or more.",
            hint="For the best token: do_sample false.",
        )
    elif name == "lang" and isinstance(value, str) and not _LANGUAGES.fullmatch(value):
        raise UsageError("lang should be a language's code, such as eng, or several with + between them.")


def _most(name: str) -> float:
    """Return the largest number that a parameter may be; one that is the number of a token costs nothing."""
    is_token = name.endswith(("_token_id", "_ids", "suppress_tokens"))
    return math.inf if is_token else _MOST.get(name, _LARGEST_NUMBER)
