"""A model that answers chats, as requests in the shape of OpenAI's reach it: one at a time, token by token."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmkit.inference.streaming import text_streamer
from llmkit.serving.engine import Job, Part
from llmkit.serving.served_tasks import ModelFailedError
from llmkit.serving.task_requests import LEAST_TEMPERATURE, BadRequestError

_DEFAULT_TOKENS = 256
_MOST_TOKENS = 8192
_ROLES = ("system", "user", "assistant", "developer", "tool")
_NOT_DONE = {
    "n": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "tools": None,
    "functions": None,
    "logit_bias": None,
    "response_format": {"type": "text"},
    "audio": None,
    "prediction": None,
}


@dataclass
class ChatAnswer:
    """An answer as it comes.

    Attributes:
        finish_reason: stop, or length where it was cut at the most tokens asked for.
    """

    text: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = "stop"
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def usage(self) -> dict[str, int]:
        """Return the count of tokens."""
        both = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": both,
        }


class ServedChat:
    """One model for chats.

    Args:
        pipe: the pipeline of the task conversational.
    """

    def __init__(self, name: str, pipe: Any) -> None:
        self.name = name
        self.pipe = pipe

    def job(self, body: Any, write: Callable[[str], None] = lambda text: None) -> Job:
        """Return the work that a request asks for; `write` hears the text as it comes, in the engine's thread.

        Raises:
            BadRequestError: the request is none, or asks for what is not done here.
        """
        messages, parameters, stop = _checked(body)
        return Job(lambda jobs: [self._answer(jobs[0], messages, parameters, stop, write)], [messages])

    def _answer(
        self,
        job: Part,
        messages: list[dict[str, str]],
        parameters: dict[str, Any],
        stop: list[str],
        write: Callable[[str], None],
    ) -> Any:
        from transformers import set_seed

        settings = dict(parameters)
        if (seed := settings.pop("seed", None)) is not None:
            set_seed(seed)
        answer = ChatAnswer()
        said = _Said(stop, write)
        streamer = text_streamer(self.pipe.tokenizer, said.add, skip_prompt=True)
        criteria = _until(lambda: job.is_left or said.is_over, answer)
        try:
            conversation = self.pipe(
                list(messages), streamer=streamer, stopping_criteria=criteria, **settings
            )
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            return ModelFailedError(f"the model fails on this: {reason}")
        said.end()
        answer.text = said.text if said.is_over or stop else conversation.messages[-1]["content"]
        if answer.completion_tokens >= settings["max_new_tokens"] and not said.is_over:
            answer.finish_reason = "length"
        return answer


class _Said:
    """The text of an answer up to where it is to stop; what may be the beginning of a stop is held back."""

    def __init__(self, stop: Sequence[str], write: Callable[[str], None]) -> None:
        self.text = ""
        self.is_over = False
        self._stop = stop
        self._write = write
        self._held = ""

    def add(self, text: str) -> None:
        if self.is_over:
            return
        self._held += text
        places = [place for each in self._stop if (place := self._held.find(each)) >= 0]
        if places:
            self.is_over = True
            self._give(self._held[: min(places)])
            return
        begun = max((_overlap(self._held, each) for each in self._stop), default=0)
        whole = self._held[: len(self._held) - begun]
        self._held = self._held[len(whole) :]
        self._give(whole)

    def end(self) -> None:
        """Give what was held back, as no stop came of it."""
        if not self.is_over:
            self._give(self._held)

    def _give(self, text: str) -> None:
        self.text += text
        if text:
            self._write(text)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at a text's end are the beginning of a stop."""
    return next(
        (size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0
    )


def _until(is_over: Callable[[], bool], answer: ChatAnswer) -> Any:
    """Return what stops a generation, and counts its tokens."""
    from transformers import StoppingCriteria, StoppingCriteriaList

    class _Until(StoppingCriteria):
        def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
            import torch

            if not answer.prompt_tokens:
                answer.prompt_tokens = input_ids.shape[1] - 1
            answer.completion_tokens = input_ids.shape[1] - answer.prompt_tokens
            return torch.full((input_ids.shape[0],), is_over(), dtype=torch.bool, device=input_ids.device)

    return StoppingCriteriaList([_Until()])


def wants_stream(body: Any) -> bool:
    """Tell whether a request asks for its answer as it comes.

    Raises:
        BadRequestError: it says something else of that.
    """
    stream = body.get("stream") if isinstance(body, dict) else None
    if not isinstance(stream, bool | None):
        raise BadRequestError('"stream" should be true or false.')
    return bool(stream)


def _checked(body: Any) -> tuple[list[dict[str, str]], dict[str, Any], list[str]]:
    """Return the messages, what generation is given, and the texts at which to stop."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list) or not body["messages"]:
        raise BadRequestError('a request is an object with "messages", a list that is not empty.')
    for name, only in _NOT_DONE.items():
        if body.get(name) not in (None, only, [], {}):
            raise BadRequestError(f'"{name}" is not done here.', hint="Leave it out.")
    messages = [_message(each) for each in body["messages"]]
    stop = body.get("stop") or []
    stop = [stop] if isinstance(stop, str) else stop
    if (
        not isinstance(stop, list)
        or len(stop) > 4
        or not all(isinstance(each, str) and each for each in stop)
    ):
        raise BadRequestError('"stop" should be a text or up to four of them.')
    return messages, _parameters(body), stop


def _message(given: Any) -> dict[str, str]:
    if not isinstance(given, dict) or given.get("role") not in _ROLES:
        raise BadRequestError(f'a message should have a "role": one of {", ".join(_ROLES)}.')
    content = given.get("content")
    if isinstance(content, list):  # parts, of which only texts can be taken
        if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
            raise BadRequestError("a part of a message should be a text.")
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise BadRequestError('the "content" of a message should be a text.')
    role = "system" if given["role"] == "developer" else given["role"]
    return {"role": role, "content": content}


def _parameters(body: dict[str, Any]) -> dict[str, Any]:
    asked = (body.get(name) for name in ("max_completion_tokens", "max_tokens"))
    tokens = next((each for each in asked if each is not None), _DEFAULT_TOKENS)
    if not _is_number(tokens, int, 1, _MOST_TOKENS):
        raise BadRequestError(f'"max_tokens" should be a whole number from 1 to {_MOST_TOKENS}.')
    parameters: dict[str, Any] = {"max_new_tokens": tokens}
    temperature = body.get("temperature")
    if temperature is not None:
        if not _is_number(temperature, int | float, 0, 2):
            raise BadRequestError('"temperature" should be a number from 0 to 2.')
        if temperature < LEAST_TEMPERATURE:  # 0, or as good as that
            parameters["do_sample"] = False
        else:
            parameters |= {"do_sample": True, "temperature": float(temperature)}
    top_p = body.get("top_p")
    if top_p is not None:
        if not _is_number(top_p, int | float, 0, 1) or top_p == 0:
            raise BadRequestError('"top_p" should be a number above 0, at most 1.')
        parameters = {"do_sample": True} | parameters | {"top_p": float(top_p)}
    seed = body.get("seed")
    if seed is not None:
        if not _is_number(seed, int, 0, 2**31 - 1):
            raise BadRequestError('"seed" should be a whole number from 0 to 2147483647.')
        parameters["seed"] = seed
    return parameters


def _is_number(value: Any, kind: Any, least: float, most: float) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and least <= value <= most
