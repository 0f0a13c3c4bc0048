"""Chats: what may follow what, and where in the rendered text the assistant's turns stand.

The template renders each chat twice a turn: all before the turn with the prompt for it, and the turn itself. What
the second has beyond the first is the assistant's, with the mark that ends it. So any template will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llmkit.tasks.inputs import RowError, chat_messages

Message = dict[str, Any]

ASSISTANT = "assistant"

_MAY_FOLLOW = {
    None: ("system", "developer", "user"),
    "system": ("user",),
    "developer": ("user",),
    "user": (ASSISTANT,),
    ASSISTANT: ("user", "tool"),
    "tool": ("tool", ASSISTANT),
}
# ShareGPT's names.
_ROLES = {"human": "user", "gpt": ASSISTANT, "bot": ASSISTANT, "model": ASSISTANT, "observation": "tool"}


def checked_messages(value: Any) -> list[Message]:
    """Return the messages of a chat that ends with the assistant.

    Args:
        value: a list of ``{"role": …, "content": …}`` or ShareGPT's ``{"from": …, "value": …}``, or JSON of it.

    Raises:
        RowError: it is no such list, or the roles are out of order.
    """
    messages = [_named(message) for message in chat_messages(_as_chat(value))]
    before: str | None = None
    for number, message in enumerate(messages, start=1):
        role, allowed = message["role"], _MAY_FOLLOW[before]
        if role not in _MAY_FOLLOW:
            known = ", ".join(name for name in _MAY_FOLLOW if name)
            raise RowError(f"message {number} has the role {role!r}; there are: {known}")
        if role not in allowed:
            after = f"after {before}" if before else "at the beginning"
            raise RowError(
                f"message {number} has the role {role}, but {after} comes {' or '.join(allowed)}",
                hint="A chat goes system (if any), user, assistant, user, assistant, …",
            )
        before = role
    if before != ASSISTANT:
        raise RowError(f"the chat ends with {before}, so there is no answer to learn")
    return messages


def _as_chat(value: Any) -> Any:
    """Give ShareGPT's messages the names that templates know."""
    from llmkit.training.objectives.cells import unpacked

    value = unpacked(value)
    if not isinstance(value, list):
        raise RowError('messages should be a list of {"role": …, "content": …}')
    return [
        {"role": each["from"], "content": each["value"]}
        if isinstance(each, Mapping) and {"from", "value"} <= each.keys()
        else each
        for each in value
    ]


def _named(message: Message) -> Message:
    role = _ROLES.get(message["role"], message["role"])
    content = message["content"]
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        content = "".join(str(part.get("text") or part.get("value") or "") for part in content)
    if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
        raise RowError(f"the content of a message of {role} is {content!r}, which is no text")
    if role == ASSISTANT and not (content or "").strip() and not message.get("tool_calls"):
        raise RowError("a message of the assistant is empty")
    return {**message, "role": role, "content": content}


@dataclass(frozen=True, slots=True)
class Rendered:
    """A chat as text, and the (begin, end) characters of what is to be learned in it."""

    text: str
    spans: tuple[tuple[int, int], ...]


def rendered_chats(tokenizer: Any, messages: Sequence[Message]) -> list[Rendered]:
    """Render a chat: one text, or where the template changes earlier turns, a text for each answer.

    Raises:
        RowError: the template refuses the chat, or does not begin an answer as its own prompt says.
    """
    turns = [number for number, message in enumerate(messages) if message["role"] == ASSISTANT]
    each = [_rendered_turn(tokenizer, messages[: number + 1]) for number in turns]
    whole = each[-1]
    if all(whole.text.startswith(turn.text[: turn.spans[0][1]]) for turn in each):
        return [Rendered(whole.text, tuple(turn.spans[0] for turn in each))]
    # Such as templates that leave the reasoning out of all turns but the last.
    return each


def _rendered_turn(tokenizer: Any, messages: Sequence[Message]) -> Rendered:
    """Render a chat up to one of the assistant's turns, which is what there is to learn."""
    begin = _render(tokenizer, messages[:-1], prompt=True)
    text = _render(tokenizer, messages, prompt=False)
    if not text.startswith(begin):
        begin = _render(tokenizer, messages[:-1], prompt=False)
    if not text.startswith(begin):
        raise RowError(
            "the chat template writes an answer in another way than it asks for one",
            hint="Give prompt and completion columns instead of messages.",
        )
    # A newline behind the mark that ends a turn is never generated.
    return Rendered(text, ((len(begin), len(text.rstrip())),))


def _render(tokenizer: Any, messages: Sequence[Message], *, prompt: bool) -> str:
    from jinja2 import TemplateError

    try:
        text: str = tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=prompt
        )
    except TemplateError as error:
        raise RowError(f"the chat template refuses it: {error}") from None
    return text
