"""token-classification: labels stand at the first token of their word, losses are PyTorch's, entities are learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llmkit.errors import DataError
from llmkit.training.evaluation import Judged
from llmkit.training.objectives.batch import IGNORED
from llmkit.training.objectives.token_classification import TokenClassification
from llmkit.training.run import finetune
from llmkit.training.state import Run
from tests.fixtures.tiny import vocabulary
from tests.training.stepping import (
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "token-classification"
Tiny = Callable[[str], Path]

SENTENCES = [
    (["Angela", "Merkel", "lives", "in", "Berlin"], ["B-PER", "I-PER", "O", "O", "B-LOC"]),
    (["tasteless", "dogs"], ["O", "O"]),
    (["New", "York", ",", "Rome", "unbelievable", "foxes"], ["B-LOC", "I-LOC", "O", "B-LOC", "O", "O"]),
    (["John"], ["B-PER"]),
    (["The", "capital", "of", "France", "is", "Paris", "."], ["O", "O", "O", "B-LOC", "O", "B-LOC", "O"]),
]
ROWS = [{"words": words, "tags": tags} for words, tags in SENTENCES]
NAMES = ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"]


def run_on(tiny: Tiny, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    return ready(config_for(TASK, tiny(TASK), folder, write_rows(folder / "train.jsonl", rows), **sections))


def objective_for(tokenizer: Any, folder: Path, **data: Any) -> TokenClassification:
    objective = TokenClassification(config_for(TASK, folder, folder, "train.conll", data=data), tokenizer)
    objective.study(ROWS)
    return objective


def plain_inputs(tokenizer: Any) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Inputs and labels (sentences, tokens), aligned the way transformers' own example does it."""
    encoded = tokenizer(
        [words for words, _ in SENTENCES], is_split_into_words=True, padding=True, return_tensors="pt"
    )
    labels = torch.full(encoded["input_ids"].shape, IGNORED)
    for row, (_, tags) in enumerate(SENTENCES):
        before = None
        for position, word in enumerate(encoded.word_ids(row)):
            if word is not None and word != before:
                labels[row, position] = NAMES.index(tags[word])
            before = word
    return encoded, labels


class TestStep:
    @pytest.mark.parametrize("split", SPLITS)
    def test_tags(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        run = run_on(tiny, tmp_path, ROWS, training=SPLITS[split])
        assert list(run.model.config.id2label.values()) == NAMES
        inputs, labels = plain_inputs(run.objective.tokenizer)
        logits = run.model(**inputs).logits
        loss = functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED)
        assert_same_step(first_step(run), plain_step(run.model, loss))

    @pytest.mark.parametrize("split", ["whole", "sorted"])
    def test_weights_and_smoothing(self, tiny: Tiny, tmp_path: Path, split: str) -> None:
        weights = [0.2, 1.0, 2.0, 3.0, 4.0]
        training = {**SPLITS[split], "class_weights": weights, "label_smoothing": 0.2}
        run = run_on(tiny, tmp_path, ROWS, training=training)
        inputs, labels = plain_inputs(run.objective.tokenizer)
        loss = functional.cross_entropy(
            run.model(**inputs).logits.transpose(1, 2),
            labels,
            weight=torch.tensor(weights),
            ignore_index=IGNORED,
            label_smoothing=0.2,
        )
        assert_same_step(first_step(run), plain_step(run.model, loss))


class TestAlignment:
    @pytest.mark.parametrize("name", ["bert", "bart", "gpt", "t5", "chat"])
    def test_first_tokens(self, tmp_path: Path, name: str) -> None:
        tokenizer = getattr(vocabulary, name)()
        objective = objective_for(tokenizer, tmp_path)
        for words, tags in SENTENCES:
            example = objective.encode({"words": words, "tags": tags})[0]
            assert [objective.labels[example["labels"][at]] for at in example["at"]] == tags
            assert sum(label != IGNORED for label in example["labels"]) == len(words)
            for word, begin, end in zip(words, example["at"], [*example["at"][1:], None], strict=True):
                text = "".join(
                    tokenizer.decode(example["input_ids"][begin:end], skip_special_tokens=True).split()
                )
                assert text.lower() == word.lower()

    def test_a_word_without_a_token(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path)
        example = objective.encode({"words": ["John", "\u200b", "York"], "tags": ["B-PER", "O", "B-LOC"]})[0]
        assert example["at"] == [1, -1, example["labels"].index(1)]

    def test_cut(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path, max_length=5)
        words, tags = SENTENCES[4]
        example = objective.encode({"words": words, "tags": tags})[0]
        assert len(example["input_ids"]) == len(example["labels"]) == 5
        assert example["at"] == [1, 2, 3, -1, -1, -1, -1]
        assert len(example["tags"]) == len(words)

    def test_numbers_are_places_in_the_named_labels(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path, labels=NAMES)
        example = objective.encode({"tags": [2, 0], "words": ["John", "lives"]})[0]
        assert example["tags"] == [2, 0]

    def test_json_in_a_cell(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path)
        one = {"words": SENTENCES[0][0], "tags": SENTENCES[0][1]}
        assert objective.encode({name: json.dumps(value) for name, value in one.items()}) == objective.encode(
            one
        )


