"""text-classification: its losses and gradients are PyTorch's own, it learns, and bad rows are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llmkit.errors import DataError, UsageError
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

TASK = "text-classification"
Tiny = Callable[[str], Path]

TEXTS = [
    "the quick brown fox",
    "I want a refund",
    "This film was a delight: funny, warm and beautifully acted.",
    "cold",
    "That was the worst meal I have had in years, cold and tasteless.",
    "Paris is the capital of France, and Rome is the capital of Italy.",
    "a lazy dog",
    "How many people live in the city?",
]
CLASSES = ["good", "bad", "good", "bad", "bad", "fair", "fair", "good"]
PAIRS = list(zip(TEXTS, reversed(TEXTS), strict=True))


def run_on(tiny: Tiny, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    train = write_rows(folder / "train.jsonl", rows)
    return ready(config_for(TASK, tiny(TASK), folder, train, **sections))


def logits_of(run: Run, texts: list[Any]) -> torch.Tensor:
    """(texts, classes), all padded to the longest."""
    inputs = run.objective.tokenizer(texts, padding=True, return_tensors="pt")
    return run.model(**inputs).logits


def classes_of(run: Run, names: list[str]) -> torch.Tensor:
    return torch.tensor([run.model.config.label2id[name] for name in names])


class TestStep:
    @pytest.mark.parametrize("split", SPLITS)
    def test_classes(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        rows = [{"text": text, "label": name} for text, name in zip(TEXTS, CLASSES, strict=True)]
        run = run_on(tiny, tmp_path, rows, training=SPLITS[split])
        loss = functional.cross_entropy(logits_of(run, TEXTS), classes_of(run, CLASSES))
        assert_same_step(first_step(run), plain_step(run.model, loss))

    @pytest.mark.parametrize("split", SPLITS)
    def test_class_weights_and_label_smoothing(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        rows = [{"text": text, "label": name} for text, name in zip(TEXTS, CLASSES, strict=True)]
        weights = [1.0, 0.25, 3.0]
        training = {**SPLITS[split], "class_weights": weights, "label_smoothing": 0.1}
        run = run_on(tiny, tmp_path, rows, training=training)
        assert run.model.config.id2label == {0: "bad", 1: "fair", 2: "good"}
        loss = functional.cross_entropy(
            logits_of(run, TEXTS),
            classes_of(run, CLASSES),
            weight=torch.tensor(weights),
            label_smoothing=0.1,
        )
        assert_same_step(first_step(run), plain_step(run.model, loss))

    def test_balanced_weights(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [{"text": text, "label": name} for text, name in zip(TEXTS, CLASSES, strict=True)]
        run = run_on(tiny, tmp_path, rows, training={"class_weights": "balanced", "micro_batch_size": 3})
        weights = torch.tensor([8 / (3 * 3), 8 / (3 * 2), 8 / (3 * 3)])  # all rows / (classes × rows of it)
        loss = functional.cross_entropy(logits_of(run, TEXTS), classes_of(run, CLASSES), weight=weights)
        assert_same_step(first_step(run), plain_step(run.model, loss))

    @pytest.mark.parametrize("split", SPLITS)
    def test_several_labels_at_once(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        several = [["a"], ["b", "c"], [], ["a", "b", "c"], ["c"], ["b"], [], ["a", "c"]]
        rows = [{"text": text, "label": names} for text, names in zip(TEXTS, several, strict=True)]
        run = run_on(tiny, tmp_path, rows, training=SPLITS[split])
        assert run.model.config.problem_type == "multi_label_classification"
        labels = torch.tensor([[float(name in names) for name in "abc"] for names in several])
        loss = functional.binary_cross_entropy_with_logits(logits_of(run, TEXTS), labels)
        assert_same_step(first_step(run), plain_step(run.model, loss))

    @pytest.mark.parametrize("split", SPLITS)
    def test_numbers_of_pairs(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        numbers = [0.0, 4.5, 2.25, 1.0, 5.0, 3.8, 0.4, 2.0]
        rows = [
            {"sentence1": first, "sentence2": second, "score": number}
            for (first, second), number in zip(PAIRS, numbers, strict=True)
        ]
        run = run_on(tiny, tmp_path, rows, training=SPLITS[split])
        assert (run.model.config.num_labels, run.model.config.problem_type) == (1, "regression")
        loss = functional.mse_loss(logits_of(run, PAIRS).squeeze(-1), torch.tensor(numbers))
        assert_same_step(first_step(run), plain_step(run.model, loss))

    def test_the_loss_is_the_models_own(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [
            {"premise": first, "hypothesis": second, "label": number % 3}
            for number, (first, second) in enumerate(PAIRS)
        ]
        run = run_on(tiny, tmp_path, rows)
        inputs = run.objective.tokenizer(PAIRS, padding=True, return_tensors="pt")
        labels = torch.tensor([number % 3 for number in range(len(PAIRS))])
        assert_same_step(first_step(run), plain_step(run.model, run.model(**inputs, labels=labels).loss))


class TestLabels:
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ([3, 1, 2], ["1", "2", "3"]),
            (["10", "9", "9"], ["9", "10"]),
            ([True, False, True], ["false", "true"]),
            ([1.0, 2.0, 1.0], ["1", "2"]),
        ],
    )
    def test_order(self, tiny: Tiny, tmp_path: Path, given: list[Any], names: list[str]) -> None:
        rows = [{"text": text, "label": label} for text, label in zip(TEXTS, given, strict=False)]
        run = run_on(tiny, tmp_path, rows)
        assert list(run.model.config.id2label.values()) == names

    def test_named(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [{"text": text, "label": name} for text, name in zip(TEXTS, CLASSES, strict=True)]
        run = run_on(tiny, tmp_path, rows, data={"labels": ["bad", "good", "fair", "unseen"]})
        assert run.model.config.label2id == {"bad": 0, "good": 1, "fair": 2, "unseen": 3}


class TestLearning:
    def test_classes(self, tiny: Tiny, tmp_path: Path) -> None:
        words = {
            "good": ["funny", "warm", "delight"],
            "bad": ["cold", "tasteless", "worst"],
            "fair": ["city"],
        }
        rows = [
            {"text": f"This {noun} was {word}.", "label": name}
            for name, those in words.items()
            for word in those
            for noun in ("film", "meal", "order", "dog", "house", "photo")
        ]
        train = write_rows(tmp_path / "train.jsonl", rows)
        training = {"epochs": 25, "learning_rate": 3e-3, "batch_size": 8}
        config = config_for(TASK, tiny(TASK), tmp_path, train, data={"validation": 0.2}, training=training)
        run = finetune(config, device="cpu")
        assert run.figures["eval_accuracy"] >= 0.9

    def test_numbers(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [
            {"text": " ".join(["cold"] * count + ["warm"] * (8 - count)), "label": count / 4}
            for count in range(9)
        ]
        train = write_rows(tmp_path / "train.jsonl", rows * 4)
        training = {"epochs": 10, "learning_rate": 3e-3, "batch_size": 8}
        config = config_for(TASK, tiny(TASK), tmp_path, train, data={"validation": train}, training=training)
        run = finetune(config, device="cpu")
        assert run.figures["eval_pearsonr"] >= 0.9

    def test_several_labels(self, tiny: Tiny, tmp_path: Path) -> None:
        words = ("cold", "warm", "funny")
        choices = [[word for bit, word in enumerate(words) if number >> bit & 1] for number in range(8)]
        rows = [{"text": f"the film {' '.join(some)}", "label": some} for some in choices]
        train = write_rows(tmp_path / "train.jsonl", rows * 4)
        training = {"epochs": 15, "learning_rate": 3e-3, "batch_size": 8}
        config = config_for(TASK, tiny(TASK), tmp_path, train, data={"validation": train}, training=training)
        run = finetune(config, device="cpu")
        assert run.figures["eval_accuracy"] >= 0.9


class TestBadRows:
    GOOD = ({"text": "a", "label": "x"}, {"text": "b", "label": "y"})

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"text": "", "label": "x"}, "the text is empty"),
            ({"text": 3, "label": "x"}, "3 is no text"),
            ({"text": "a", "label": None}, "the label is missing"),
            ({"text": "a", "label": {"x": 1}}, "neither a name nor a number"),
        ],
    )
    def test_place(self, tiny: Tiny, tmp_path: Path, row: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError) as caught:
            run_on(tiny, tmp_path, [*self.GOOD, row])
        assert caught.value.message.startswith(f"{tmp_path / 'train.jsonl'}:3: ")
        assert message in caught.value.message

    def test_a_label_that_the_training_rows_lack(self, tiny: Tiny, tmp_path: Path) -> None:
        validation = write_rows(tmp_path / "dev.jsonl", [self.GOOD[0], {"text": "c", "label": "z"}])
        with pytest.raises(DataError, match=r"dev\.jsonl:2: the label 'z' is none of the training rows'"):
            run_on(tiny, tmp_path, list(self.GOOD), data={"validation": validation})

    def test_a_single_class(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="every training row has the label 'x'"):
            run_on(tiny, tmp_path, [self.GOOD[0]] * 3)

    def test_another_number_of_weights(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="3 weights for 2 classes: x, y"):
            run_on(tiny, tmp_path, list(self.GOOD), training={"class_weights": [1, 2, 3]})

    def test_too_long(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [*self.GOOD, {"text": "cold " * 40, "label": "x"}]
        with pytest.raises(DataError, match=r"train\.jsonl:3: 42 tokens, 20 are allowed"):
            run_on(tiny, tmp_path, rows, data={"max_length": 20, "truncate": False})
