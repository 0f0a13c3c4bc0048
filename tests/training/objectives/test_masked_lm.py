"""masked-lm: masks that follow from seed, epoch and row, losses as the model's own, packed as padded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from llmkit.errors import DataError, ModelError
from llmkit.training.objectives.batch import IGNORED, Draw
from llmkit.training.objectives.masking import masking_of
from llmkit.training.run import finetune
from llmkit.training.state import Run
from tests.fixtures.tiny import vocabulary
from tests.fixtures.tiny.checkpoint import SIZES, random_model, save
from tests.training.stepping import (
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "masked-lm"
MODEL = "fill-mask"
SEED = 42
Tiny = Callable[[str], Path]

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "Paris is the capital of France",
    "I was charged twice for my order and want a refund. The quick brown fox was cold.",
    "This film was a delight",
    "No",
    "How many people live in the city? What is the total of the invoice?",
    "cold and tasteless",
]
ROWS = [{"text": text} for text in TEXTS]
ALL_SPLITS = {
    **SPLITS,
    "packed": {"batching": "packed"},
    "packed one by one": {"batching": "packed", "micro_batch_size": 1},
}


def run_on(start: Path, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    return ready(config_for(TASK, start, folder, write_rows(folder / "train.jsonl", rows), **sections))


def expected_step(run: Run) -> tuple[float, dict[str, torch.Tensor]]:
    """The mean loss over all masked tokens, each text masked by its own number, as plain transformers."""
    tokenizer = run.objective.tokenizer
    masking = masking_of(tokenizer, 0.15, "", TASK)
    rows = [
        masking.apply(tokenizer(text)["input_ids"], Draw(SEED, 0, number).generator())
        for number, text in enumerate(TEXTS)
    ]
    encoded = tokenizer.pad({"input_ids": [seen for seen, _ in rows]}, return_tensors="pt")
    longest = encoded["input_ids"].shape[1]
    labels = torch.tensor([[*row, *[IGNORED] * (longest - len(row))] for _, row in rows])
    return plain_step(run.model, run.model(**encoded, labels=labels).loss)


@pytest.mark.parametrize("split", ALL_SPLITS)
def test_step(tiny: Tiny, tmp_path: Path, split: str) -> None:
    run = run_on(tiny(MODEL), tmp_path, ROWS, data={"max_length": 64}, training=ALL_SPLITS[split])
    assert_same_step(first_step(run), expected_step(run))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_step_of_roberta(tmp_path: Path, attention: str) -> None:
    """Its positions begin behind that of the padding token."""
    tokenizer = vocabulary.bart(100)
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer), max_position_embeddings=102, initializer_range=0.3, pad_token_id=1, **SIZES
    )
    start = save(tmp_path / "model", random_model(transformers.RobertaForMaskedLM, config), tokenizer)
    run = run_on(start, tmp_path, ROWS, data={"max_length": 100}, training={"batching": "packed"})
    run.model.set_attn_implementation(attention)
    assert len(run.data.train) < len(ROWS)
    assert_same_step(first_step(run), expected_step(run))


class TestMasking:
    @pytest.fixture
    def tokenizer(self) -> Any:
        return vocabulary.bert()

    def test_shares(self, tokenizer: Any) -> None:
        masking = masking_of(tokenizer, 0.15, "", TASK)
        ids = [
            tokenizer.cls_token_id,
            *[tokenizer.convert_tokens_to_ids("the")] * 10_000,
            tokenizer.sep_token_id,
        ]
        seen, labels = masking.apply(ids, Draw(1, 2, 3).generator())
        chosen = [index for index, label in enumerate(labels) if label != IGNORED]
        assert len(chosen) == 1500
        assert all(labels[index] == ids[index] for index in chosen)
        masked = sum(seen[index] == tokenizer.mask_token_id for index in chosen)
        kept = sum(seen[index] == ids[index] for index in chosen)
        assert masked == pytest.approx(1200, abs=60)
        assert kept == pytest.approx(150, abs=40)
        assert all(seen[index] == ids[index] for index in range(len(ids)) if labels[index] == IGNORED)
        assert not {seen[index] for index in chosen} & (
            set(tokenizer.all_special_ids) - {tokenizer.mask_token_id}
        )

    def test_special_tokens_are_spared(self, tokenizer: Any) -> None:
        masking = masking_of(tokenizer, 0.99, "", TASK)
        ids = tokenizer("the dog", "the fox")["input_ids"]
        _, labels = masking.apply(ids, Draw(1, 2, 3).generator())
        special = {index for index, token in enumerate(ids) if token in tokenizer.all_special_ids}
        assert {index for index, label in enumerate(labels) if label == IGNORED} == special

    def test_draws(self, tokenizer: Any) -> None:
        masking = masking_of(tokenizer, 0.3, "", TASK)
        ids = tokenizer(TEXTS[0])["input_ids"]
        first = masking.apply(ids, Draw(1, 0, 0).generator())
        assert first == masking.apply(ids, Draw(1, 0, 0).generator())
        others = [masking.apply(ids, Draw(*draw).generator()) for draw in ((2, 0, 0), (1, 1, 0), (1, 0, 1))]
        assert first not in others

    def test_one_token_at_least(self, tokenizer: Any) -> None:
        masking = masking_of(tokenizer, 0.01, "", TASK)
        _, labels = masking.apply(tokenizer("no")["input_ids"], Draw(1, 0, 0).generator())
        assert sum(label != IGNORED for label in labels) == 1

    def test_no_mask_token(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="has no mask token"):
            run_on(tiny("text-generation"), tmp_path, ROWS, model={"config": {}})


class TestRows:
    def test_long_texts_are_cut_and_not_thrown_away(self, tiny: Tiny, tmp_path: Path) -> None:
        text = " ".join(["cold", "warm", "dog"] * 15)
        run = run_on(tiny(MODEL), tmp_path, [{"text": text}], data={"max_length": 20})
        rows = [example["input_ids"] for example in run.data.train.take(range(len(run.data.train)))]
        assert [len(row) for row in rows] == [20, 20, 11]
        tokenizer = run.objective.tokenizer
        assert all(row[0] == tokenizer.cls_token_id and row[-1] == tokenizer.sep_token_id for row in rows)
        assert tokenizer.decode([token for row in rows for token in row[1:-1]]) == text

    def test_empty_lines_are_left_out(self, tiny: Tiny, tmp_path: Path) -> None:
        file = tmp_path / "train.txt"
        file.write_text("the dog\n\n   \nthe fox\n")
        run = ready(config_for(TASK, tiny(MODEL), tmp_path, str(file)))
        assert [run.data.train.place(number) for number in range(2)] == [f"{file}:1", f"{file}:4"]

    def test_packed_rows_are_full(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [{"text": "dog " * (1 + number % 30)} for number in range(300)]
        training = {"batching": "packed"}
        run = run_on(tiny(MODEL), tmp_path, rows, data={"max_length": 64}, training=training)
        lengths = run.data.train.lengths
        assert sum(lengths) == sum(3 + number % 30 for number in range(300))
        assert sum(lengths) / (64 * len(lengths)) > 0.98
        numbers = [each for row in run.data.train.take(range(len(lengths))) for each in row["samples"]]
        assert sorted(numbers) == list(range(300))

    @pytest.mark.parametrize(
        ("row", "message"),
        [({"text": 3}, "3 is no text"), ({"text": "dog " * 30}, "32 tokens, 20 are allowed")],
    )
    def test_a_bad_row(self, tiny: Tiny, tmp_path: Path, row: dict[str, Any], message: str) -> None:
        rows = [*ROWS[3:5], row]
        with pytest.raises(DataError, match=rf"train\.jsonl:3: {message}"):
            run_on(tiny(MODEL), tmp_path, rows, data={"max_length": 20, "truncate": False})

    def test_nothing_but_empty_rows(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="no rows to learn from"):
            run_on(tiny(MODEL), tmp_path, [{"text": " "}])


@pytest.mark.parametrize("batching", ["sorted", "packed"])
def test_learning(tiny: Tiny, tmp_path: Path, batching: str) -> None:
    texts = ["the quick brown fox jumps over the lazy dog", "paris is the capital of france"]
    train = write_rows(tmp_path / "train.jsonl", [{"text": text} for text in texts * 12])
    training = {"epochs": 40, "learning_rate": 1e-2, "batch_size": 8, "batching": batching}
    config = config_for(
        TASK,
        tiny(MODEL),
        tmp_path,
        train,
        data={"validation": train, "max_length": 32},
        training={**training, "eval_steps": 10_000},
    )
    run = finetune(config, device="cpu")
    assert run.figures["eval_accuracy"] >= 0.8  # untrained: one of 400
    assert run.figures["eval_perplexity"] <= 3
    assert run.figures["eval_perplexity"] == pytest.approx(
        torch.tensor(run.figures["eval_loss"]).exp().item(), rel=1e-3
    )
