"""Tokens and their numbers."""

from __future__ import annotations

import statistics

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.insight.tokens import TokenCounts, load_model_tokenizer
from llmkit.models.resolving import resolve_model


@given(st.lists(st.integers(0, 600), min_size=1), st.integers(1, 512))
def test_counts_equal_numpy(lengths, limit):
    counts = TokenCounts(limit)
    counts.add(lengths[: len(lengths) // 2])
    counts.add(lengths[len(lengths) // 2 :])
    found = counts.summary()
    assert (found["rows"], found["tokens"], found["max"]) == (len(lengths), sum(lengths), max(lengths))
    assert found["mean"] == pytest.approx(statistics.fmean(lengths))
    for key, percent in (("median", 50), ("p95", 95)):
        assert found[key] == numpy.percentile(lengths, percent, method="inverted_cdf")
    assert found["longer"] == sum(length > limit for length in lengths)
    assert found["share_longer"] == pytest.approx(found["longer"] / len(lengths))


def test_nothing_counted():
    found = TokenCounts(None).summary()
    assert (found["rows"], found["max"], found["limit"], found["share_longer"]) == (0, 0, None, None)


@pytest.fixture(scope="module")
def minilm():
    return load_model_tokenizer(resolve_model("minilm"))


@given(st.text())
def test_offsets_cut_the_text(minilm, text):
    (found,) = minilm.tokenize([text])
    assert len(found.tokens) == len(found.ids) == len(found.offsets) == len(found.special)
    assert found.special[0] and found.special[-1]
    for (start, end), special in zip(found.offsets, found.special, strict=True):
        assert 0 <= start <= end <= len(text)
        assert special or text[start:end].strip()
    assert minilm.count([text]) == [len(found.ids)]
    (bare,) = minilm.tokenize([text], special=False)
    assert bare.ids == found.ids[1:-1]


def test_the_limit_is_where_its_sentences_are_cut(minilm):
    assert minilm.limit == 256
