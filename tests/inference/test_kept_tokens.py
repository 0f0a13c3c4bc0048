"""Tokens that are made once are those that the pipeline makes, and are lent where it makes nothing else of a text."""

from __future__ import annotations

import pytest
import torch

from llmkit.inference.kept_tokens import KeptTokens
from llmkit.models.loading import LoadOptions
from llmkit.models.resolving import resolve_model
from llmkit.tasks.build import build_pipeline
from llmkit.tasks.catalogue import find_task

TEXTS = ["the film was good", "", "a bad meal in paris", "the film was good"]


@pytest.fixture(scope="module")
def load(tiny):
    def build(task):
        return build_pipeline(find_task(task), resolve_model(str(tiny(task))), LoadOptions(device="cpu"))

    return build


@pytest.mark.parametrize("task", ["text-classification", "fill-mask"])
def test_lengths_are_the_tokenizers(load, task):
    pipe = load(task)
    tokens = KeptTokens(pipe)
    assert tokens.lengths(TEXTS) == [len(pipe.tokenizer(text)["input_ids"]) for text in TEXTS]
    alone = [len(pipe.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in TEXTS]
    assert [tokens.count(text) for text in TEXTS] == alone


def test_what_is_lent_is_what_the_pipeline_makes(load):
    pipe = load("text-classification")
    wanted = [pipe.preprocess(text) for text in TEXTS]
    tokens = KeptTokens(pipe)
    tokens.lengths(TEXTS)
    calls = []
    with tokens.lent(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(pipe.tokenizer), "__call__", lambda *given, **named: calls.append(given))
        given = [pipe.preprocess(text) for text in TEXTS]
    assert calls == []
    for one, other in zip(given, wanted, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in other)


def test_other_texts_and_parameters_are_the_pipelines_own(load):
    pipe = load("text-classification")
    tokens = KeptTokens(pipe)
    tokens.lengths(TEXTS)
    with tokens.lent():
        cut = pipe.preprocess(TEXTS[0], truncation=True, max_length=4)
        other = pipe.preprocess("a day")
        pair = pipe.preprocess({"text": "a day", "text_pair": "a film"})
    assert cut["input_ids"].shape == (1, 4)
    assert torch.equal(other["input_ids"], pipe.tokenizer("a day", return_tensors="pt")["input_ids"])
    assert pair["input_ids"].shape[1] > other["input_ids"].shape[1]


def test_nothing_is_left_behind(load):
    pipe = load("text-classification")
    tokens = KeptTokens(pipe)
    tokens.lengths(TEXTS)
    with pytest.raises(KeyError), tokens.lent():
        raise KeyError
    assert "preprocess" not in vars(pipe)
    pipe.preprocess = own = lambda value: value  # somebody else's
    with tokens.lent():
        assert pipe.preprocess is own
    assert pipe.preprocess is own
