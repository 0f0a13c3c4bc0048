"""The gold answers of a question, in the shapes that data sets have them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.tasks.inputs import RowError
from llmkit.training.objectives.cells import unpacked


@dataclass(frozen=True, slots=True)
class Answer:
    """A text that stands in the context, from character `start` on."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character behind the last one."""
        return self.start + len(self.text)


def gold_answers(context: str, answers: Any, start: Any = None) -> list[Answer]:
    """Return the answers of a row, checked; none where the question cannot be answered.

    Args:
        answers: ``{"text": […], "answer_start": […]}``, ``[{"text": …, "answer_start": …}, …]``, or a text;
            each may be JSON in a csv cell.
        start: where the text stands; not needed if it stands in one place alone.

    Raises:
        RowError: an answer does not stand where it says.
    """
    found = [
        _placed(context, text, begin) for text, begin in _pairs(unpacked(answers), start) if text is not None
    ]
    return [each for each in found if each.text]


def _pairs(answers: Any, start: Any) -> list[tuple[Any, Any]]:
    if answers is None:
        return []
    if isinstance(answers, Mapping):
        if "text" not in answers:
            raise RowError(f"the answers {answers!r} have no text")
        texts, starts = answers["text"], answers.get("answer_start", start)
    elif isinstance(answers, list) and all(isinstance(each, Mapping) for each in answers):
        texts = [each.get("text") for each in answers]
        starts = [each.get("answer_start") for each in answers]
    else:
        texts, starts = answers, start
    texts = texts if isinstance(texts, list) else [texts]
    starts = unpacked(starts)
    starts = starts if isinstance(starts, list) else [starts] * len(texts)
    if len(texts) != len(starts):
        raise RowError(f"{len(texts)} answers and {len(starts)} places where they stand")
    return list(zip(texts, starts, strict=True))


def _placed(context: str, text: Any, start: Any) -> Answer:
    if not isinstance(text, str):
        raise RowError(f"the answer {text!r} is no text")
    begin = _number(start, text)
    stripped = text.strip()
    if not stripped:
        return Answer("", 0)
    if begin is None:
        begin = _only_place(context, text)
    elif not 0 <= begin <= len(context) or not context.startswith(text, begin):
        there = context[max(begin, 0) : max(begin, 0) + len(text)]
        place = context.find(text)
        hint = f"It stands at {place}." if place >= 0 else "It stands nowhere in the context."
        raise RowError(
            f"the answer {text!r} does not stand at character {begin} of the context: there is {there!r}",
            hint=hint,
        )
    return Answer(stripped, begin + len(text) - len(text.lstrip()))


def _number(start: Any, text: str) -> int | None:
    if start is None or start == "":
        return None
    try:
        number = float(start)
    except (TypeError, ValueError):
        number = 0.5
    if isinstance(start, bool) or not number.is_integer():
        raise RowError(f"the place {start!r} of the answer {text!r} is no whole number")
    return int(number)


def _only_place(context: str, text: str) -> int:
    count = context.count(text)
    if count != 1:
        raise RowError(
            f"the answer {text!r} stands {count} times in the context"
            if count
            else f"the answer {text!r} does not stand in the context",
            hint="Say which one with a column answer_start: the number of characters before it."
            if count
            else None,
        )
    return context.index(text)