class TestJudging:
    def test_every_word_counts(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path, ROWS, data={"max_length": 6})
        batch = run.objective.collate(run.data.train.take(range(5)), [])
        _, predictions, references = run.objective.judge(run.model.eval(), batch)
        assert references == [tags for _, tags in SENTENCES]
        assert [len(tags) for tags in predictions] == [len(tags) for tags in references]
        assert predictions[4][-1] == "O"

    def test_words_for_other_metrics(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path)
        judged = Judged(0.0, [["O", "B-PER"], ["O"]], [["O", "O"], ["O"]])
        assert objective.for_metric("tags", judged) == judged
        assert objective.for_metric("classes", judged).predictions == ["O", "B-PER", "O"]

    def test_parts_of_speech_are_no_entities(self, tmp_path: Path) -> None:
        objective = objective_for(vocabulary.bert(), tmp_path)
        assert objective.metrics_for() == ("seqeval",)
        objective.study([{"words": ["a", "dog"], "tags": ["DET", "NOUN"]}])
        assert objective.metrics_for() == ("accuracy",)


def test_learning(tiny: Tiny, tmp_path: Path) -> None:
    tags = {
        "John": "B-PER",
        "Smith": "I-PER",
        "Angela": "B-PER",
        "Merkel": "I-PER",
        "New": "B-LOC",
        "York": "I-LOC",
    }
    tags |= dict.fromkeys(("Berlin", "Rome", "Paris"), "B-LOC")
    lines = []
    for person in ("John Smith", "Angela Merkel", "people"):
        for verb in ("lives in", "was in", "and the city of"):
            for place in ("Berlin", "New York", "Rome", "Paris"):
                lines += [f"{word}\t{tags.get(word, 'O')}" for word in f"{person} {verb} {place}".split()] + [
                    ""
                ]
    train = tmp_path / "train.conll"
    train.write_text("\n".join(lines), encoding="utf-8")
    training = {"epochs": 24, "learning_rate": 3e-3, "batch_size": 6}
    config = config_for(TASK, tiny(TASK), tmp_path, str(train), data={"validation": 0.25}, training=training)
    run = finetune(config, device="cpu")
    assert run.figures["eval_overall_f1"] >= 0.75
    assert set(run.figures) >= {"eval_loss", "eval_overall_precision", "eval_overall_recall"}


class TestBadRows:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"words": ["a", "b"], "tags": ["O"]}, "2 words and 1 tags"),
            ({"words": [], "tags": []}, "there are no words"),
            ({"words": "a b", "tags": ["O", "O"]}, "words is no list: 'a b'"),
            ({"words": ["a", 3], "tags": ["O", "O"]}, "the word 3 is no text"),
            ({"words": ["a"], "tags": [None]}, "the tag None is no text"),
            ({"words": ["\u200b"], "tags": ["O"]}, "none of the words has a token that the model knows"),
        ],
    )
    def test_place(self, tiny: Tiny, tmp_path: Path, row: dict[str, Any], message: str) -> None:
        with pytest.raises(DataError) as caught:
            run_on(tiny, tmp_path, [*ROWS, row])
        assert caught.value.message == f"{tmp_path / 'train.jsonl'}:6: {message}."

    def test_a_line_too_short(self, tiny: Tiny, tmp_path: Path) -> None:
        file = tmp_path / "train.conll"
        file.write_text("John\tB-PER\nlives\n", encoding="utf-8")
        with pytest.raises(
            DataError, match=r"train\.conll:2: a word and its tag are expected, and the line is 'lives'"
        ):
            ready(config_for(TASK, tiny(TASK), tmp_path, str(file)))

    def test_a_tag_that_the_training_rows_lack(self, tiny: Tiny, tmp_path: Path) -> None:
        dev = tmp_path / "dev.conll"
        dev.write_text("John\tB-PER\n\nRome\tB-LOK\n", encoding="utf-8")
        with pytest.raises(DataError) as caught:
            run_on(tiny, tmp_path, ROWS, data={"validation": str(dev)})
        assert caught.value.message.startswith(f"{dev}:3: the tag 'B-LOK' of the word 'Rome' is none of")
        assert caught.value.hint == "did you mean B-LOC?"

    def test_one_tag(self, tiny: Tiny, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="every word of the training rows has the tag 'O'"):
            run_on(tiny, tmp_path, [ROWS[1]])
