"""ROUGE against rouge-score 0.1.2."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from llmkit.errors import MissingExtraError, UsageError
from llmkit.metrics import load_metric
from llmkit.metrics.rouge import ROUGE_TYPES

words = st.lists(
    st.sampled_from(["the", "cats", "cat", "sat\n", "running", "runs", "mat.", "\n"]), max_size=9
)
texts = words.map(" ".join)


@pytest.mark.parametrize("stemmer", [False, True])
@given(pairs=st.lists(st.tuples(texts, st.lists(texts, min_size=1, max_size=2)), min_size=1, max_size=5))
@settings(deadline=None)
def test_equals_rouge_score(stemmer, pairs):
    scorer = RougeScorer(list(ROUGE_TYPES), use_stemmer=stemmer)
    expected = [scorer.score_multi(golds, text) for text, golds in pairs]
    metric = load_metric("rouge", use_stemmer=stemmer)
    for text, golds in pairs:
        metric.update([text], [golds])
    for kind in ROUGE_TYPES:
        mean = np.mean([scores[kind] for scores in expected], axis=0)
        assert list(metric.details()[kind].values()) == pytest.approx(mean.tolist(), abs=1e-14)
        assert metric.compute()[kind] == metric.details()[kind]["fmeasure"]


def test_chosen_types():
    metric = load_metric("rouge", rouge_types=["rouge3"])
    metric.update(["a b c d"], ["a b c"])
    assert metric.compute() == {"rouge3": pytest.approx(2 / 3)}
    with pytest.raises(UsageError, match="rougeX"):
        load_metric("rouge", rouge_types=["rougeX"])


def test_other_scripts_are_said():
    metric = load_metric("rouge")
    metric.update(["猫", "cat"], ["猫", "cat"])
    assert metric.compute()["rouge1"] == 0.5
    assert "1 of 2 references" in metric.notes()[0]


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    with pytest.raises(MissingExtraError, match="the metric rouge needs the extra 'metrics'"):
        load_metric("rouge")
