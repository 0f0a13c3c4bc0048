"""multiple-choice: endings of all rows in one batch, losses as the model's own, rows of any number of endings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llmkit.errors import DataError
from llmkit.training.run import finetune
from llmkit.training.state import Run
from tests.training.stepping import (
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "multiple-choice"
MODEL = "feature-extraction"
Tiny = Callable[[str], Path]

CONTEXTS = ["The dog", "I was charged twice for my order.", "Paris", "A film was beautifully acted", "No"]
ENDINGS = [
    ["jumps over the fox", "is tasteless", "and rome", "jumps"],
    ["I want a refund", "cold", "a lazy dog in the city of Rome", "yes"],
    ["is the capital of France", "is a dog", "barking", "no no no"],
    ["and funny", "and cold, the worst meal", "on an invoice", "two"],
    ["yes", "no", "the quick brown fox", "how are you today"],
]
LABELS = [3, 0, 0, 1, 2]
ROWS = [
    {
        "sent1": context,
        "sent2": "It",
        **{f"ending{number}": each for number, each in enumerate(endings)},
        "label": label,
    }
    for context, endings, label in zip(CONTEXTS, ENDINGS, LABELS, strict=True)
]


def run_on(tiny: Tiny, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    return ready(config_for(TASK, tiny(MODEL), folder, write_rows(folder / "train.jsonl", rows), **sections))


@pytest.mark.parametrize("split", SPLITS)
def test_step(tiny: Tiny, tmp_path: Path, split: str) -> None:
    run = run_on(tiny, tmp_path, ROWS, training=SPLITS[split])
    firsts = [context for context in CONTEXTS for _ in range(4)]
    seconds = [f"It {ending}" for endings in ENDINGS for ending in endings]
    encoded = run.objective.tokenizer(firsts, seconds, padding=True, return_tensors="pt")
    # (rows, choices, sequence), as transformers' multiple-choice models take it
    inputs = {name: tensor.view(len(ROWS), 4, -1) for name, tensor in encoded.items()}
    loss = run.model(**inputs, labels=torch.tensor(LABELS)).loss
    assert_same_step(first_step(run), plain_step(run.model, loss))


@pytest.mark.parametrize("split", ["whole", "sorted", "one by one"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_step_of_uneven_rows(tiny: Tiny, tmp_path: Path, split: str, smoothing: float) -> None:
    rows = [
        {"question": context, "choices": endings[: 2 + number % 3], "label": number % 2}
        for number, (context, endings) in enumerate(zip(CONTEXTS, ENDINGS, strict=True))
    ]
    run = run_on(tiny, tmp_path, rows, training={**SPLITS[split], "label_smoothing": smoothing})
    losses = []
    for row in rows:
        pairs = [(row["question"], ending) for ending in row["choices"]]
        encoded = run.objective.tokenizer(pairs, padding=True, return_tensors="pt")
        logits = run.model(**{name: tensor.unsqueeze(0) for name, tensor in encoded.items()}).logits
        losses.append(
            functional.cross_entropy(logits, torch.tensor([row["label"]]), label_smoothing=smoothing)
        )
    assert_same_step(first_step(run), plain_step(run.model, torch.stack(losses).mean()))


def test_lengths_are_of_all_endings(tiny: Tiny, tmp_path: Path) -> None:
    run = run_on(tiny, tmp_path, ROWS)
    tokenizer = run.objective.tokenizer
    assert list(run.data.train.lengths) == [
        sum(len(tokenizer(context, f"It {ending}").input_ids) for ending in endings)
        for context, endings in zip(CONTEXTS, ENDINGS, strict=True)
    ]


class TestShapes:
    @pytest.mark.parametrize(
        "row",
        [
            {"context": "Yes", "endings": ["a", "b"], "label": 1},
            {"premise": "Yes", "choice1": "a", "choice2": "b", "label": "1"},
            {"question": "Yes", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"},
            {"question": "Yes", "options": json.dumps(["a", "b"]), "answer": "B"},
            {"question": "Yes", "options": ["a", "b"], "answer": "b"},
            {"sentence": "Yes", "option1": "a", "option2": "b", "option3": "", "answer": 1.0},
        ],
    )
    def test_same_example(self, tiny: Tiny, tmp_path: Path, row: dict[str, Any]) -> None:
        run = run_on(tiny, tmp_path, [row])
        example = run.data.train.take([0])[0]
        tokenizer = run.objective.tokenizer
        assert example["input_ids"] == [tokenizer("Yes", each).input_ids for each in "ab"]
        assert example["label"] == 1


def test_learning(tiny: Tiny, tmp_path: Path) -> None:
    right, wrong = ("funny", "warm", "a delight"), ("cold", "tasteless", "the worst")
    rows = []
    for number, noun in enumerate(["film", "meal", "dog", "photo", "house", "order"] * 6):
        endings = [f"was {wrong[(number + place) % 3]}" for place in range(3)]
        endings[number % 3] = f"was {right[number // 3 % 3]}"
        rows.append({"context": f"The {noun}", "endings": endings, "label": number % 3})
    train = write_rows(tmp_path / "train.jsonl", rows)
    training = {"epochs": 10, "learning_rate": 3e-3, "batch_size": 8}
    config = config_for(TASK, tiny(MODEL), tmp_path, train, data={"validation": 0.25}, training=training)
    run = finetune(config, device="cpu")
    assert run.figures["eval_accuracy"] >= 0.9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": 4}, "the label 4 names none of the 4 endings"),
        ({"label": -1}, "the label -1 names none of the 4 endings"),
        ({"label": "E"}, "the label 'E' names none of the 4 endings"),
        ({"label": None}, "the label None is neither the number of an ending nor one of them"),
        ({"label": 0.5}, "the label 0.5 is neither"),
        ({"ending1": ""}, "ending 1 is empty"),
        ({"ending1": 7}, "ending 1 is no text: 7"),
        ({"ending1": "", "ending2": None, "ending3": ""}, "there is one ending, and two or more are needed"),
        ({"sent1": "", "sent2": None}, "there is neither a context nor a question"),
        ({"sent1": ["a"]}, "['a'] is no text"),
    ],
)
def test_bad_rows(tiny: Tiny, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        run_on(tiny, tmp_path, [ROWS[0], {**ROWS[1], **change}])
    assert caught.value.message.startswith(f"{tmp_path / 'train.jsonl'}:2: {message}")
