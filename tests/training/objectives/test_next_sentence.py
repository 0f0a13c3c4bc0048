"""next-sentence: pairs from documents, half of them broken; the sum of both losses, however the step is split."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llmkit.errors import DataError, ModelError, UsageError
from llmkit.training.objectives.batch import IGNORED, Draw
from llmkit.training.objectives.next_sentence import FOLLOWS, RANDOM
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
)

TASK = "next-sentence"
MODEL = "fill-mask"
SEED = 42
Tiny = Callable[[str], Path]

DOCUMENTS = [
    ["the quick brown fox", "jumps over the lazy dog", "the dog was cold", "how many people"],
    ["paris is the capital of france", "rome is the capital of italy", "the city"],
    ["this film was a delight", "funny and warm"],
    [
        "i want a refund",
        "for my order",
        "what is the total of the invoice",
        "it was charged twice",
        "yes or no",
    ],
    ["politics"],
]


def write_documents(path: Path, documents: list[list[str]]) -> str:
    path.write_text("\n\n".join("\n".join(document) for document in documents) + "\n", encoding="utf-8")
    return str(path)


def run_on(start: Path, folder: Path, documents: list[list[str]], **sections: Any) -> Run:
    return ready(
        config_for(TASK, start, folder, write_documents(folder / "train.txt", documents), **sections)
    )


@pytest.mark.parametrize("split", SPLITS)
def test_step(tiny: Tiny, tmp_path: Path, split: str) -> None:
    """As BertForPreTraining has it: the mean over the masked tokens and the mean over the pairs, added up."""
    run = run_on(tiny(MODEL), tmp_path, DOCUMENTS * 2, data={"max_length": 24}, training=SPLITS[split])
    numbers = list(range(len(run.data.train)))
    examples = run.data.train.take(numbers)
    batch = run.objective.collate(examples, [Draw(SEED, 0, number) for number in numbers])
    kinds, labels = batch.labels[:, 0], batch.labels[:, 1:]
    assert set(kinds.tolist()) == {FOLLOWS, RANDOM}
    outputs = run.model(**batch.inputs)
    loss = functional.cross_entropy(
        outputs.prediction_logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED
    )
    loss = loss + functional.cross_entropy(outputs.seq_relationship_logits, kinds)
    own = run.model(**batch.inputs, labels=labels.contiguous(), next_sentence_label=kinds.contiguous()).loss
    assert float(loss.detach()) == pytest.approx(float(own.detach()), rel=1e-5)
    assert_same_step(first_step(run), plain_step(run.model, loss))


class TestPairs:
    @pytest.fixture
    def run(self, tiny: Tiny, tmp_path: Path) -> Run:
        return run_on(tiny(MODEL), tmp_path, DOCUMENTS, data={"max_length": 24}, training={"masking": 0.01})

    def drawn(self, run: Run, epoch: int) -> list[tuple[str, str, int]]:
        """The two texts of each pair, and its class."""
        tokenizer = run.objective.tokenizer
        found = []
        for number in range(len(run.data.train)):
            batch = run.objective.collate(run.data.train.take([number]), [Draw(SEED, epoch, number)])
            ids, types = batch.inputs["input_ids"][0], batch.inputs["token_type_ids"][0]
            labels = batch.labels[0, 1:]
            ids = torch.where(labels == IGNORED, ids, labels)
            assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id
            assert int((ids == tokenizer.sep_token_id).sum()) == 2
            texts = [tokenizer.decode(ids[types == kind], skip_special_tokens=True) for kind in (0, 1)]
            found.append((*texts, int(batch.labels[0, 0])))
        return found

    def test_what_follows_and_what_does_not(self, run: Run) -> None:
        texts = [" ".join(document) for document in DOCUMENTS]
        kinds = []
        for epoch in range(30):
            for first, second, kind in self.drawn(run, epoch):
                home = next(text for text in texts if first in text)
                assert (f"{first} {second}" in home) == (kind == FOLLOWS)
                if kind == RANDOM:
                    assert any(second in text for text in texts if text != home)
                kinds.append(kind)
        assert sum(kinds) / len(kinds) == pytest.approx(0.5, abs=0.12)

    def test_draws(self, run: Run) -> None:
        assert self.drawn(run, 0) == self.drawn(run, 0)
        assert self.drawn(run, 0) != self.drawn(run, 1)

    def test_lengths(self, run: Run) -> None:
        numbers = range(len(run.data.train))
        for epoch in range(10):
            for number in numbers:
                batch = run.objective.collate(run.data.train.take([number]), [Draw(SEED, epoch, number)])
                assert batch.tokens <= run.data.train.lengths[number] <= 24

    def test_every_sentence_is_used(self, run: Run) -> None:
        tokenizer = run.objective.tokenizer
        seen = " ".join(
            tokenizer.decode(example["input_ids"])
            for example in run.data.train.take(range(len(run.data.train)))
        )
        for document in DOCUMENTS:
            if len(document) > 1:
                assert all(sentence in seen for sentence in document)

    def test_places(self, run: Run, tmp_path: Path) -> None:
        lines = {
            run.data.train.place(number).removeprefix(f"{tmp_path}/") for number in range(len(run.data.train))
        }
        assert lines == {"train.txt:1", "train.txt:6", "train.txt:10", "train.txt:13"}


def test_a_share_for_validation_is_of_whole_documents(tiny: Tiny, tmp_path: Path) -> None:
    run = run_on(tiny(MODEL), tmp_path, DOCUMENTS, data={"validation": 0.3, "max_length": 24})
    assert run.data.validation is not None
    parts = [
        {each.place(number) for number in range(len(each))} for each in (run.data.train, run.data.validation)
    ]
    assert parts[0] and parts[1] and not parts[0] & parts[1]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([["the dog", "the fox"]], r"train\.txt:1: there is a single document"),
        ([["the dog"], ["the fox"]], r"no document has two sentences"),
        (
            [["the dog", "the fox"], ["cold " * 12, "warm"]],
            r"train\.txt:4: 12 tokens, 10 are allowed for each",
        ),
    ],
)
def test_bad_documents(tiny: Tiny, tmp_path: Path, documents: list[list[str]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        run_on(tiny(MODEL), tmp_path, documents, data={"max_length": 24, "truncate": False})


def test_a_model_without_the_second_head(tmp_path: Path) -> None:
    import transformers

    tokenizer = vocabulary.bart(100)
    config = transformers.RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=102, **SIZES)
    start = save(tmp_path / "model", random_model(transformers.RobertaForMaskedLM, config), tokenizer)
    run = run_on(start, tmp_path, DOCUMENTS)
    with pytest.raises(ModelError, match="no head that tells whether one text follows another"):
        first_step(run)


def test_packed(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batching: packed"):
        run_on(tiny(MODEL), tmp_path, DOCUMENTS, training={"batching": "packed"})


def test_learning(tiny: Tiny, tmp_path: Path) -> None:
    """Documents of one word each: a text follows another if it is of the same word."""
    words = ["dog", "fox", "film", "meal"]
    documents = [[f"{word} {word}", f"{word} {word} {word}"] for word in words * 12]
    train = write_documents(tmp_path / "train.txt", documents)
    training = {"epochs": 30, "learning_rate": 5e-3, "batch_size": 16, "eval_steps": 1000}
    config = config_for(
        TASK, tiny(MODEL), tmp_path, train, data={"validation": train, "max_length": 16}, training=training
    )
    run = finetune(config, device="cpu")
    # One of four random texts is of the same word, so that nothing can find more than seven of eight.
    assert run.figures["eval_accuracy"] >= 0.75  # untrained: 0.5
    assert run.figures["eval_perplexity"] <= 10  # untrained: some 400
