"""What a page offers to try: the examples of the model's card, else some of our own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.tasks.catalogue import Kind, Task

Row = dict[str, Any]

_MOST = 6
_TEXT_KINDS = (Kind.TEXT, Kind.CHAT)
# What the hub's cards call the first field of a task, whatever it is called.
_OF_THE_CARD = "text"

EXAMPLES: Mapping[str, tuple[Row, ...]] = {
    "conversational": ({"messages": "What is a transformer, in one sentence?"},),
    "feature-extraction": ({"text": "The bank raised its rates."}, {"text": "We sat on the river bank."}),
    "fill-mask": ({"text": "Paris is the ___ of France."}, {"text": "The cat sat on the ___."}),
    "question-answering": (
        {
            "question": "Who wrote the first program?",
            "context": "Ada Lovelace wrote the first program, for a machine that Charles Babbage had designed.",
        },
    ),
    "sentence-similarity": (
        {
            "source_sentence": "He went to the bank to deposit money.",
            "sentences": ["The bank approved the loan.", "She sat on the river bank.", "The cat is asleep."],
        },
    ),
    "summarization": (
        {
            "text": "The tower is 324 metres tall, about as high as a building of 81 storeys. It was the tallest "
            "structure in the world for 41 years, until a building in New York was finished in 1930."
        },
    ),
    "text-classification": (
        {"text": "I expected the worst, and it was a wonderful evening."},
        {"text": "Two hours of my life that nobody gives back to me."},
    ),
    "text-generation": ({"text": "Once upon a time"},),
    "text-to-audio": ({"text": "Good morning."},),
    "text2text-generation": ({"text": "question: Where is the cat? context: The cat is in the garden."},),
    "token-classification": ({"text": "Ada Lovelace lived in London and wrote to Charles Babbage."},),
    "translation": ({"text": "How old are you?"},),
    "zero-shot-classification": (
        {"text": "The central bank raised its rates.", "candidate_labels": ["finance", "sports", "cooking"]},
    ),
    "table-question-answering": (),
}


def examples_of(task: Task, metadata: Mapping[str, Any]) -> list[Row]:
    """Return inputs to offer, each with all the fields that the task requires; none for a task of pictures or sound.

    Args:
        metadata: of the model's card: its `widget` holds the examples that its makers chose.
    """
    widget = metadata.get("widget")
    given = (
        [_row(task, each) for each in widget if isinstance(each, Mapping)] if isinstance(widget, list) else []
    )
    rows = [row for row in given if row is not None] or list(EXAMPLES.get(task.name, ()))
    return rows[:_MOST]


def _row(task: Task, item: Mapping[str, Any]) -> Row | None:
    """Return an example of a card as a row; None where it lacks a field, or holds no text."""
    row: Row = {}
    for number, field in enumerate(task.required_fields):
        value = item.get(field.name, item.get(_OF_THE_CARD) if number == 0 else None)
        if field.many and isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        whole = isinstance(value, list if field.many else str) and bool(value)
        if field.kind not in _TEXT_KINDS or not whole:
            return None
        row[field.name] = value
    return row
