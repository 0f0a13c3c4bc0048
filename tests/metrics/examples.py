"""Small examples of what each metric takes, for the tests that hold for all of them."""

from __future__ import annotations

import random

CLASSES = ([0, 1, 1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 0, 1, 1])
NUMBERS = ([0.1, 2.5, 3.0, -1.0, 0.5, 4.25], [0.0, 2.0, 3.5, -1.5, 0.0, 5.0])
TEXTS = (
    ["The cat sat on the mat.", "Hello there!", "general kenobi", "A dog barks\nloudly today."],
    ["The cat is on the mat.", "Hello there!", "General Kenobi, you are bold", "The dog barked\nloudly."],
)
TAGS = (
    [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-ORG", "I-ORG"], ["B-LOC", "I-LOC"], ["O"]],
    [["B-PER", "I-PER", "O", "B-ORG"], ["O", "B-ORG", "I-ORG"], ["B-LOC", "O"], ["O"]],
)
ANSWERS = (
    [
        {"id": str(i), "prediction_text": text}
        for i, text in enumerate(["The Eiffel tower", "1976", "blue", ""])
    ],
    [
        {"id": str(i), "answers": {"text": texts, "answer_start": [0] * len(texts)}}
        for i, texts in enumerate([["Eiffel Tower", "tower"], ["in 1976"], ["red"], ["x"]])
    ],
)
ANSWERS_OR_NONE = (
    [each | {"no_answer_probability": p} for each, p in zip(ANSWERS[0], [0.1, 0.7, 0.3, 0.9], strict=True)],
    [*ANSWERS[1][:2], *({"id": str(i), "answers": {"text": [], "answer_start": []}} for i in (2, 3))],
)
LOSSES = ([12.5, 3.25, 40.0, 0.5], [5, 2, 17, 1])
RANKS = ([1, 3, 1, 12, 2], [4, 4, 20, 20, 7])
REWARDS = ([0.5, -1.25, 2.0, 0.0], [0.25, -1.0, 1.0, 0.0])

BY_KIND = {
    "classes": CLASSES,
    "numbers": NUMBERS,
    "texts": TEXTS,
    "texts with several references": TEXTS,
    "tags": TAGS,
    "answers": ANSWERS,
    "answers or none": ANSWERS_OR_NONE,
    "losses": LOSSES,
    "ranks": RANKS,
    "rewards": REWARDS,
}


def many(kind: str, count: int, seed: int = 0) -> tuple[list, list]:
    """`count` examples of a kind, drawn with replacement; ids are made unique."""
    chosen = random.Random(seed).choices(list(zip(*BY_KIND[kind], strict=True)), k=count)
    pairs = [
        tuple(each | {"id": str(i)} if isinstance(each, dict) else each for each in pair)
        for i, pair in enumerate(chosen)
    ]
    return [p for p, _ in pairs], [r for _, r in pairs]
