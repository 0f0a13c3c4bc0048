"""A task whose model is loaded: what requests ask of it is run together, and answered as the hub does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from llmkit.data.records import Record
from llmkit.errors import DataError, LlmkitError
from llmkit.inference.items import RunSettings
from llmkit.inference.rows import MappedRow
from llmkit.inference.runner import Runner, window_rows
from llmkit.serving.engine import Job, Part
from llmkit.serving.request_media import field_of_body, opened, takes_media
from llmkit.serving.served_answers import InlineEncoder, answer_of, shaped
from llmkit.serving.task_requests import BadRequestError, read_request
from llmkit.tasks.catalogue import TaskCall
from llmkit.tasks.inputs import FieldValues
from llmkit.tasks.parameters import parameters_of


class ModelFailedError(LlmkitError):
    """The model fails on an input that looks well."""


class ServedTask:
    """One task and its loaded pipeline.

    Args:
        alias: another name that it was asked for by, such as ``sentiment-analysis``.

    Attributes:
        paths: where it is.
        takes_bytes: the body of a request can be its input.
    """

    def __init__(self, call: TaskCall, pipe: Any, alias: str | None = None) -> None:
        self.call = call
        self.task = call.task
        self.pipe = pipe
        self.paths = [f"/{name}" for name in dict.fromkeys((call.name, alias or call.name))]
        self.takes_media = takes_media(call.task)
        self.takes_bytes = field_of_body(call.task) is not None
        self._encoder = InlineEncoder()
        self._generates = bool(getattr(pipe, "_pipeline_calls_generate", False)) and pipe.model.can_generate()
        self._rate = getattr(getattr(pipe, "feature_extractor", None), "sampling_rate", None)

    def job(self, body: Any) -> Job:
        """Return the work that a request asks for.

        Raises:
            BadRequestError: the request is none.
        """
        request = read_request(self.call, self.pipe, body)
        return Job(
            self._run, request.rows, key=(self.call.name, json.dumps(request.parameters, sort_keys=True))
        )

    def answer(self, body: Any, values: Sequence[Any], *, as_file: bool = True) -> Any:
        """Return what the hub's API answers, of one input or of a list of them.

        Args:
            as_file: give a picture or a sound itself, not in JSON, where it is all of the answer.
        """
        results = [shaped(self.task.name, self._encoder.plain(value, "0")) for value in values]
        is_list = isinstance(body, dict) and isinstance(body["inputs"], list)
        return answer_of(self.task.name, results, is_list=is_list, as_file=as_file)

    # -- in the engine's thread

    def _run(self, jobs: Sequence[Part]) -> list[Any]:
        """Return for each job the results of its inputs, or what went wrong with one of them."""
        parameters = json.loads(jobs[0].key[1])
        if self._generates:
            stops = {"stopping_criteria": _until_all_left(jobs)}
            parameters = parameters_of(self.task).arrange({**parameters, **stops})
        runner = Runner(self.pipe, self.call, RunSettings(parameters))
        rows = [values for job in jobs for values in job.items]
        outcomes = self._outcomes(runner, rows)
        return [self._result([next(outcomes) for _ in job.items]) for job in jobs]

    def _outcomes(self, runner: Runner, rows: list[dict[str, Any]]) -> Iterator[Any]:
        """Give each row's outcome; few rows at a time are opened where they hold images or sound."""
        if not self.takes_media:
            yield from runner.run_window([_mapped(values) for values in rows])
            return
        size = window_rows(self.task)
        for start in range(0, len(rows), size):
            with opened(self.task, rows[start : start + size], self._rate) as window:
                yield from runner.run_window([_mapped(values) for values in window])

    def _result(self, outcomes: Sequence[Any]) -> Any:
        for outcome in outcomes:
            if isinstance(outcome.error, DataError):
                return BadRequestError(f"{outcome.reason}.")
            if outcome.error is not None:
                return ModelFailedError(f"the model fails on this: {outcome.reason}")
        return [outcome.value for outcome in outcomes]


def _mapped(values: Any) -> MappedRow:
    return Record({}, "request", 1), values if isinstance(values, Exception) else FieldValues(values)


def _until_all_left(jobs: Sequence[Part]) -> Any:
    """Return what stops a generation once nobody waits for any of it."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class _AllLeft(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
            import torch

            left = all(job.is_left for job in jobs)
            return torch.full((input_ids.shape[0],), left, dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([_AllLeft()])
