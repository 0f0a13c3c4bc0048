"""BLEU and chrF against sacrebleu 2.6.0."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from llmkit.errors import DataError, MissingExtraError, UsageError
from llmkit.metrics import load_metric

words = st.lists(st.sampled_from(["the", "The", "cat", "sat", "on", "mat.", "dog,", "ü", "猫"]), max_size=9)
texts = words.map(" ".join) | st.text(max_size=12)
examples = st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=3)), min_size=1, max_size=6)
BLEU_OPTIONS = [
    {},
    {"lowercase": True},
    {"tokenize": "char"},
    {"tokenize": "intl", "smooth_method": "floor"},
    {"smooth_method": "add-k", "smooth_value": 2, "effective_order": True},
    {"tokenize": "none", "smooth_method": "none", "max_ngram_order": 2},
]
CHRF_OPTIONS = [
    {},
    {"word_order": 2},
    {"char_order": 4, "beta": 1, "lowercase": True},
    {"eps_smoothing": True},
]


def streamed(name, pairs, **options):
    metric = load_metric(name, **options)
    for text, golds in pairs:
        metric.update([text], [golds])
    return metric


def streams(pairs):
    most = max(len(golds) for _, golds in pairs)
    return [[golds[place] if place < len(golds) else None for _, golds in pairs] for place in range(most)]


@pytest.mark.parametrize("options", BLEU_OPTIONS, ids=str)
@given(pairs=examples)
@settings(deadline=None)
def test_bleu(options, pairs):
    expected = BLEU(**options).corpus_score([text for text, _ in pairs], streams(pairs))
    metric = streamed("bleu", pairs, **options)
    assert metric.compute()["bleu"] == expected.score
    assert metric.details() == {name: getattr(expected, name) for name in metric.details()}


@pytest.mark.parametrize("options", CHRF_OPTIONS, ids=str)
@given(pairs=examples)
@settings(deadline=None)
def test_chrf(options, pairs):
    expected = CHRF(**options).corpus_score([text for text, _ in pairs], streams(pairs))
    assert streamed("chrf", pairs, **options).compute()["chrf"] == expected.score


def test_one_reference_may_stand_alone():
    assert streamed("bleu", [("a b c d", "a b c d")]).compute()["bleu"] == pytest.approx(100)


@pytest.mark.parametrize("options", [{"tokenize": "flores200"}, {"smooth_method": "max"}])
def test_bad_options(options):
    with pytest.raises(UsageError, match=next(iter(options.values()))):
        load_metric("bleu", **options)


@pytest.mark.parametrize("golds", [[], None, 3, [None]])
def test_no_reference(golds):
    with pytest.raises(DataError):
        streamed("bleu", [("x", golds)])


@pytest.mark.parametrize("name", ["bleu", "chrf"])
def test_without_the_package(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(MissingExtraError, match=rf"the metric {name} needs the extra 'metrics'"):
        load_metric(name)
