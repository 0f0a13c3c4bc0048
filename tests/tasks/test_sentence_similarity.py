"""Sentence similarity against the computation written out."""

import json
import shutil

import pytest
import torch
import transformers

import llmkit
from llmkit.models.resolving import resolve_model

SOURCE = "He went to the bank to deposit money."
SENTENCES = [
    "The bank approved the loan.",
    "She sat on the river bank.",
    "a",
    SOURCE,
    "東京 🎉",
    "word " * 400,
]


@pytest.fixture(scope="module")
def parts():
    folder = resolve_model("minilm").location
    return transformers.AutoModel.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(
        folder
    )


def plainly(parts, texts, *, mode="mean", limit=128):
    """Each text by itself, without padding: its vectors pooled, and the cosine with the first."""
    model, tokenizer = parts
    vectors = []
    for text in texts:
        with torch.no_grad():
            states = model(**tokenizer(text, truncation=True, max_length=limit, return_tensors="pt"))[0][0]
        vectors.append(states[0] if mode == "cls" else states.mean(dim=0))
    return [torch.cosine_similarity(vectors[0], vector, dim=0).item() for vector in vectors[1:]]


@pytest.fixture(scope="module")
def pipe():
    return llmkit.pipeline("sentence-similarity", model="minilm", device="cpu")


def limit_of(pipe):
    return min(pipe.pooling.max_tokens or 512, 512, pipe.tokenizer.model_max_length)


def test_the_cosine_of_the_means(pipe, parts):
    found = pipe({"source_sentence": SOURCE, "sentences": SENTENCES})
    assert found == pytest.approx(plainly(parts, [SOURCE, *SENTENCES], limit=limit_of(pipe)), abs=1e-5)
    assert found[3] == pytest.approx(1, abs=1e-5)
    assert found[0] > found[1]


@pytest.mark.parametrize(
    ("model_type", "positions", "limit"), [("bert", 40, 40), ("roberta", 40, 38), ("roberta", 514, 512)]
)
def test_the_limit_is_what_the_model_has_positions_for(pipe, monkeypatch, model_type, positions, limit):
    given = {"model_type": model_type, "max_position_embeddings": positions, "pad_token_id": 1}
    for name, value in given.items():
        monkeypatch.setattr(pipe.model.config, name, value, raising=False)
    assert pipe.max_tokens == min(limit, pipe.pooling.max_tokens or limit)


def test_every_way_to_call_it(pipe):
    wanted = pipe({"source_sentence": SOURCE, "sentences": SENTENCES[:2]})
    assert pipe(SOURCE, SENTENCES[:2]) == wanted
    assert pipe(source_sentence=SOURCE, sentences=SENTENCES[:2]) == wanted
    assert pipe(SOURCE, SENTENCES[0]) == pytest.approx(wanted[:1], abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_rows_do_not_touch_each_other(pipe, batch_size):
    rows = [
        {"source_sentence": text, "sentences": SENTENCES[: 1 + number]}
        for number, text in enumerate(SENTENCES)
    ]
    for found, row in zip(pipe(rows, batch_size=batch_size), rows, strict=True):
        assert found == pytest.approx(pipe(row), abs=1e-5)


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        ({"sentences": ["a"]}, "source_sentence"),
        ({"source_sentence": "a"}, "sentences"),
        ({"source_sentence": "a", "sentences": []}, "sentences"),
        ({"source_sentence": "", "sentences": ["a"]}, "source_sentence"),
    ],
)
def test_what_is_missing_is_named(pipe, row, missing):
    with pytest.raises(ValueError, match=missing):
        pipe(row)


def test_the_models_own_files_say_how(tiny, tmp_path):
    folder = shutil.copytree(tiny("sentence-similarity"), tmp_path / "model")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 8}))
    pipe = llmkit.pipeline("sentence-similarity", model=str(folder), device="cpu")
    texts = ["Paris is the capital of France, and Rome is the capital of Italy.", "Yes", "No " * 50]
    parts = transformers.AutoModel.from_pretrained(folder).eval(), pipe.tokenizer
    wanted = plainly(parts, texts, mode="cls", limit=8)
    assert pipe(texts[0], texts[1:]) == pytest.approx(wanted, abs=1e-5)
