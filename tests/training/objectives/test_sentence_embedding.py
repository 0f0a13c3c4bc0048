"""sentence-embedding: negatives of the whole step however it is split, scored pairs, what others read of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from llmkit.errors import DataError, ModelError
from llmkit.training.checking import check_run
from llmkit.training.objectives.similarity import choices, cosent_loss, ranks
from llmkit.training.run import figures_of, finetune
from llmkit.training.state import Listener, Run
from tests.training.objectives.test_resumed_masks import StopAt
from tests.training.stepping import (
    NO_DROPOUT,
    SPLITS,
    assert_same_step,
    config_for,
    first_step,
    plain_step,
    ready,
    write_rows,
)

TASK = "sentence-embedding"
MODEL = "feature-extraction"
Tiny = Callable[[str], Path]
WITH_DROPOUT = {"config": {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}}

TEXTS = [
    ("The quick brown fox", "jumps over the lazy dog", "I want a refund"),
    ("I was charged twice for my order.", "charged for an order", "A cat"),
    ("Paris is the capital of France, and Rome is the capital of Italy.", "Rome", "how are you today"),
    ("That was the worst meal I have had in years.", "cold and tasteless", "a delight: funny, warm"),
    ("Yes", "No", "the total of the invoice"),
    ("How many people live in the city?", "people in the city", "a dog barking"),
    ("science, economics or music", "sports", "politics"),
]
SCORES = [3.5, 5.0, 0.0, 4.0, 0.0, 2.25, 5.0]
KINDS = {
    "pairs": [{"anchor": one, "positive": two} for one, two, _ in TEXTS],
    "triplets": [{"query": one, "pos": two, "neg": three} for one, two, three in TEXTS],
    "scored pairs": [
        {"sentence1": one, "sentence2": two, "score": score}
        for (one, two, _), score in zip(TEXTS, SCORES, strict=True)
    ],
}


def run_on(tiny: Tiny, folder: Path, rows: list[dict[str, Any]], **sections: Any) -> Run:
    folder.mkdir(exist_ok=True)
    return ready(config_for(TASK, tiny(MODEL), folder, write_rows(folder / "train.jsonl", rows), **sections))


def embedded(run: Run, texts: Sequence[str]) -> torch.Tensor:
    """The mean of the token vectors of each text, which goes through the model alone, scaled to length 1."""
    vectors = [
        run.model(**run.objective.tokenizer(text, return_tensors="pt"))[0][0].mean(0) for text in texts
    ]
    return functional.normalize(torch.stack(vectors), dim=-1)


def expected_loss(run: Run, kind: str) -> torch.Tensor:
    first, second, third = (embedded(run, column) for column in zip(*TEXTS, strict=True))
    if kind == "scored pairs":  # CoSENT, pair by pair
        cosines = (first * second).sum(-1)
        terms = [
            torch.exp(20 * (cosines[low] - cosines[high]))
            for low, least in enumerate(SCORES)
            for high, most in enumerate(SCORES)
            if most > least
        ]
        return torch.log(1 + torch.stack(terms).sum())
    candidates = second if kind == "pairs" else torch.cat([second, third])
    return functional.cross_entropy(20 * first @ candidates.T, torch.arange(len(TEXTS)))


class TestStep:
    @pytest.mark.parametrize("split", SPLITS)
    @pytest.mark.parametrize("kind", KINDS)
    def test_equals_plain_pytorch(self, tiny: Tiny, tmp_path: Path, kind: str, split: str) -> None:
        run = run_on(tiny, tmp_path, KINDS[kind], training=SPLITS[split])
        assert (len(run.loop.steps.at(0).micro_batches) == 1) == (split == "whole")
        assert run.objective.facts()["kind"] == kind
        assert_same_step(first_step(run), plain_step(run.model, expected_loss(run, kind)))

    def test_dropout_is_the_same_in_both_passes(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path, KINDS["pairs"], training={"micro_batch_size": 2}, model=WITH_DROPOUT)
        torch.manual_seed(7)
        found = first_step(run)
        after = torch.get_rng_state()
        torch.manual_seed(7)
        run.model.train()
        batches = [run.loop.batch(rows, 0) for rows in run.loop.steps.at(0).micro_batches]
        vectors = torch.cat([run.objective.represent(run.model, batch) for batch in batches])
        loss = run.objective.step_loss(vectors, torch.cat([batch.labels for batch in batches]))
        assert_same_step(found, plain_step(run.model, loss))
        assert torch.equal(after, torch.get_rng_state())

    def test_temperature_and_pooling(self, tiny: Tiny, tmp_path: Path) -> None:
        training = {"temperature": 0.2, "pooling": "cls", "micro_batch_size": 3}
        run = run_on(tiny, tmp_path, KINDS["pairs"], training=training)
        vectors = [
            torch.stack(
                [run.model(**run.objective.tokenizer(text, return_tensors="pt"))[0][0, 0] for text in column]
            )
            for column in list(zip(*TEXTS, strict=True))[:2]
        ]
        first, second = (functional.normalize(each, dim=-1) for each in vectors)
        loss = functional.cross_entropy(first @ second.T / 0.2, torch.arange(len(TEXTS)))
        assert_same_step(first_step(run), plain_step(run.model, loss))

    def test_rows_with_several_negatives_and_none(self, tiny: Tiny, tmp_path: Path) -> None:
        rows = [
            {"anchor": "Paris", "positive": "France", "negative": ["Rome", "a dog"]},
            {"anchor": "A cat", "positive": "a dog barking", "negative": []},
            {"anchor": "Yes", "positive": "sports", "negative": '["No"]'},
        ]
        run = run_on(tiny, tmp_path, rows, training={"micro_batch_size": 1})
        first = embedded(run, ["Paris", "A cat", "Yes"])
        others = embedded(run, ["France", "a dog barking", "sports", "Rome", "a dog", "No"])
        loss = functional.cross_entropy(20 * first @ others.T, torch.arange(3))
        assert_same_step(first_step(run), plain_step(run.model, loss))

    def test_numbered_negative_columns(self, tiny: Tiny, tmp_path: Path) -> None:
        row = {
            "anchor": "Paris",
            "positive": "France",
            "negative_2": "No",
            "negative_1": "Rome",
            "negative_3": "",
        }
        run = run_on(tiny, tmp_path, [row])
        texts = ["Paris", "France", "Rome", "No"]
        assert run.data.train.take([0])[0]["input_ids"] == [
            run.objective.tokenizer(each).input_ids for each in texts
        ]


def test_false_negatives_are_left_out(tiny: Tiny, tmp_path: Path) -> None:
    pairs = [
        ("Paris", "France"),
        ("Paris", "the city"),
        ("Rome", "France"),
        ("France", "Rome"),
        ("Yes", "No"),
    ]
    run = run_on(tiny, tmp_path, [{"anchor": one, "positive": two} for one, two in pairs])
    first, second = (embedded(run, column) for column in zip(*pairs, strict=True))
    # An equal positive, the positive of an equal anchor, and the anchor itself.
    left_out = [(0, 2), (0, 1), (1, 0), (2, 0), (2, 3), (3, 0), (3, 2)]
    scores = 20 * first @ second.T
    for row, column in left_out:
        scores[row, column] = -torch.inf
    loss = functional.cross_entropy(scores, torch.arange(len(pairs)))
    assert_same_step(first_step(run), plain_step(run.model, loss))


def test_choices_in_parts_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(60, 8, generator=generator)
    labels = torch.tensor([(row, role, (row * 3 + role) % 50) for row in range(20) for role in range(3)])
    whole = ranks(vectors, labels)
    monkeypatch.setattr("llmkit.training.objectives.similarity._ANCHORS_AT_ONCE", 7)
    assert len(list(choices(vectors, labels))) == 3
    assert ranks(vectors, labels) == whole


def test_scores_may_be_on_any_scale() -> None:
    first, second = torch.randn(2, 9, 4, generator=torch.Generator().manual_seed(0))
    scores = torch.tensor([0, 1, 1, 5, 2, 2, 2, 4, 0.5])
    one, other = (cosent_loss(first, second, each, 0.05) for each in (scores, scores * 20 - 7))
    torch.testing.assert_close(one, other)


class TestJudging:
    def test_pairs(self, tiny: Tiny, tmp_path: Path) -> None:
        run = run_on(tiny, tmp_path, KINDS["triplets"])
        figures = figures_of(run, run.data.train, "eval")
        run.model.eval()
        with torch.no_grad():
            first, second, third = (embedded(run, column) for column in zip(*TEXTS, strict=True))
            loss = float(expected_loss(run, "triplets"))
        cosines = first @ torch.cat([second, third]).T
        places = [int((row > row[number]).sum()) + 1 for number, row in enumerate(cosines)]
        right = [bool(row[number] > row[number + len(TEXTS)]) for number, row in enumerate(cosines)]
        assert figures == pytest.approx(
            {
                "eval_loss": loss,
                "eval_mrr": sum(1 / place for place in places) / len(places),
                "eval_recall_at_1": sum(place == 1 for place in places) / len(places),
                "eval_recall_at_10": sum(place <= 10 for place in places) / len(places),
                "eval_accuracy": sum(right) / len(right),
            },
            rel=1e-4,
        )

    def test_scored_pairs(self, tiny: Tiny, tmp_path: Path) -> None:
        from scipy.stats import pearsonr, spearmanr

        run = run_on(tiny, tmp_path, KINDS["scored pairs"])
        figures = figures_of(run, run.data.train, "eval")
        run.model.eval()
        with torch.no_grad():
            first, second, _ = (embedded(run, column) for column in zip(*TEXTS, strict=True))
            loss = float(expected_loss(run, "scored pairs"))
        cosines = (first * second).sum(-1).tolist()
        expected = {
            "eval_loss": loss,
            "eval_spearmanr": spearmanr(cosines, SCORES).statistic,
            "eval_pearsonr": pearsonr(cosines, SCORES).statistic,
        }
        assert figures == pytest.approx(expected, rel=1e-4)


NOUNS = ["film", "meal", "dog", "photo", "house", "order", "city", "cat", "fox", "total", "letter", "garden"]
BEGINS = ["How many", "What is the", "I want the", "Is it a", "Yes the", "Rome or"]
ENDS = [("the", "is 10"), ("this is a", "in the city"), ("a", "with no invoice"), ("my", "is cold")]


def learned(tiny: Tiny, folder: Path) -> Run:
    """A run on questions and answers about things; it is judged on other combinations of them."""
    combined = [
        (
            number + place,
            {"query": f"{begin} {noun}?", "passage": f"{ENDS[place][0]} {noun} {ENDS[place][1]}"},
        )
        for number, noun in enumerate(NOUNS)
        for begin in BEGINS
        for place in range(len(ENDS))
    ]
    training = [row for number, (kind, row) in enumerate(combined) if (kind + number // 4) % 2 == 0]
    validation = [
        combined[24 * number + number % 4 + 4 * (1 - number // 4 % 2)][1] for number in range(len(NOUNS))
    ]
    config = config_for(
        TASK,
        Path("bert-tiny"),
        folder,
        write_rows(folder / "train.jsonl", [row for row in training if row not in validation]),
        model={
            "from_scratch": True,
            "config": {
                **NO_DROPOUT,
                "hidden_size": 64,
                "intermediate_size": 128,
                "max_position_embeddings": 32,
            },
        },
        tokenizer={"train": "wordpiece", "vocab_size": 300, "lowercase": True},
        data={"validation": write_rows(folder / "validation.jsonl", validation), "max_length": 24},
        training={"epochs": 10, "learning_rate": 3e-3, "batch_size": 24, "temperature": 0.1},
    )
    before = ready(config)
    assert figures_of(before, before.data.validation, "eval")["eval_recall_at_1"] <= 0.6
    return finetune(config, device="cpu")


def test_learning_and_what_is_read_of_it(tiny: Tiny, llmkit: Any, tmp_path: Path) -> None:
    run = learned(tiny, tmp_path)
    assert run.figures["eval_recall_at_1"] >= 0.9
    sentences = ["this is a dog in the city", "this is a cat in the city"]
    call = ("pipeline", "sentence-similarity", "How many cat?", *sentences, "--model", run.output)
    found = llmkit(*call, "--format", "jsonl")
    assert found.code == 0, found.stderr
    scores = found.json
    assert scores[1] > scores[0]
    run.model.eval()
    with torch.no_grad():
        one, *others = embedded(run, ["How many cat?", *sentences])
    assert scores == pytest.approx([float(one @ each) for each in others], abs=1e-4)
    assert llmkit("pipeline", "feature-extraction", "Yes", "--model", run.output).code == 0


def test_stopped_and_resumed(tiny: Tiny, tmp_path: Path) -> None:
    """The same bytes, with dropout and steps that are split."""
    weights = {}
    train = write_rows(tmp_path / "train.jsonl", KINDS["pairs"] * 3)
    for name in ("whole", "stopped"):
        training = {"epochs": 3, "batch_size": 6, "micro_batch_size": 2, "learning_rate": 1e-3}
        config = config_for(TASK, tiny(MODEL), tmp_path / name, train, model=WITH_DROPOUT, training=training)
        if name == "stopped":
            assert finetune(config, device="cpu", listener=StopAt(5)).stopped == "SIGTERM"
        run = finetune(config, device="cpu", resume=name == "stopped")
        weights[name] = (run.output / "model.safetensors").read_bytes()
    assert weights["stopped"] == weights["whole"]


@pytest.mark.parametrize("kind", KINDS)
def test_check_shows_each_text(tiny: Tiny, tmp_path: Path, kind: str) -> None:
    train = write_rows(tmp_path / "train.jsonl", KINDS[kind])
    config = config_for(TASK, tiny(MODEL), tmp_path, train, data={"validation": train})
    found = check_run(config, device="cpu", listener=Listener())
    assert [len(each["tokens"]) for each in found["examples"]] == [3 if kind == "triplets" else 2] * 2
    assert found["examples"][0]["label"] == (SCORES[0] if kind == "scored pairs" else None)
    assert found["in_train_and_validation"] == len(TEXTS)


class TestSentenceTransformers:
    @pytest.mark.parametrize(
        "pooling", ["mean", "cls", "max", "mean-sqrt-length", "weighted-mean", "last-token"]
    )
    def test_reads_the_same_vectors(self, tiny: Tiny, tmp_path: Path, pooling: str) -> None:
        sentence_transformers = pytest.importorskip("sentence_transformers")
        train = write_rows(tmp_path / "train.jsonl", KINDS["pairs"])
        training = {"max_steps": 1, "pooling": pooling}
        config = config_for(TASK, tiny(MODEL), tmp_path, train, data={"max_length": 12}, training=training)
        run = finetune(config, device="cpu")
        model = sentence_transformers.SentenceTransformer(str(run.output), device="cpu")
        assert model.max_seq_length == 12
        assert model.similarity_fn_name == "cosine"
        texts = [text for row in TEXTS for text in row]
        run.model.eval()
        with torch.no_grad():
            examples = [run.objective.encode({"anchor": text, "positive": "Yes"})[0] for text in texts]
            batch = run.objective.collate(examples, [_Numbered(number) for number in range(len(texts))])
            vectors = run.objective.represent(run.model, batch)[0::2]
        torch.testing.assert_close(torch.from_numpy(model.encode(texts)), vectors, atol=1e-5, rtol=1e-4)

    def test_files(self, tiny: Tiny, tmp_path: Path) -> None:
        train = write_rows(tmp_path / "train.jsonl", KINDS["pairs"])
        run = finetune(config_for(TASK, "minilm", tmp_path, train, training={"max_steps": 1}), device="cpu")
        modules = json.loads((run.output / "modules.json").read_text())
        assert [(each["path"], each["type"].rpartition(".")[2]) for each in modules] == [
            ("", "Transformer"),
            ("1_Pooling", "Pooling"),
            ("2_Normalize", "Normalize"),  # minilm has one
        ]
        pooling = json.loads((run.output / "1_Pooling" / "config.json").read_text())
        assert pooling["word_embedding_dimension"] == 384
        assert [name for name, value in pooling.items() if value is True] == ["pooling_mode_mean_tokens"]
        assert json.loads((run.output / "sentence_bert_config.json").read_text())["max_seq_length"] == 256


class _Numbered:
    def __init__(self, index: int) -> None:
        self.index = index


def test_the_kind_is_said(tiny: Tiny, tmp_path: Path) -> None:
    run = run_on(tiny, tmp_path, KINDS["triplets"], data={"columns": {"anchor": "query", "positive": "pos"}})
    assert run.objective.facts()["kind"] == "pairs"  # what the config names is meant
    assert run.objective.notes()[0].startswith("the rows are pairs")


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("pairs", {"positive": ""}, "the positive is empty"),
        ("pairs", {"anchor": None}, "the anchor is empty"),
        ("pairs", {"anchor": 7}, "the anchor is no text: 7"),
        ("triplets", {"neg": ["No", 5]}, "the negative is no text: 5"),
        ("triplets", {"neg": "a positive", "pos": "A positive"}, "a negative is the positive"),
        ("triplets", {"score": 1.0}, "the row has negatives and a score"),
        ("scored pairs", {"score": "high"}, "the score 'high' is no number"),
        ("scored pairs", {"score": None}, "the score None is no number"),
        ("scored pairs", {"score": "nan"}, "the score 'nan' is no number"),
    ],
)
def test_bad_rows(tiny: Tiny, tmp_path: Path, kind: str, change: dict[str, Any], message: str) -> None:
    rows = KINDS[kind]
    with pytest.raises(DataError) as caught:
        run_on(tiny, tmp_path, [rows[0], {**rows[1], **change}])
    assert caught.value.message.startswith(f"{tmp_path / 'train.jsonl'}:2: {message}")


def test_rows_of_two_kinds(tiny: Tiny, tmp_path: Path) -> None:
    rows = [KINDS["scored pairs"][0], KINDS["pairs"][0]]
    with pytest.raises(
        DataError, match=r":2: a row of pairs, and the first training row is one of scored pairs"
    ):
        run_on(tiny, tmp_path, rows)


def test_a_column_that_is_not_there(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no column 'positive' in .*; its columns are: anchor, other"):
        run_on(tiny, tmp_path, [{"anchor": "a", "other": "b"}])


def test_an_encoder_with_a_decoder(tiny: Tiny, tmp_path: Path) -> None:
    train = write_rows(tmp_path / "train.jsonl", KINDS["pairs"])
    with pytest.raises(ModelError, match="has an encoder and a decoder"):
        ready(config_for(TASK, tiny("translation"), tmp_path, train, model={"config": {}}))
