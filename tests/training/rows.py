"""A few rows for each training task, and a tiny model to train on them: for what must hold for every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.training.stepping import write_rows

SENTENCES = [
    "The quick brown fox",
    "Paris is the capital of France, and Rome is the capital of Italy.",
    "Yes",
    "I was charged twice for my order.",
    "This film was a delight: funny, warm",
    "the lazy dog wants to live in Berlin",
    "How many people were in the city?",
]
ENDINGS = ["jumps over the fox", "I want a refund", "is the capital of France", "no"]


@dataclass(frozen=True)
class Trial:
    """What a task is tried on.

    Attributes:
        start: the tiny model; as the fixture `tiny` names it.
        rows: or the lines of a plain text file.
        packs: the task can pack samples.
    """

    start: str
    rows: list[dict[str, Any]] | str
    packs: bool = False
    data: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> str:
        """Write the rows and return the file's name."""
        if isinstance(self.rows, list):
            return write_rows(folder / "train.jsonl", self.rows)
        path = folder / "train.txt"
        path.write_text(self.rows, encoding="utf-8")
        return str(path)

    def sections(self, tiny: Callable[[str], Path], folder: Path) -> dict[str, Any]:
        """Return the model and the data of a config."""
        return {
            "model": {"name": str(tiny(self.start)), **self.model},
            "data": {"train": self.write(folder), **self.data},
        }


NO_DROPOUT = {"config": {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}}

TRIALS = {
    "text-classification": Trial(
        "text-classification",
        [{"text": text, "label": "abc"[number % 3]} for number, text in enumerate(SENTENCES)],
        model=NO_DROPOUT,
    ),
    "token-classification": Trial(
        "token-classification",
        [
            {"words": text.split(), "tags": ["O" if word in "the a of" else "B-x" for word in text.split()]}
            for text in SENTENCES
        ],
        model=NO_DROPOUT,
    ),
    "question-answering": Trial(
        "question-answering",
        [
            {
                "question": "Which?",
                "context": text,
                "answer": text.split()[0],
                "answer_start": 0,
            }
            for text in SENTENCES
        ],
        model=NO_DROPOUT,
    ),
    "multiple-choice": Trial(
        "feature-extraction",
        [
            {"question": text, "choices": ENDINGS[: 2 + number % 3], "label": number % 2}
            for number, text in enumerate(SENTENCES)
        ],
        model=NO_DROPOUT,
    ),
    "masked-lm": Trial(
        "fill-mask", "\n".join(SENTENCES), packs=True, data={"max_length": 32}, model=NO_DROPOUT
    ),
    "next-sentence": Trial(
        "fill-mask",
        "\n\n".join("\n".join(text.split(" of ") * 2) for text in SENTENCES[:-1]),
        data={"max_length": 24},
        model=NO_DROPOUT,
    ),
    "causal-lm": Trial(
        "conversational",
        [{"prompt": "Which?", "completion": f" {text}"} for text in SENTENCES],
        packs=True,
        data={"max_length": 32},
    ),
    "seq2seq": Trial(
        "summarization",
        [{"source": text, "target": text.split()[0]} for text in SENTENCES],
        model={"config": {"dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0}},
    ),
    "sentence-embedding": Trial(
        "feature-extraction",
        [
            {"anchor": text, "positive": " ".join(reversed(text.split())), "negative": other}
            for text, other in zip(SENTENCES, [*SENTENCES[3:], *SENTENCES[:3]], strict=True)
        ],
        model=NO_DROPOUT,
    ),
    "preference": Trial(
        "text-generation",
        [{"prompt": "Which?", "chosen": f" {text}", "rejected": " No"} for text in SENTENCES],
        data={"max_length": 32},
        model={"config": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}},
    ),
}
